"""What forced trades do to a price, in whole ticks: the law that a path declares for its venue."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from typing import Final

from tidegate.domain.units import isqrt, kernel, muldiv, ppm_floor


LINEAR, SQUARE_ROOT = 0, 1
RANGE: Final = 2**61


@kernel
def impact_ppm(law: int, lots: int, depth: int, move: int, most: int) -> int:
    """Return by how much ``lots`` >= 0 traded at once displace a price, in ppm, rounded down.

    ``move`` ppm (at most 1e6) is what ``depth`` lots do; LINEAR grows with lots, SQUARE_ROOT with
    their root. Never more than ``most`` (at most 1e6): where the visible book ends, so does the
    displacement.
    """
    if lots == 0 or move == 0:
        return 0
    if law == SQUARE_ROOT:
        # Where the square under the root would not be in range, the root is far beyond any cap.
        if lots // depth >= RANGE // (move * move):
            return most
        return min(most, isqrt(part_of(move * move, lots, depth)))
    if lots // depth >= RANGE // move:
        return most
    return min(most, part_of(move, lots, depth))


@kernel
def part_of(amount: int, lots: int, depth: int) -> int:
    """Return ``amount * lots // depth``, at once where the product is in range."""
    if lots <= RANGE // amount:
        return amount * lots // depth
    return muldiv(amount, lots, depth)


@kernel
def impact_ticks(law: int, lots: int, depth: int, move: int, most: int, price: int) -> int:
    """Return `impact_ppm` of a price in ticks, rounded down: what the price then loses or gains."""
    return ppm_floor(price, impact_ppm(law, lots, depth, move, most))


@kernel
def fill_price(price: int, ticks: int, side: int, price_max: int) -> int:
    """Return what a batch pays that moves ``price`` by ``ticks``: half of it, against the batch.

    ``side`` is 1 for purchases and -1 for sales. Within 1..``price_max``.
    """
    return min(price_max, max(1, price + side * ((ticks + 1) // 2)))
