"""A visible halt level against a speed limit, before traders who anticipate the halt.

A model, not a measurement: prices are logarithms less the opening's, quantities are in units of the
depth that moves the price by 1, time goes in seconds. What it can show is how large a crowd must be
for a visible level to do harm; that there is such a crowd is an assumption.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.drivers.streams import Streams


F64 = NDArray[np.float64]
RULES: Final = ("none", "halt", "smooth")


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind one market; shares of depth, rates a second, logarithms of price."""

    seconds: int = 3_600
    volatility: float = 0.0003  # of the fundamental price, per square root of a second
    shock: float = -0.02  # where the fundamental price opens
    forced: float = (
        0.6  # quantity forced per unit of fall: the branching ratio before anybody flees
    )
    capacity: float = 0.0006  # forced quantity sold in a second at full pace
    lasting: float = 0.5  # share of impact that stays
    recovery_s: float = 120.0  # time constant of the rest
    level: float = -0.07  # the visible level: trading stops there once
    pause_s: int = 300
    fleeing: float = 0.0  # quantity held by those who would sell before a halt
    nearness: float = 0.01  # a distance from the level at which their haste has fallen by e
    haste: float = 0.02  # share of it that they sell in a second at the level itself
    slowest: float = 0.2  # the smooth pace falls in a line to this at the level, and stays


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule did over all paths, shares and logarithms of price."""

    reached: float  # share of paths on which the price came to the level
    deepest: float  # mean of the lowest price
    worst: float  # its 5 % quantile
    sold_at: float  # mean price of forced sales, by quantity
    unsold: float  # share of what was forced and is not sold at the end
    waited: float  # forced quantity times the seconds it waited, over what was forced


def outcome(crowd: Crowd, rule: str, streams: Streams, paths: int = 500) -> Outcome:
    """Return what ``rule`` ("none", "halt" or "smooth") does; the same noise for the same streams.

    Every path has one fundamental price. Forced quantity is released by each new low, queues, and
    is sold at the pace; sales push the price, in part for good. Only the halt is visible: before
    it, those who would flee sell faster the nearer the price is.
    """
    assert rule in RULES
    noise = streams["magnet"].normal(0.0, crowd.volatility, (crowd.seconds, paths))
    price = np.zeros(paths)
    fundamental, lasting, fading = np.full(paths, crowd.shock), np.zeros(paths), np.zeros(paths)
    low, queue, forced, sold, value, waited = (np.zeros(paths) for _ in range(6))
    fleeing = np.full(paths, crowd.fleeing if rule == "halt" else 0.0, np.float64)
    halted_at, touched = np.full(paths, -1), np.zeros(paths, np.bool_)
    keep = np.exp(-1.0 / crowd.recovery_s)
    for second in range(crowd.seconds):
        fundamental += noise[second]
        fading *= keep
        price = fundamental + lasting + fading
        touched |= price <= crowd.level
        if rule == "halt":
            halted_at[(price <= crowd.level) & (halted_at < 0)] = second
        shut = (halted_at >= 0) & (second - halted_at < crowd.pause_s)
        fall = np.where(shut, 0.0, np.maximum(low - price, 0.0))
        low -= fall
        queue += crowd.forced * fall
        forced += crowd.forced * fall
        out = np.where(shut, 0.0, np.minimum(queue, crowd.capacity * _pace(crowd, rule, price)))
        near = np.exp(np.minimum(crowd.level - price, 0.0) / crowd.nearness)
        fled = np.where(halted_at < 0, fleeing * crowd.haste * near, 0.0)
        fleeing -= fled
        queue -= out
        sold += out
        value += out * price
        waited += queue
        lasting -= crowd.lasting * (out + fled)
        fading -= (1.0 - crowd.lasting) * (out + fled)
    return Outcome(
        reached=float(touched.mean()),
        deepest=float(low.mean()),
        worst=float(np.quantile(low, 0.05)),
        sold_at=float(value.sum() / max(sold.sum(), 1e-12)),
        unsold=float(queue.sum() / max(forced.sum(), 1e-12)),
        waited=float(waited.sum() / max(forced.sum(), 1e-12)),
    )


def _pace(crowd: Crowd, rule: str, price: F64) -> F64:
    if rule != "smooth":
        return np.ones_like(price)
    return np.clip(1.0 - (1.0 - crowd.slowest) * price / crowd.level, crowd.slowest, 1.0)
