"""What the engine decided about bands, pauses, stable prices and rungs."""

from tidegate.domain.effect import Effect
from tidegate.domain.units import Nanos, Ticks


class PriceNoted(Effect, frozen=True, kw_only=True):
    """A rolling window of one instrument took a price: what its cell now holds."""

    instrument: int
    ring: int  # see `domain.restraint`
    cell: int
    at: Nanos
    low: Ticks
    high: Ticks
    total: int
    count: int


class BandMoved(Effect, frozen=True, kw_only=True):
    """The price band of one instrument, or whether it may trade, changed."""

    instrument: int
    reference: Ticks
    reference_at: Nanos
    low: Ticks
    high: Ticks
    phase: int  # 0 normal, 1 at the band, 2 paused
    since: Nanos
    until: Nanos  # end of a pause
    emptied: bool  # the rolling windows begin anew
    reason: str


class MarketMoved(Effect, frozen=True, kw_only=True):
    """The market-wide levels: a window began, or a level was reached and everything pauses."""

    level: int
    anchor: Ticks
    anchored_at: Nanos
    until: Nanos
    reason: str


class StableMoved(Effect, frozen=True, kw_only=True):
    """The stable price of one instrument moved; see `kernels.stable_price`."""

    instrument: int
    cells: bytes  # [5]
    delays: bytes  # [DELAYS]


class RungHeld(Effect, frozen=True, kw_only=True):
    """Since when the ladder stands on its rung, and the rung it may not pass until a time."""

    since: Nanos
    ceiling: int
    until: Nanos
