"""Scenario margin: risk arrays added position by position, and the largest loss of the sum."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from tidegate.domain.units import I64, kernel, muldiv, muldiv_up


@kernel
def add_array(lots: int, array: I64, total: I64) -> None:
    """Add ``lots`` of a risk array (the profit of one lot per scenario) to ``total``."""
    for k in range(total.size):
        total[k] += lots * array[k]


@kernel
def worst_scenario(total: I64) -> int:
    """Return the scenario with the smallest profit, the first of equals."""
    worst = 0
    for k in range(1, total.size):
        if total[k] < total[worst]:
            worst = k
    return worst


@kernel
def scan_risk(total: I64) -> int:
    """Return the largest loss over all scenarios; nothing where none loses.

    Arrays are added before the maximum is taken: a maximum of each would lose every offset.

    Source: CME SPAN, scanning risk.
    """
    return max(0, -total[worst_scenario(total)])


@kernel
def future_array(scan: int, multiple: int, cover: int, scale: int, array: I64) -> None:
    """Write the sixteen scenarios of one long future: thirds of ``scan`` twice, and two extremes.

    The extremes are ``multiple`` times the range and count with ``cover`` in ``scale``. Rounded to
    the nearest, halves away from zero.

    Source: CME SPAN; McMillan, Options as a Strategic Investment.
    """
    for third in range(4):
        move = (2 * third * scan + 3) // 6
        for side in range(2):
            k = 4 * third - 2 + 2 * side if third else 0
            array[k] = array[k + 1] = move if side == 0 else -move
    extreme = (2 * multiple * scan * cover // scale + 1) // 2
    array[14], array[15] = extreme, -extreme


@kernel
def proportional_close(value: int, maintenance: int, share: int, penalty: int, scale: int) -> int:
    """Return the account value after ``share`` of every position is closed at the mark.

    The closed part of the maintenance times ``penalty`` is charged, rounded up; both in ``scale``.
    """
    closed = muldiv_up(maintenance, share, scale)
    return value - muldiv_up(closed, penalty, scale)


@kernel
def smallest_share(
    value: int, maintenance: int, step: int, target: int, penalty: int, scale: int
) -> int:
    """Return the smallest multiple of ``step`` to close so that the ratio falls below ``target``.

    The ratio is the maintenance left over the value left; ``scale`` (everything) where no part is
    enough.

    Source: Paradex documentation, partial liquidations: 20 % steps, 90 %.
    """
    share = step
    while share < scale:
        left = maintenance - muldiv(maintenance, share, scale)
        after = proportional_close(value, maintenance, share, penalty, scale)
        if after > 0 and left * scale < target * after:
            return share
        share += step
    return scale


@kernel
def inverse_profit(coins: int, move: int, scale: int) -> int:
    """Return what a delta of ``coins`` gains, in coins, when spot moves by ``move``: q s / (1 + s).

    Rounded down. Source: Deribit, portfolio margin of inverse contracts.
    """
    return coins * move // (scale + move)


@kernel
def tail_weight(price_range: int, move: int, scale: int) -> int:
    """Return the weight of a scenario beyond the range: ``range / |move|``, at most all of it.

    So a position without convexity loses the same in every tail. Rounded up. Source: Paradex and
    Derive, portfolio margin.
    """
    return min(scale, muldiv_up(price_range, scale, abs(move))) if move else scale
