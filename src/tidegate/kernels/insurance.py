"""What a fund gains or pays, and when its fall calls for early deleveraging."""

from tidegate.domain.units import kernel, muldiv, muldiv_up


@kernel
def fund_delta(received: int, bankruptcy: int, rate: int, scale: int) -> int:
    """Return what the fund gains (or pays, negative) of one liquidating fill.

    ``received`` is the fill's signed proceeds and ``bankruptcy`` those at the bankruptcy price. A
    surplus is the fund's up to ``rate`` (at ``scale``) of the fill, rounded down; the fund pays
    every shortfall.

    Source
    ------
    dYdX v4, x/clob: GetLiquidationInsuranceFundDelta.
    """
    surplus = received - bankruptcy
    if surplus <= 0:
        return surplus
    return min(abs(received) * rate // scale, surplus)


@kernel
def vault_payment(loss: int, vault: int, allowance: int) -> int:
    """Return what a vault pays of ``loss``: never its last unit, nor more than is allowed.

    Source
    ------
    Drift: min(loss, vault - 1, the market's maximum insurance less what it has settled).
    """
    return max(0, min(loss, vault - 1, allowance))


@kernel
def fall_of(now: int, peak: int, base: int, scale: int) -> int:
    """Return the fall from ``peak`` to ``now`` as a share of ``base``, at ``scale``, rounded down.

    Zero while there is no fall; without a base any fall is a whole one.
    """
    if now >= peak:
        return 0
    if base <= 0:
        return scale
    return muldiv(peak - now, scale, base)


@kernel
def kept_on(active: bool, fall: int, start: int, stop: int) -> bool:  # noqa: FBT001 - a kernel
    """Return whether a trigger with hysteresis is on: above ``start``, until below ``stop``."""
    if active:
        return fall >= stop
    return fall > start


@kernel
def beyond(now: int, peak: int, base: int, start: int, scale: int) -> int:
    """Return the part of a fall beyond ``start`` (at ``scale``) of ``base``: what others pay.

    Source
    ------
    Bybit: the loss by which the fall of the pool exceeds its trigger goes to deleveraging.
    """
    return max(0, peak - now - muldiv(base, start, scale))


@kernel
def per_lot_up(loss: int, open_lots: int, scale: int) -> int:
    """Return ``loss`` spread over all open lots, both sides, at ``scale`` a lot, rounded up.

    Zero where nothing is open. Rounded up: never less than the loss is collected.

    Source
    ------
    Drift, calculate_funding_rate_deltas_to_resolve_bankruptcy.
    """
    return muldiv_up(loss, scale, open_lots) if open_lots else 0


@kernel
def index_cut(index: int, loss: int, deposits: int) -> int:
    """Return by how much an index of deposits falls when they bear ``loss``, rounded up.

    Never more than the index itself; 0 where there are no deposits.

    Source
    ------
    Drift, calculate_cumulative_deposit_interest_delta_to_resolve_bankruptcy.
    """
    return min(index, muldiv_up(index, loss, deposits)) if deposits else 0
