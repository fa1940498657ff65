"""What the engine decided about parameters, caps and what may not get worse."""

from tidegate.domain.effect import Effect
from tidegate.domain.units import Money, Nanos, Ppm


class MarginFollowed(Effect, frozen=True, kw_only=True):
    """The rate that volatility makes the least an instrument's tiers ask for."""

    instrument: int
    calculated: Ppm
    charged: Ppm


class ParameterScheduled(Effect, frozen=True, kw_only=True):
    """A change of one parameter cell was announced, or begins its ramp or grace period."""

    slot: int
    column: str
    row: int
    start: int
    target: int
    at: Nanos  # when it begins to take effect


class ParameterSettled(Effect, frozen=True, kw_only=True):
    """A change is complete, its grace period included, or was withdrawn: its slot is free."""

    slot: int


class ParameterMoved(Effect, frozen=True, kw_only=True):
    """One cell of the venue's parameter columns changed."""

    column: str
    row: int
    value: int


class LimitsHeld(Effect, frozen=True, kw_only=True):
    """The orders placed from ``first`` on cannot make their accounts worse; Money, one row each.

    Equity, maintenance and gross notional before, and after a fill at the limit. ``fate``: 0 kept,
    1 moved towards the mark, 2 of an insolvent account, 3 worse even at the mark, which it got.
    """

    first: int
    fate: bytes
    equity: bytes
    required: bytes
    notional: bytes
    equity_after: bytes
    required_after: bytes
    notional_after: bytes


class HealthBreached(Effect, frozen=True, kw_only=True):
    """Fills left these accounts worse than they found them; no penalty was charged for that."""

    account: bytes
    equity: bytes
    required: bytes
    notional: bytes
    equity_after: bytes
    required_after: bytes
    notional_after: bytes


class CapMoved(Effect, frozen=True, kw_only=True):
    """An expanding limit of one capped asset moved: its debt ceiling or its supply floor."""

    slot: int  # ceilings in the order of the caps, then floors
    limit: Money
    at: Nanos
