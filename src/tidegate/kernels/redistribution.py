"""Sharing a closed loan among the loans that stay, and what of it a pool takes first.

A stake is what a loan's collateral would have been had it been there from the start: whoever joins
after a redistribution gets a smaller stake for the same collateral, so that what others were given
before does not count against them.

Source: Liquity v1 and v2, `TroveManager`.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from typing import Final

from tidegate.domain.units import I64, kernel, muldiv


# Cells of the column that the splits write.
OFFSET_DEBT: Final = 0
OFFSET_HELD: Final = 1
SPREAD_DEBT: Final = 2
SPREAD_HELD: Final = 3
SURPLUS: Final = 4
REWARD: Final = 5  # what whoever called gets


@kernel
def stake_of(held: int, stakes: int, total: int) -> int:
    """Return the stake of ``held``: ``held * stakes / total`` as they were after the last sharing.

    Before any (``total`` 0) the stake is the collateral itself. Rounds down.
    """
    return held if total == 0 else muldiv(held, stakes, total)


@kernel
def per_stake(amount: int, stakes: int, carry: int, one: int) -> tuple[int, int]:
    """Return what each stake is given, times ``one`` and rounded down, and the error carried."""
    whole = amount * one + carry
    each = whole // stakes
    return each, whole - each * stakes


@kernel
def split_normal(debt: int, held: int, pool: int, out: I64) -> None:
    """Write what a pool of ``pool`` takes of a debt, and what of it is shared among the others.

    The collateral follows the debt in proportion, rounded down; the others get the remainder.
    """
    out[:] = 0
    taken = min(debt, pool)
    out[OFFSET_DEBT] = taken
    out[OFFSET_HELD] = muldiv(held, taken, debt) if debt else 0
    out[SPREAD_DEBT] = debt - taken
    out[SPREAD_HELD] = held - out[OFFSET_HELD]


@kernel
def split_by_health(
    debt: int,
    held: int,
    pool: int,
    price: int,
    ratio: int,
    least: int,
    total: int,
    recovery: int,
    part: int,
    scale: int,
    out: I64,
) -> bool:
    """Split a loan of this collateral ``ratio``; return whether it is liquidated at all.

    Below ``least`` the pool takes what it can and the rest is shared. In recovery (the whole system
    is thin) a loan at or under water is only shared, and one below the ``total`` ratio is taken by
    the pool alone, at ``least`` times its debt, the surplus being its owner's; a pool too small for
    that leaves it alone. ``part``: one in so much of the collateral goes to whoever called.
    """
    out[:] = 0
    if recovery and least <= ratio < total:
        if pool < debt:
            return False
        taken = min(held, muldiv(debt, least, price))
        out[REWARD] = taken // part
        out[OFFSET_DEBT], out[OFFSET_HELD] = debt, taken - out[REWARD]
        out[SURPLUS] = held - taken
        return True
    if ratio >= least:
        return False
    reward = held // part
    split_normal(debt, held - reward, 0 if recovery and ratio <= scale else pool, out)
    out[REWARD] = reward
    return True


@kernel
def with_penalty(held: int, debt: int, price: int, penalty: int, scale: int) -> int:
    """Return how much of ``held`` covers ``debt`` and its penalty at ``price``, rounded down."""
    return min(held, muldiv(debt, scale + penalty, price))


@kernel
def split_capped(
    debt: int,
    held: int,
    pool: int,
    price: int,
    to_pool: int,
    to_others: int,
    part: int,
    reward_max: int,
    scale: int,
    out: I64,
) -> None:
    """Split a loan where each taker gets its debt's worth and a penalty, the owner what is left.

    What the pool's penalty leaves may be eaten by the penalty of those who share the rest.
    """
    out[:] = 0
    taken = min(debt, pool)
    portion = muldiv(held, taken, debt)
    if taken:
        out[REWARD] = min(portion // part, reward_max)
        left = portion - out[REWARD]
        out[OFFSET_DEBT] = taken
        out[OFFSET_HELD] = with_penalty(left, taken, price, to_pool, scale)
        out[SURPLUS] = left - out[OFFSET_HELD]
    out[SPREAD_DEBT] = debt - taken
    if debt > taken and held > portion:
        left = held - portion + out[SURPLUS]
        out[SPREAD_HELD] = with_penalty(left, debt - taken, price, to_others, scale)
        out[SURPLUS] = left - out[SPREAD_HELD]


@kernel
def power_half_up(base: int, exponent: int, one: int) -> int:
    """Return ``(base / one) ** exponent * one``, each product rounded half up, by squaring."""
    if exponent == 0:
        return one
    odd, square = one, base
    while exponent > 1:
        if exponent % 2:
            odd = muldiv(2 * square, odd, one) + 1 >> 1
        square = muldiv(2 * square, square, one) + 1 >> 1
        exponent //= 2
    return muldiv(2 * square, odd, one) + 1 >> 1


@kernel
def decayed(rate: int, base: int, periods: int, one: int) -> int:
    """Return ``rate`` after ``periods`` in which it kept ``base`` of itself, rounded down."""
    return muldiv(rate, power_half_up(base, periods, one), one)
