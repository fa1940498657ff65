"""What a position is worth at a price: the one place where instrument kinds differ.

Two faces of the same arithmetic. The scalar functions are for loops over millions of rows, which
read the columns they need once; the others take the whole `Facts` and are for single positions
(handing a group of columns to a function costs about 20 ns a column).
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from tidegate.domain.facts import Facts
from tidegate.domain.instrument import Kind
from tidegate.domain.units import I64, kernel, muldiv_floor


LINEAR, INVERSE, SPOT = int(Kind.LINEAR), int(Kind.INVERSE), int(Kind.SPOT)


@kernel
def settled(kind: int, tick_value: int, units: int, contract: int, lots: int, price: int) -> int:
    """Return the value of ``lots`` at ``price`` in the settlement asset, rounded down.

    Linear and spot: Money. Inverse: units of its coin, ``-lots * contract / price``; 0 at no price.
    Rounding down is against the holder, long or short, by less than one unit.
    """
    if kind == INVERSE:
        return -lots * contract // price if price > 0 else 0
    if units == 1:
        return lots * price * tick_value
    return muldiv_floor(lots, price * tick_value, units)


@kernel
def size_of(kind: int, tick_value: int, units: int, face: int, lots: int, price: int) -> int:
    """Return the notional of a position in Money, never negative, rounded up."""
    if kind == INVERSE:
        return abs(lots) * face
    if units == 1:
        return abs(lots) * price * tick_value
    return -muldiv_floor(-abs(lots), price * tick_value, units)


@kernel
def settled_value(facts: Facts, i: int, lots: int, price: int) -> int:
    """Return `settled` of instrument ``i``."""
    return settled(
        facts.kind[i], facts.tick_value[i], facts.units[i], facts.contract[i], lots, price
    )


@kernel
def notional(facts: Facts, i: int, lots: int, price: int) -> int:
    """Return `size_of` of instrument ``i``."""
    return size_of(facts.kind[i], facts.tick_value[i], facts.units[i], facts.face[i], lots, price)


@kernel
def in_money(facts: Facts, mark: I64, i: int, amount: int) -> int:
    """Return ``amount`` of instrument ``i``'s settlement asset in Money, rounded down."""
    coin = facts.coin[i]
    if coin < 0:
        return amount
    return muldiv_floor(amount, mark[coin] * facts.tick_value[coin], facts.units[coin])


@kernel
def worth(facts: Facts, mark: I64, i: int, lots: int, cost: int, price: int) -> int:
    """Return what a position adds to equity in Money at ``price``, rounded down."""
    return in_money(facts, mark, i, settled_value(facts, i, lots, price) - cost)
