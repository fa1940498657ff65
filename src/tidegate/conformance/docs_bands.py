"""Price bands, limit states and market-wide levels, as closed venues document them."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from tidegate.conformance.adapter import Found, Inputs, Rule
from tidegate.conformance.decimals import columns, fixed, plain
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import bands_limit


PEERS: Final = ("docs",)
UNIT: Final = 10**12  # prices
MS: Final = 1_000  # times, in thousandths of a second

PHASES: Final = ("normal", "limit", "paused")
LEVELS: Final = {  # a name -> which of the falls, and what the venue then does
    "level1": (0, "halt_15min_once"),
    "level2": (1, "halt_15min_once"),
    "level3": (2, "close"),
}
FALLS: Final = (70_000, 130_000, 200_000)  # ppm below the previous close
REOPENS_AFTER: Final = 120  # seconds, published beside the limit
SPEED: Final = 20_000  # ppm within 15 s
APART: Final = 100_000  # ppm of the index

_band = unbounded(bands_limit.band)
_luld_width = unbounded(bands_limit.luld_width)
_limit_state = unbounded(bands_limit.limit_state)
_note = unbounded(bands_limit.note)
_extremes = unbounded(bands_limit.extremes)
_variant = unbounded(bands_limit.variant)
_breach = unbounded(bands_limit.dynamic_breach)
_beyond = unbounded(bands_limit.moved_beyond)
_order_fits = unbounded(bands_limit.order_fits)


def luld_band(of: Inputs) -> Found:
    """Return the limit up-limit down band; the previous close, if given, chooses the bracket."""
    reference = fixed(of.get("reference", of.get("ref")), UNIT)
    previous = fixed(of["prev_close"], UNIT) if "prev_close" in of else reference
    doubled = int(of.get("doubled", of.get("double", False)))
    width = _luld_width(reference, previous, of["tier"], doubled, UNIT)
    low, high = _band(reference, width, reference)  # a share of the reference itself
    return {"lower": plain(low, UNIT), "upper": plain(high, UNIT)}


def luld_state(of: Inputs) -> Found:
    """Return the limit state of each quote in turn."""
    limit, pause = (fixed(of[name], MS) for name in ("limit_state_s", "pause_s"))
    phase, since = bands_limit.NORMAL, 0
    states: list[Any] = []
    for time, at_band in of["quotes_t_atband"]:
        phase, since = _limit_state(phase, since, int(at_band), fixed(time, MS), limit, pause)
        states.append([time, PHASES[phase]])
    return {"states": states}


def cme_dcb(of: Inputs) -> Found:
    """Return each trade's state; a halt empties the window, and stops what comes within it."""
    room = _room(of)
    window, halt = (fixed(of[name], MS) for name in ("window_s", "halt_s"))
    return {
        "variant": plain(room, UNIT),
        "states": list(_dcb_states(of["trades"], room, window, halt)),
    }


def _dcb_states(trades: list[Any], room: int, window: int, halt: int) -> Iterator[list[Any]]:
    at, low, high, total, count = (np.zeros(len(trades) + 1, object) for _ in range(5))
    until = 0
    for said, (time, price) in zip(
        trades, zip(*columns(trades, MS, UNIT), strict=True), strict=True
    ):
        if time < until:
            yield [said[0], "halt"]
            continue
        if _breach(price, *_extremes(at, low, high, count, time, window), room):
            until, count[:] = time + halt, 0
            yield [said[0], "halt"]
            continue
        _note(at, low, high, total, count, time, price, 1)
        yield [said[0], "ok"]


def _room(of: Inputs) -> int:
    settle, rate, tick = (fixed(of[name], UNIT) for name in ("previous_settle", "pct", "tick"))
    return _variant(settle, rate, tick, UNIT)


def cme_dcb_variant(of: Inputs) -> Found:
    """Return the move that is allowed, in full ticks."""
    room = _room(of)
    return {"variant": plain(room, UNIT)}


def mwcb(of: Inputs) -> Found:
    """Return the price at which a market-wide level trips."""
    level, action = LEVELS[of["level"]]
    low, _ = _band(fixed(of["previous_close"], UNIT), FALLS[level], PPM)
    return {"trigger_price": plain(low, UNIT), "action": action}


def band_around_mark(of: Inputs) -> Found:
    """Return a band around the mark; only aggressive orders are stopped at it."""
    low, high = _band(fixed(of["mark"], UNIT), fixed(of["bandwidth"], UNIT), UNIT)
    found: dict[str, Any] = {"lower": plain(low, UNIT), "upper": plain(high, UNIT)}
    order = of.get("order")
    if order:
        side = 1 if order["side"] == "buy" else -1
        price = fixed(order["price"], UNIT)
        limited = int(order.get("type", "limit") == "limit")
        fits = _order_fits(side, price, limited, int(order.get("passive", False)), low, high)
        found["result"] = "reject" if fits else "accept"
    return found


def speed_and_divergence(of: Inputs) -> Found:
    """Return whether a price moved too far in 15 s, or ends too far from the index."""
    price = fixed(of["new_price"], UNIT)
    if _beyond(price, fixed(of["price_15s_ago"], UNIT), SPEED, PPM):
        return {"result": "reject_speed"}
    apart = _beyond(price, fixed(of["index"], UNIT), APART, PPM)
    return {"result": "reject_divergence" if apart else "accept"}


def index_velocity(of: Inputs) -> Found:
    """Return whether a move within the window is beyond what it allows."""
    rate = fixed(of["threshold"], UNIT)
    prices = (UNIT + fixed(move, UNIT) for move in of["moves"])
    return {"triggered": [bool(_beyond(price, UNIT, rate, UNIT)) for price in prices]}


def reanchored_band(of: Inputs) -> Found:
    """Return the next band after a halt: the limit that was hit is its reference."""
    rate = fixed(of["pct"], UNIT)
    first = _band(fixed(of["reference"], UNIT), rate, UNIT)
    reference = first[0] if of["hit"] == "lower" else first[1]
    return {
        "first_band": [plain(n, UNIT) for n in first],
        "new_reference": plain(reference, UNIT),
        "new_band": [plain(n, UNIT) for n in _band(reference, rate, UNIT)],
        "halt_s": REOPENS_AFTER,
    }


RULES: Final[dict[str, Rule]] = {
    "circuit_breaker.luld_band": luld_band,
    "circuit_breaker.luld_state": luld_state,
    "circuit_breaker.cme_dcb": cme_dcb,
    "circuit_breaker.cme_dcb_variant": cme_dcb_variant,
    "circuit_breaker.mwcb": mwcb,
    "circuit_breaker.band_around_mark": band_around_mark,
    "circuit_breaker.speed_and_divergence": speed_and_divergence,
    "circuit_breaker.index_velocity": index_velocity,
    "circuit_breaker.reanchored_band": reanchored_band,
}
