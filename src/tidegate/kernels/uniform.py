"""One price for everybody: the clearing of a call auction, and the sharing at its margin."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

import numpy as np

from tidegate.domain.units import I64, kernel
from tidegate.kernels.allocate import largest_remainder


@kernel
def volume_at(price: int, bid_price: I64, bid: I64, ask_price: I64, ask: I64) -> tuple[int, int]:
    """Return what would be bought and what would be sold at ``price``."""
    demand, supply = 0, 0
    for n in range(bid.size):
        if bid_price[n] >= price:
            demand += bid[n]
    for n in range(ask.size):
        if ask_price[n] <= price:
            supply += ask[n]
    return demand, supply


@kernel
def clearing_price(
    bid_price: I64, bid: I64, ask_price: I64, ask: I64, reference: int, nothing: int
) -> int:
    """Return the one price at which most is exchanged; ``nothing`` when no two sides meet.

    Of several: least surplus on either side, then nearest the reference, then the lower. Only the
    orders' own prices are looked at, for between two of them nothing changes.

    Source
    ------
    The opening auctions of stock exchanges (Xetra market model; NASDAQ rule 4752).
    """
    best, most, least, far = nothing, 0, 0, 0
    for k in range(bid.size + ask.size):
        price = bid_price[k] if k < bid.size else ask_price[k - bid.size]
        demand, supply = volume_at(price, bid_price, bid, ask_price, ask)
        volume, surplus = min(demand, supply), abs(demand - supply)
        distance = abs(price - reference)
        if volume == 0 or volume < most:
            continue
        better = volume > most or surplus < least
        if not better and surplus == least:
            better = distance < far or (distance == far and price < best)
        if better:
            best, most, least, far = price, volume, surplus, distance
    return best


@kernel
def fill_uniform(total: int, limit: I64, wanted: I64, price: int, buying: int, out: I64) -> int:
    """Share ``total`` lots at one price among one side's orders; return what nobody took.

    Orders strictly better than the price are filled first, if need be in proportion; those at the
    price share the rest in proportion to their size, whole numbers by largest remainder. ``buying``
    is 1 for bids, -1 for asks.
    """
    left = total
    for at_price in range(2):
        if at_price:
            inside = np.flatnonzero(limit == price)
        else:
            inside = np.flatnonzero((limit - price) * buying > 0)
        if not inside.size or left == 0:
            continue
        want = wanted[inside]
        given = min(left, want.sum())
        share = np.zeros_like(want)
        largest_remainder(given, want, share)
        out[inside] = share
        left -= given
    return left
