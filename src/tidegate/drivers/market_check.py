"""What a declared market must satisfy before it can be simulated; the venue file is the operator's.

The domain's `Market` only names the numbers; their bounds belong to the model that reads them.
"""

from typing import Final

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM
from tidegate.domain.venue import Venue
from tidegate.drivers.impact import LAWS


_ANY: Final = 2**62
_MARKET_BOUNDS: Final = {
    "depth": (1, _ANY),
    "depth_range": (1, PPM - 1),
    "levels": (1, 1_000),
    "daily_volume": (0, _ANY),
    "daily_volatility": (0, 10 * PPM),
    "permanent": (0, PPM),
    "resilience_ns": (0, _ANY),
    "withdrawal": (0, PPM),
    "depth_min": (1, PPM),
}
_MODEL_BOUNDS: Final = {
    "latency_ns": (0, _ANY),
    "order_life_ns": (1, _ANY),
    "drop": (0, PPM),
    "crash": (0, PPM),
    "duplicate": (0, PPM),
    "delay": (0, PPM),
    "delay_ns": (0, _ANY),
    "crash_ns": (1, _ANY),
}


def check_markets(venue: Venue) -> None:
    """Refuse markets and a venue model that could not be simulated, naming the key."""
    symbols = {i.symbol for i in venue.instruments}
    for n, m in enumerate(venue.markets):
        where = f"venue.markets[{n}]"
        if m.symbol not in symbols:
            raise ConfigInvalid(
                where=f"{where}.symbol",
                what=f"must be one of {sorted(symbols)}",
                found=repr(m.symbol),
            )
        if any(other.symbol == m.symbol for other in venue.markets[:n]):
            raise ConfigInvalid(
                where=f"{where}.symbol", what="must differ", found=f"two {m.symbol!r}"
            )
        if m.impact not in LAWS:
            raise ConfigInvalid(
                where=f"{where}.impact", what=f"must be one of {LAWS}", found=repr(m.impact)
            )
        _check_bounds(where, m, _MARKET_BOUNDS)
    _check_bounds("venue.model", venue.model, _MODEL_BOUNDS)


def _check_bounds(where: str, thing: object, bounds: dict[str, tuple[int, int]]) -> None:
    for key, (low, high) in bounds.items():
        value: int = getattr(thing, key)
        if not low <= value <= high:
            raise ConfigInvalid(
                where=f"{where}.{key}",
                what=f"must lie within {low:_}..{high:_}",
                found=f"{value:_}",
            )
