"""The five markets of a synthetic venue, at the scale of the real one and at any smaller scale.

Prices are those of 2025-10-10 shortly before the fall, rounded. Everything else is an assumption:
caps on leverage after what venues publish, open interest and daily volume by order of magnitude,
depth and its recovery fitted so that a bare venue meets the published aggregates.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.instrument import Linear
from tidegate.domain.units import PPM, SECOND, Lots, Money, Nanos, Ppm, Ticks
from tidegate.domain.venue import Market


PRICE_HEADROOM: Final = 4  # price_max over the start price
POSITION_MAX: Final = 1_000_000_000  # the largest position, numeraire at the start price
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One market of the whole venue; money in millions of the numeraire."""

    symbol: str
    start: float
    tick: str
    lot: str
    beta: float  # noise relative to the first asset
    leverage_max: float
    interest: float  # open interest, one side
    popularity: float  # share of accounts that choose this asset first
    depth: float  # resting within 2 % of the mid, one side, before the storm
    volume: float  # a day
    volatility: int  # a day, ppm
    withdrawal: int  # ppm of depth that leaves for each 1 % of fall
    permanent: int  # ppm of impact that stays


ASSETS: Final = (
    Asset(
        symbol="BTC",
        start=117_000,
        tick="1",
        lot="0.00001",
        beta=1.0,
        leverage_max=20,
        interest=6_600,
        popularity=0.30,
        depth=340,
        volume=30_000,
        volatility=25_000,
        withdrawal=55_000,
        permanent=60_000,
    ),
    Asset(
        symbol="ETH",
        start=4_150,
        tick="0.1",
        lot="0.0001",
        beta=1.4,
        leverage_max=20,
        interest=6_500,
        popularity=0.24,
        depth=340,
        volume=20_000,
        volatility=40_000,
        withdrawal=45_000,
        permanent=60_000,
    ),
    Asset(
        symbol="SOL",
        start=207,
        tick="0.01",
        lot="0.001",
        beta=1.8,
        leverage_max=10,
        interest=2_300,
        popularity=0.16,
        depth=210,
        volume=6_000,
        volatility=45_000,
        withdrawal=30_000,
        permanent=60_000,
    ),
    Asset(
        symbol="HYPE",
        start=42,
        tick="0.001",
        lot="0.01",
        beta=2.5,
        leverage_max=10,
        interest=1_650,
        popularity=0.18,
        depth=110,
        volume=2_000,
        volatility=60_000,
        withdrawal=17_000,
        permanent=80_000,
    ),
    Asset(
        symbol="XPL",
        start=0.75,
        tick="0.0001",
        lot="1",
        beta=3.0,
        leverage_max=5,
        interest=440,
        popularity=0.12,
        depth=32,
        volume=800,
        volatility=90_000,
        withdrawal=14_000,
        permanent=80_000,
    ),
)
RESILIENCE: Final = Nanos(4 * SECOND)  # half-life of the books' recovery


def column(name: str) -> NDArray[np.float64]:
    """Return one number of every asset, in table order."""
    return np.array([float(getattr(asset, name)) for asset in ASSETS])


def lots_max(asset: Asset) -> int:
    """Return the largest position in lots, rounded down."""
    return int(POSITION_MAX / (asset.start * float(asset.lot)))


def instrument_of(asset: Asset) -> Linear:
    """Return the asset's perpetual in its own ticks and lots."""
    tick, lot = Decimal(asset.tick), Decimal(asset.lot)
    return Linear(
        symbol=asset.symbol,
        tick_size=asset.tick,
        lot_size=asset.lot,
        price_max=Ticks(round(PRICE_HEADROOM * asset.start / float(tick))),
        lots_max=Lots(lots_max(asset)),
        open_interest_max=Lots(100 * lots_max(asset)),
        tick_value=Money(int(tick * lot * PPM)),
    )


def market_of(asset: Asset, scale: float) -> Market:
    """Return how the asset's book takes forced sales at ``scale`` of the whole venue."""
    return Market(
        symbol=asset.symbol,
        depth=_money(asset.depth * scale),
        impact="square_root",
        daily_volume=_money(asset.volume * scale),
        daily_volatility=Ppm(asset.volatility),
        permanent=Ppm(asset.permanent),
        resilience_ns=RESILIENCE,
        withdrawal=Ppm(asset.withdrawal),
    )


def _money(millions: float) -> Money:
    return Money(round(millions * MILLION * PPM))
