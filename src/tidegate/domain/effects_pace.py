"""What the engine decided about throttles, schedules and slices."""

from tidegate.domain.effect import Effect
from tidegate.domain.units import Nanos


class LotsReleased(Effect, frozen=True, kw_only=True):
    """Lots of one instrument and side were ordered; windows remember them for ``keep``."""

    instrument: int
    side: int
    lots: int
    keep: Nanos
    at: Nanos


class ScheduleKept(Effect, frozen=True, kw_only=True):
    """A schedule entered: how many lots each interval may release from ``at`` on."""

    instrument: int
    side: int
    slices: bytes
    interval: Nanos
    regime: int  # index into `domain.pace.REGIMES`
    model: str
    version: str
    at: Nanos


class SeedKept(Effect, frozen=True, kw_only=True):
    """A seed was drawn outside: sizes and times of slices come from it from now on."""

    seed: bytes
    at: Nanos


class StageCut(Effect, frozen=True, kw_only=True):
    """Stages were cut up: one row a position, ``lots`` the signed trade of the whole stage."""

    account: bytes
    instrument: bytes
    lots: bytes
    secret: bytes  # [rows] what the account's sizes and times are drawn from
    at: Nanos


class SliceTaken(Effect, frozen=True, kw_only=True):
    """Parts of cut stages were netted or ordered; one row a position, signed lots."""

    account: bytes
    instrument: bytes
    lots: bytes
    at: Nanos


class CutDropped(Effect, frozen=True, kw_only=True):
    """What was left of these accounts' cut stages is not needed any more: they are healthy."""

    account: bytes
    at: Nanos
