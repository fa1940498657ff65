"""Index, mark, impact prices and bands of the FLOX venue."""

from typing import Any, Final

import numpy as np

from tidegate.conformance.adapter import Found, Inputs, Rule, Within, column
from tidegate.conformance.decimals import columns, fixed, plain
from tidegate.domain.units import unbounded
from tidegate.kernels import aggregate, bands_limit


PEERS: Final = ("flox",)
BPS: Final = 10_000
PRICE: Final = 10**12
RESULTS: Final = {
    bands_limit.INSIDE: "accept",
    bands_limit.BREACH: "reject_luld_breach_and_pause",
    bands_limit.SWEPT: "fill_then_pause",
    bands_limit.PAUSE: "reject_halted",
}

_band = unbounded(bands_limit.band)
_limit_state = unbounded(bands_limit.limit_state)
_order_fits = unbounded(bands_limit.order_fits)
_index_of = unbounded(aggregate.index_of)
_mark_of = unbounded(aggregate.mark_of)
_impact_value = unbounded(aggregate.impact_value)
_below = unbounded(aggregate.below_maintenance)


def venue_band(of: Inputs) -> Found:
    """Return what becomes of one order at the band, or in a pause after a breach."""
    low, high = _band(fixed(of["last"], PRICE), int(of["bps"]), BPS)
    found: dict[str, Any] = {"lower": plain(low, PRICE), "upper": plain(high, PRICE)}
    if "since_breach_ns" in of:
        now, pause = int(of["since_breach_ns"]), int(of["pause_ns"])
        phase, _ = _limit_state(bands_limit.PAUSED, 0, 0, now, 0, pause)
        if phase == bands_limit.PAUSED:
            return found | {"result": RESULTS[bands_limit.PAUSE]}
    order = of["order"]
    limited = order["type"] == "limit"
    met = order["price"] if limited else of.get("best_ask", of.get("best_bid"))
    price = fixed(met, PRICE)
    # A limit is looked at on both sides: whichever bound it lies beyond is the one it presses on.
    side = {"buy": 1, "sell": -1}.get(order.get("side", ""), 1 if price > low else -1)
    fits = _order_fits(side, price, int(limited), 0, low, high)
    if not limited:
        found["fill"] = met
    return found | {"result": RESULTS[fits]}


def index(of: Inputs) -> Found:
    """Return the median of the fresh sources without the outliers; none below the minimum."""
    price, seen = columns(of["sources_price_time"], PRICE, PRICE)
    value = _index_of(
        price,
        seen,
        fixed(of["now"], PRICE),
        fixed(of["staleness_s"], PRICE),
        int(of["max_deviation_bps"]),
        int(of["min_sources"]),
        BPS,
    )
    return {"index": plain(value, PRICE) if value else None}


def mark(of: Inputs) -> Found:
    """Return the median of index, last trade and middle of the book, near the index."""
    said = column(*(fixed(of[name], PRICE) for name in ("index", "last", "mid")))
    return {"mark": plain(_mark_of(said, said[0], int(of["clamp_bps"]), BPS), PRICE)}


def impact_price(of: Inputs) -> Found:
    """Return the average price of filling a quantity best first."""
    price = _impact(of["levels"], of["quantity"])
    return {"impact_price": price, "published_range": Within(price)}


def impact_mid(of: Inputs) -> Found:
    """Return the middle of the impact prices of both sides."""
    sides = [_impact(of[side], of["quantity"]) for side in ("bids", "asks")]
    return {"impact_mid": sum(sides) / 2 if all(sides) else 0.0}


def _impact(levels: list[Any], quantity: float) -> float:
    if not levels:
        return 0.0
    price, lots = columns(levels, PRICE, PRICE)
    value, taken = _impact_value(price, lots, fixed(quantity, PRICE))
    return plain(value, PRICE) / taken if taken else 0.0


def stale_feed_pause(of: Inputs) -> Found:
    """Return one account's story while the index is silent: nobody is judged in between."""
    held = of["account"]
    size, entry, cash = (fixed(held[name], PRICE) for name in ("size", "entry", "cash"))
    paused: list[bool] = []
    is_open: list[bool] = []
    seen = np.zeros(1, object)
    price = np.zeros(1, object)
    for tick in of["ticks"]:
        if tick["fresh"] and tick["index"] is not None:
            price[0], seen[0] = fixed(tick["index"], PRICE), fixed(tick["t"], PRICE)
        now, age = fixed(tick["t"], PRICE), fixed(of["staleness_s"], PRICE)
        value = _index_of(price, seen, now, age, 0, 1, BPS)
        paused.append(value == 0)
        if value and size and _below(cash, size, entry, value, int(held["mm_bps"]), PRICE, BPS):
            size = 0
        is_open.append(size != 0)
    return {"liquidations_paused": paused, "position_open": is_open}


RULES: Final[dict[str, Rule]] = {
    "circuit_breaker.venue_band": venue_band,
    "index_and_mark.index_aggregator": index,
    "index_and_mark.mark_price": mark,
    "index_and_mark.impact_price": impact_price,
    "index_and_mark.impact_mid": impact_mid,
    "index_and_mark.stale_feed_pause": stale_feed_pause,
}
