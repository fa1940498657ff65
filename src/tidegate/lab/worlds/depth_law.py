"""How deep a market may be by its candles: a share of volume, with the band of its error."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Final

import numpy as np

from tidegate.adapters.candles import Candles, daily
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM, Money, Ppm
from tidegate.domain.venue import Market
from tidegate.lab.weather import F64


@dataclass(frozen=True, slots=True)
class DepthLaw:
    """depth within ``reach`` = coefficient * daily volume * (volatility a day) ^ -power.

    ``error`` is the deviation of one market from the law, on the logarithm; ``times`` of it make
    the band.
    """

    coefficient: float
    power: float
    reach: int  # basis points
    error: float
    times: float = 1.645  # nine markets in ten

    def predicted(self, volume: float, volatility: float) -> tuple[float, float, float]:
        """Return depth, and the low and the high end of its band, in the quote asset."""
        depth = self.coefficient * volume * volatility**-self.power
        band = exp(self.times * self.error)
        return depth, depth / band, depth * band

    def market(self, candles: Candles) -> tuple[Market, float, float]:
        """Return a market as deep as its candles suggest, and both ends of the band as shares."""
        volume, volatility = daily(candles)
        depth, low, high = self.predicted(volume, volatility)
        market = Market(
            symbol=candles.symbol,
            depth=Money(max(1, round(depth * PPM))),
            depth_range=Ppm(self.reach * 100),
            daily_volume=Money(round(volume * PPM)),
            daily_volatility=Ppm(max(1, round(volatility * PPM))),
        )
        return market, low / depth, high / depth


def fitted_coefficient(
    seen: Sequence[float], volume: Sequence[float], volatility: Sequence[float], power: float
) -> tuple[float, float]:
    """Return the coefficient that fits these books best, and the deviation on the logarithm.

    ``power`` is chosen and not fitted: what is known of few books must not choose two numbers.
    """
    if len(seen) < 2:
        raise ConfigInvalid(
            where="depth law", what="needs two books at least", found=f"{len(seen)}"
        )
    ratio = np.log(np.asarray(seen)) - np.log(np.asarray(volume) * np.asarray(volatility) ** -power)
    return exp(float(ratio.mean())), float(ratio.std(ddof=1))


def dispersion(volume: F64, impact: F64) -> float:
    """Return how far markets lie around "depth is a share of volume", on the logarithm.

    ``impact`` is the share of the price that an order of one same size moves each market by: its
    inverse is a depth, up to a factor that all of them share.
    """
    return float((-np.log(impact) - np.log(volume)).std(ddof=1))


# Measured by bench/model_checks.py: the coefficient on the two spot books of Binance (BTC and ETH)
# of 2024-08-08 against the candles of the fortnight before; the error over the 65 perpetuals of one
# Hyperliquid snapshot that traded more than a million that day. Both books lie well inside.
SPOT_2024: Final = DepthLaw(coefficient=0.0071, power=0.0, reach=200, error=1.33)
