"""A small crowded book by hand, and weather for it: what agents of the lab are tried on."""

from dataclasses import dataclass

import msgspec
import numpy as np

from tidegate.domain.events import BookImported, CommitmentMade
from tidegate.domain.instrument import Linear
from tidegate.domain.units import PPM, SECOND, Lots, Money, Nanos, Ppm, Ticks, pack
from tidegate.domain.venue import Limits, Market, Venue, VenueModel
from tidegate.lab.opening import Opening
from tidegate.lab.weather import Weather
from tidegate.safeguards.stack import SafeguardStack


BEGIN = 1_760_130_000 * SECOND
PRICE = 100_000  # ticks of 0.001: 100 USD
LOT = 1_000  # Money per tick: a lot is 100 USD at the opening
DEPTH = Money(10_000_000 * PPM)  # 10 million within 2 %


def crowded_venue(resilience: int = 20, reach: int = 20_000) -> Venue:
    return Venue(
        name="crowded",
        instruments=(
            Linear(
                symbol="PERP",
                tick_size="0.001",
                lot_size="1",
                price_max=Ticks(1_000_000),
                lots_max=Lots(4_000_000),
                open_interest_max=Lots(100_000_000),
                tick_value=Money(LOT),
            ),
        ),
        limits=Limits(accounts_max=512, positions_max=2_048, orders_max=2_048),
        sources=("index-a", "index-b", "index-c", "venue"),
        markets=(
            Market(
                symbol="PERP",
                depth=DEPTH,
                depth_range=Ppm(reach),
                daily_volume=Money(1_000_000_000 * PPM),
                permanent=Ppm(0),
                resilience_ns=Nanos(resilience * SECOND),
            ),
        ),
        model=VenueModel(),
        step_ns=Nanos(5 * SECOND),
    )


def crowded(longs: int = 60, each: float = 1.0, providers: int = 0, cash: float = 20.0, reach: int = 20_000) -> Opening:
    """Return a book: ``longs`` of ``each`` million at 8 to 18 times, shorts at 1, providers.

    A provider has ``cash`` million and commits to 100,000 lots, on either side.
    """
    shorts = 20
    sizes = [each] * longs + [-each * longs / shorts] * shorts
    leverage = [*np.linspace(8, 18, longs).tolist(), *[1.0] * shorts]
    lots = np.array([round(size * 1e6 / 100) for size in sizes])
    equity = [abs(size) * 1e6 / lever for size, lever in zip(sizes, leverage, strict=True)]
    equity += [cash * 1e6] * providers
    names = tuple(f"a{n}" for n in range(len(equity)))
    book = BookImported(
        ts=Nanos(BEGIN),
        names=names,
        owner=pack(np.arange(len(names))),
        cash=pack(np.rint(np.array(equity) * PPM)),
        account=pack(np.arange(lots.size)),
        instrument=pack(np.zeros(lots.size)),
        lots=pack(lots),
        entry=pack(np.full(lots.size, PRICE)),
    )
    first = 12 + lots.size
    pledged = tuple(
        CommitmentMade(
            ts=Nanos(BEGIN),
            account=first + n,
            instrument=0,
            long_max=Lots(100_000),
            short_max=Lots(100_000),
            discount=Ppm(3_000),
        )
        for n in range(providers)
    )
    return Opening(crowded_venue(reach=reach), book, np.array([PRICE]), pledged, ())


def weather_of(line, depth=1.0, seconds=5) -> Weather:
    price = np.asarray(line, float)[None, :, None]
    return Weather(price, np.full_like(price, depth), seconds * SECOND)


def still(steps=30) -> Weather:
    return weather_of(np.ones(steps + 1))


@dataclass(frozen=True)
class Walk:
    """A symmetric random walk in the logarithm, with jumps of one size now and then."""

    steps: int = 24
    sigma: float = 0.003
    jump: float = 0.0
    rate: float = 0.0
    name: str = "walk"

    def describe(self) -> str:
        return f"{self.steps} steps of {self.sigma:g}, jumps of {self.jump:g} at {self.rate:g}"

    def weather(self, root, paths, symbols) -> Weather:
        from tidegate.drivers.streams import Streams

        out = np.ones((len(paths), self.steps + 1, len(symbols)))
        for n, path in enumerate(paths):
            draw = Streams(root, path)["walk"]
            shape = (self.steps, len(symbols))
            move = self.sigma * draw.standard_normal(shape)
            up = draw.random(shape) < 0.5
            move += np.where(draw.random(shape) < self.rate, np.where(up, 1, -1) * self.jump, 0)
            out[n, 1:] = np.exp(np.cumsum(move, axis=0))
        return Weather(out, np.ones_like(out), 5 * SECOND)


def changed(stack: SafeguardStack, **tables) -> SafeguardStack:
    """Return a stack with fields of its tables replaced."""
    return msgspec.structs.replace(
        stack,
        **{
            name: msgspec.structs.replace(getattr(stack, name), **fields)
            for name, fields in tables.items()
        },
    )
