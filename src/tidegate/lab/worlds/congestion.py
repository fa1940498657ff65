"""Chains under pressure: blocks, fees that rise with volatility, and inclusion that comes late."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec
import numpy as np

from tidegate.domain.events import Input
from tidegate.domain.units import I64, Nanos
from tidegate.domain.venue import Venue
from tidegate.drivers.simvenue import REFERENCE_SOURCE
from tidegate.lab.opening import Opening
from tidegate.lab.population import Desk, ticks_at
from tidegate.lab.weather import F64, Weather
from tidegate.lab.worlds.ground import HOUR, MINUTE, SECOND, VOLATILITY_MAX, YEAR, spoken, within


class Pressure(NamedTuple):
    """What a chain does along one path."""

    fee: F64  # [steps + 1] times the usual fee
    delay_ns: I64  # [steps + 1] from sending to inclusion, for who pays the usual fee


@dataclass(frozen=True, slots=True)
class Congestion:
    """Fees rise as volatility to a power, and who does not outbid them waits.

    fee = (volatility / usual) ^ elasticity, at least 1 and at most ``fee_max``. A transaction at
    the usual fee is included after ``block_ns`` times the fee: as many blocks late as it is outbid.
    Volatility is that of the first instrument, averaged with ``half_life_ns``.
    """

    block_ns: int = 12 * SECOND
    usual: float = 0.8
    elasticity: float = 0.5
    fee_max: float = 100.0
    half_life_ns: int = 10 * MINUTE

    def __post_init__(self) -> None:
        """Refuse parameters that mean nothing."""
        within("congestion.block", self.block_ns, 1, HOUR)
        within("congestion.usual", self.usual, 0.0, VOLATILITY_MAX, open_=True)
        within("congestion.elasticity", self.elasticity, 0.0, 10.0)
        within("congestion.fee_max", self.fee_max, 1.0, 1e6)
        within("congestion.half_life", self.half_life_ns, 1, YEAR)

    def describe(self) -> str:
        """Return one sentence for people."""
        return (
            f"blocks of {spoken(self.block_ns)}, fees as volatility over {self.usual:.0%} to the "
            f"power {self.elasticity:g}, at most {self.fee_max:g} times the usual"
        )

    def pressure(self, weather: Weather) -> Pressure:
        """Return fees and delays along a batch of one path; nothing is known ahead of its step."""
        assert weather.price.shape[0] == 1, "one path at a time"
        moves = np.diff(np.log(weather.price[0, :, 0])) ** 2 / (weather.step_ns / YEAR)
        keep = 2.0 ** (-weather.step_ns / self.half_life_ns)
        variance, times = self.usual**2, [1.0]
        for square in moves.tolist():
            variance = keep * variance + (1.0 - keep) * square
            times.append(max(1.0, variance**0.5 / self.usual))
        fee = np.minimum(np.array(times) ** self.elasticity, self.fee_max)
        return Pressure(fee, np.rint(fee * self.block_ns).astype(np.int64))

    def opening(self, opening: Opening, weather: Weather) -> Opening:
        """Return the opening with a venue whose orders are as slow as the chain on this path.

        A venue has one latency for a whole path: the mean delay is taken, at every moment, so that
        the worst minutes are too fast and the quiet ones too slow. Orders live as much longer.
        """
        mean = int(self.pressure(weather).delay_ns.mean())
        return replace(opening, venue=slowed(opening.venue, mean))


def slowed(venue: Venue, delay_ns: int) -> Venue:
    """Return ``venue`` with ``delay_ns`` more until an order arrives, and as much longer a life."""
    model = venue.model
    late = msgspec.structs.replace(
        model,
        latency_ns=Nanos(model.latency_ns + delay_ns),
        order_life_ns=Nanos(model.order_life_ns + delay_ns),
    )
    return msgspec.structs.replace(venue, model=late)


@dataclass(slots=True)
class LateSources:
    """Outside price sources that speak through a congested chain: what they say is old.

    The venue's own source, which the simulated market follows, stays on time where a venue has one;
    where it has none, the market would lag with its only source, so the first one stays on time.
    ``lagging`` is the share of the others that do lag, in ppm, rounded down.
    """

    congestion: Congestion
    lagging: int = 1_000_000
    name: str = "late sources"
    _desk: Desk = field(init=False)
    _delay: list[int] = field(init=False)
    _late: frozenset[int] = field(init=False, default=frozenset())  # nobody before `begin`

    def begin(self, desk: Desk) -> Iterable[Input]:
        """Learn this path's delays."""
        self._desk = desk
        delay = self.congestion.pressure(desk.weather).delay_ns
        self._delay = (delay // desk.weather.step_ns).tolist()
        sources = desk.opening.venue.sources
        prompt = sources.index(REFERENCE_SOURCE) if REFERENCE_SOURCE in sources else 0
        outside = [n for n in range(len(sources)) if n != prompt]
        self._late = frozenset(outside[: len(outside) * self.lagging // 1_000_000])
        return ()

    def act(self, step: int, now: Nanos) -> Iterable[Input]:
        """Do nothing: sources only speak."""
        del step, now
        return ()

    def said(self, step: int, instrument: int, source: int, ticks: int) -> int:
        """Return the price of as many steps ago as a transaction takes now."""
        if source not in self._late:
            return ticks
        then = max(0, step - self._delay[step])
        return int(ticks_at(self._desk.opening, self._desk.weather, then)[instrument])

    def profit(self) -> Mapping[str, int]:
        """Return nothing: nobody gains here."""
        return {}
