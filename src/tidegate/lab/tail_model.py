"""A fixed matrix of scenarios for one venue: joint moves of all its instruments, heavy tails."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, Self

import msgspec
import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import Kind
from tidegate.domain.units import I64, PPM, SECOND, Nanos, Ppm
from tidegate.domain.venue import Venue
from tidegate.drivers.streams import Streams
from tidegate.lab.kernels.scenarios import BLOCK, F64
from tidegate.lab.worlds.ground import DAY, within
from tidegate.lab.worlds.matching import coin


MOVE_MAX: Final = 4.0  # logarithm: no price moves more than some fiftyfold


class TailModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a scenario is: one jump of all prices over ``horizon_ns``, without any trade in between.

    Logarithmic returns are a multivariate Student t of ``freedom`` degrees, scaled to the
    volatility of each instrument: the largest of what the engine measures, what the venue file
    declares, and ``volatility_min``. Every scenario has its mirror image, so that longs and shorts
    are treated alike. Instruments of one coin move as one.
    """

    scenarios: int = 4_096
    horizon_ns: Nanos = Nanos(DAY)
    level: float = 0.99
    correlation: float = 0.6  # of any two coins
    freedom: float = 4.0
    volatility_min: Ppm = Ppm(20_000)  # per square root of a day
    root: int = 7  # of the streams "tail.*"

    def __post_init__(self) -> None:
        """Refuse what gives no tail."""
        within("tail.scenarios", self.scenarios, 2 * BLOCK, 65_536)
        if self.scenarios % (2 * BLOCK):
            raise ConfigInvalid(
                where="tail.scenarios",
                what=f"must be a multiple of {2 * BLOCK}: pairs of mirror images, in whole blocks",
                found=f"{self.scenarios:_}",
            )
        within("tail.horizon_ns", self.horizon_ns, SECOND, 365 * DAY)
        within("tail.level", self.level, 0.5, 0.9999)
        within("tail.correlation", self.correlation, 0.0, 1.0)
        within("tail.freedom", self.freedom, 2.0, 1_000.0, open_=True)
        within("tail.volatility_min", self.volatility_min, 0, 10 * PPM)


def underlyings(venue: Venue, facts: Facts) -> list[str]:
    """Return what moves each instrument: its coin's name, an inverse's by the asset it pays in."""
    symbols = [i.symbol for i in venue.instruments]
    paid = [int(c) if c >= 0 else k for k, c in enumerate(facts.coin)]
    return [coin(symbols[k]) for k in paid]


def shocks(model: TailModel, names: Sequence[str]) -> F64:
    """Return standardised moves [instruments, scenarios], of unit variance and joint heavy tails.

    Drawn from "tail.common", "tail.mixing" and one stream a coin: another instrument changes
    nothing of the others. The second half mirrors the first.
    """
    half, streams = model.scenarios // 2, Streams(model.root, 0)
    loading = sqrt(model.correlation)
    common = streams["tail.common"].standard_normal(half)
    square = streams["tail.mixing"].chisquare(model.freedom, half)
    heavy = np.sqrt((model.freedom - 2.0) / square)
    drawn: dict[str, F64] = {}
    for name in dict.fromkeys(names):
        own = streams[f"tail.own.{name}"].standard_normal(half)
        one = (loading * common + sqrt(1.0 - loading**2) * own) * heavy
        drawn[name] = np.concatenate([one, -one])
    return np.stack([drawn[name] for name in names])


def volatilities(model: TailModel, venue: Venue, variance: I64) -> F64:
    """Return the volatility of each instrument per square root of a day, as a share."""
    measured = np.sqrt(variance.astype(np.float64) * (DAY // SECOND)) / PPM
    declared = {m.symbol: m.daily_volatility / PPM for m in venue.markets}
    named = np.array([declared.get(i.symbol, 0.0) for i in venue.instruments], np.float64)
    return np.maximum(np.maximum(measured, named), model.volatility_min / PPM)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a lot and a settlement unit are worth in each scenario, in Money.

    Without a mark an instrument is worth nothing, as the engine has it. ``least`` and ``most`` are
    the ends of ``worth`` over all scenarios.
    """

    worth: F64  # [blocks, instruments, BLOCK]
    coin: F64  # [blocks, instruments, BLOCK]
    least: F64  # [instruments]
    most: F64
    least_coin: F64
    most_coin: F64

    @classmethod
    def at(cls, model: TailModel, shock: F64, facts: Facts, mark: I64, volatility: F64) -> Self:
        """Return the scenarios' prices around ``mark``."""
        scale = volatility * sqrt(model.horizon_ns / DAY)
        move = np.exp(np.clip(shock * scale[:, None], -MOVE_MAX, MOVE_MAX))
        price = mark[:, None].astype(np.float64) * move
        tick, units = facts.tick_value[:, None].astype(float), facts.units[:, None].astype(float)
        worth = price * tick / units
        paid = np.ones_like(worth)
        for i in np.flatnonzero(facts.kind == Kind.INVERSE).tolist():
            asset = int(facts.coin[i])
            paid[i] = worth[asset]
            with np.errstate(divide="ignore"):
                amount = np.where(price[i] > 0, -float(facts.contract[i]) / price[i], 0.0)
            worth[i] = amount * paid[i]
        shape = (worth.shape[0], -1, BLOCK)
        return cls(
            worth=np.ascontiguousarray(worth.reshape(shape).transpose(1, 0, 2)),
            coin=np.ascontiguousarray(paid.reshape(shape).transpose(1, 0, 2)),
            least=worth.min(axis=1),
            most=worth.max(axis=1),
            least_coin=paid.min(axis=1),
            most_coin=paid.max(axis=1),
        )
