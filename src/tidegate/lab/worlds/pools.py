"""Markets that are no order book: a constant-product pool, several venues behind one door."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import msgspec

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM, Money, Nanos, Ppm
from tidegate.domain.venue import Market, VenueModel
from tidegate.lab.worlds.ground import MINUTE, within


LEVELS = 200  # fine enough that a level is no step


@dataclass(frozen=True, slots=True)
class Pool:
    """A constant-product pool: ``reserve`` of the quote asset on one side, as much worth beside it.

    ``fee`` is the share of a sale that stays with its providers. ``arbitrage_ns`` is the half-life
    with which others bring the pool back to the price elsewhere; ``liquid`` is the share of the
    reserves that is active.
    """

    symbol: str
    reserve: float
    fee: float = 0.003
    arbitrage_ns: int = MINUTE
    reach: float = 0.3  # largest fall of the pool's price that the market is to describe

    def __post_init__(self) -> None:
        """Refuse an empty pool."""
        within("pool.reserve", self.reserve, 0.0, 1e15, open_=True)
        within("pool.fee", self.fee, 0.0, 0.5)
        within("pool.reach", self.reach, 0.0, 0.9, open_=True)
        within("pool.arbitrage", self.arbitrage_ns, 1, 365 * 24 * 60 * MINUTE)

    def proceeds(self, fall: float) -> float:
        """Return what sellers have been paid when the price has fallen by ``fall``.

        With x y = k the price is y / x: it falls to (1 - fall) when y falls to y sqrt(1 - fall).
        """
        return self.reserve * (1.0 - sqrt(1.0 - fall))

    def market(self) -> Market:
        """Return an order book that pays what the pool pays over the whole ``reach``.

        An even ladder is straight where a pool bends: for a small fall it pays more than the pool
        does, and at the end of the reach the same. Nothing of an impact is permanent, for the price
        comes from elsewhere, and both price and depth come back with the arbitrageurs.
        """
        return Market(
            symbol=self.symbol,
            depth=Money(max(1, round(self.proceeds(self.reach) * (1.0 - self.fee) * PPM))),
            depth_range=Ppm(round(self.reach * PPM)),
            levels=LEVELS,
            impact="linear",
            permanent=Ppm(0),
            resilience_ns=Nanos(self.arbitrage_ns),
        )


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """One venue's market, and how long an order takes to get there."""

    market: Market
    latency_ns: int


def joined(venues: Sequence[Reached], model: VenueModel) -> tuple[Market, VenueModel]:
    """Return one market for several venues of one symbol, and a venue model as slow as needed.

    Only venues that an order reaches within its life count. Their depth adds up over the widest
    range (each is even over its own, so it is cut to the narrowest), recovery is that of the
    slowest, and orders take as long as to the furthest of them: one venue cannot have several
    clocks. Raise ConfigInvalid where nobody is reached or symbols differ.
    """
    symbols = {v.market.symbol for v in venues}
    near = [v for v in venues if v.latency_ns <= model.order_life_ns]
    if len(symbols) != 1 or not near:
        raise ConfigInvalid(
            where="venues",
            what="must trade one symbol, and one of them must be reached within an order's life",
            found=f"{sorted(symbols)}, latencies of {[v.latency_ns for v in venues]} ns",
        )
    reach = min(v.market.depth_range for v in near)
    depth = sum(v.market.depth * reach // v.market.depth_range for v in near)
    first = near[0].market
    market = msgspec.structs.replace(
        first,
        depth=Money(depth),
        depth_range=reach,
        daily_volume=Money(sum(v.market.daily_volume for v in near)),
        resilience_ns=Nanos(max(v.market.resilience_ns for v in near)),
    )
    slowest = max(v.latency_ns for v in near)
    return market, msgspec.structs.replace(model, latency_ns=Nanos(slowest))
