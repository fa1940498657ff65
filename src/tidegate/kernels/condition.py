"""The condition of one account with one linear position, and what closing it leaves to whom."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from tidegate.domain.units import I64, kernel, muldiv, muldiv_up


SAFE, AT_RISK, LIQUIDATABLE, UNDERWATER = 0, 1, 2, 3
FLAT = 2**62  # the ratio of an account without exposure


@kernel
def margin_ratio(equity: int, size: int, scale: int) -> int:
    """Return ``equity / size`` in ``scale``, truncated towards zero; FLAT where there is no size.

    Source: openhl `liquidation/src/compute.rs`, margin_ratio.
    """
    if size == 0:
        return FLAT
    whole = muldiv(abs(equity), scale, size)
    return whole if equity >= 0 else -whole


@kernel
def condition_of(ratio: int, initial: int, maintenance: int) -> int:
    """Return SAFE from ``initial`` on, AT_RISK from ``maintenance`` on, LIQUIDATABLE from 0 on.

    On a line is still above it. Source: openhl `liquidation/src/compute.rs`, margin_health.
    """
    if ratio < 0:
        return UNDERWATER
    if ratio < maintenance:
        return LIQUIDATABLE
    return AT_RISK if ratio < initial else SAFE


@kernel
def below(equity: int, size: int, rate: int, scale: int) -> bool:
    """Return whether ``equity`` is strictly below ``size * rate / scale``: the line is safe.

    Never against the venue: the requirement is rounded up.
    """
    return equity < muldiv_up(size, rate, scale)


@kernel
def close_outcome(equity: int, size: int, fee: int, scale: int, out: I64) -> None:
    """Write what a close of notional ``size`` leaves: [3] fee taken, residual, shortfall.

    The fee is ``size * fee / scale`` rounded down and takes at most what is left. The shortfall
    includes the part of the fee that could not be taken; a venue that waives the fee of a bankrupt
    account (dYdX, and this engine) owes ``max(0, -equity)`` only.

    Source: openhl `liquidation/src/compute.rs` and its insurance fund.
    """
    asked = muldiv(size, fee, scale)
    taken = min(asked, max(0, equity))
    out[0] = taken
    out[1] = max(0, equity - asked)
    out[2] = max(0, asked - equity)


@kernel
def slipped(price: int, side: int, slippage: int, scale: int) -> int:
    """Return the price at which a position of ``side`` is closed: worse by ``slippage``.

    Rounded against the account: down for a long (+1), which sells, up for a short (-1).
    """
    if side > 0:
        return muldiv(price, scale - slippage, scale)
    return muldiv_up(price, scale + slippage, scale)


@kernel
def cover(equity: int, fund: int, out: I64) -> None:
    """Write who bears a closed account's deficit: [2] paid by the ``fund``, and left for others."""
    deficit = max(0, -equity)
    out[0] = min(deficit, fund)
    out[1] = deficit - out[0]


@kernel
def withdrawable(equity: int, initial: int) -> int:
    """Return what may be taken out: equity above the initial requirement, and never below zero."""
    return max(0, equity - initial)
