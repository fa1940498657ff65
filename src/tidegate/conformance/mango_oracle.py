"""The stable price of Mango: a collateral price with a speed limit."""

import re
from typing import Final

import numpy as np

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule, Unsupported
from tidegate.conformance.decimals import fixed, plain
from tidegate.domain.units import unbounded
from tidegate.kernels import stable_price


PEERS: Final = ("mango",)
INTERVALS: Final = 24
INTERVAL_S: Final = 3600
REST_S: Final = 10  # an observation sooner than this after the last is ignored
REACH_S: Final = 600  # and none counts for more time than this

_stable_step = unbounded(stable_price.stable_step)


def stable(of: Inputs) -> Found:
    """Return the stable price and the delayed ones after phases of (seconds, updates)."""
    start = fixed(of["start"])
    cells, delays = np.zeros(5, object), np.full(INTERVALS, start, object)
    cells[0], now = start, 0
    for seconds, updates in of["phases"]:
        for _ in range(updates):
            now += int(seconds)
            _stable_step(
                delays,
                cells,
                _said(of["oracle"], now),
                now,
                INTERVAL_S,
                REST_S,
                REACH_S,
                fixed(of["delay_growth_limit"]),
                fixed(of["stable_growth_limit_per_s"]),
                WAD,
            )
    delayed = {f"delay{n}": plain(d) for n, d in enumerate(delays)}
    found: dict[str, object] = {f"delay_price_{n}": plain(d) for n, d in enumerate(delays)}
    price = plain(cells[0])
    return found | {"stable_price": price, "exact_reference": {"stable": price, **delayed}}


def _said(oracle: float | str, now: int) -> int:
    """Return what the oracle says: a number, or "A until T s then B"."""
    if not isinstance(oracle, str):
        return fixed(oracle)
    steps = re.fullmatch(r"([\d.]+) until (\d+) s then ([\d.]+)", oracle)
    if steps is None:
        why = f"an oracle that says {oracle!r}"
        raise Unsupported(why)
    return fixed(steps[1] if now <= int(steps[2]) else steps[3])


RULES: Final[dict[str, Rule]] = {"oracle_guard.stable_price": stable}
