"""The price at which a close leaves nothing behind, and the price an order may still accept."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from tidegate.domain.units import I64, kernel, muldiv, muldiv_up


@kernel
def closable(held: int, delta: int) -> bool:
    """Return whether a change of ``delta`` lots reduces a position of ``held``, and no more."""
    opposite = (held > 0 and delta < 0) or (held < 0 and delta > 0)
    return opposite and abs(delta) <= abs(held)


@kernel
def product_requirement(size: int, initial: int, fraction: int, unit: int) -> int:
    """Return initial rate times maintenance fraction of a notional, rounded up at each stage.

    Source: dYdX v4 `x/perpetuals/lib`, GetMarginRequirementsInQuoteQuantums.
    """
    return muldiv_up(muldiv_up(size, initial, unit), fraction, unit)


@kernel
def remaining_size(size: int, held: int, delta: int) -> int:
    """Return what ``size``, the notional of ``held`` lots, is after ``delta``; rounded down."""
    return muldiv(size, abs(held + delta), abs(held))


@kernel
def bankruptcy_quote(
    value_before: int, value_after: int, equity: int, required: int, before: int, after: int
) -> int:
    """Return the cash an account must receive for a close that keeps equity per requirement.

    -(value_after - value_before) - floor(equity * |before - after| / required), towards minus
    infinity, so that the price rounds against who buys: at it, closing everything ends at zero.
    ``before`` and ``after`` are the position's own requirement, ``required`` the account's.

    Source: dYdX v4 `x/clob/keeper/liquidations.go`, GetBankruptcyPriceInQuoteQuantums.
    """
    freed = abs(before - after)
    kept = muldiv(equity, freed, required) if equity >= 0 else -muldiv_up(-equity, freed, required)
    return value_before - value_after - kept


@kernel
def fillable_fraction(
    value: int,
    held: int,
    own: int,
    equity: int,
    required: int,
    adjustment: int,
    spread: int,
    unit: int,
    out: I64,
) -> None:
    """Write the worst price an order may trade at as an exact fraction; [2].

    (value - ABR * spread * own) / held with ABR = clamp(adjustment (1 - equity / required), 0, 1):
    ``own`` is the position's requirement, ``required`` the account's. Over unbounded integers only:
    `plan.fillable_prices` is the same rule in ticks, rounded where the engine rounds.

    Source: dYdX v4 `x/clob/keeper/liquidations.go`, GetFillablePrice.
    """
    whole = required * unit
    depth = min(max(adjustment * (required - equity), 0), whole)
    out[0] = value * whole * unit - depth * spread * own
    out[1] = held * whole * unit


@kernel
def aligned_price(top: int, bottom: int, step: int, up: int, most: int) -> int:
    """Return the fraction top / bottom >= 0 as a multiple of ``step``, at least one, at most most.

    ``up`` rounds up, for sells that close longs; else down. ``most`` is itself cut to a multiple.

    Source: dYdX v4 `x/clob/keeper/liquidations.go`, ConvertFillablePriceToSubticks.
    """
    price = -(-top // bottom) if up else top // bottom
    steps = -(-price // step) if up else price // step
    return min(max(steps, 1), most // step) * step
