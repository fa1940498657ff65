"""What the engine decided about when everybody is judged."""

from tidegate.domain.effect import Effect
from tidegate.domain.units import Nanos


class JudgementOwed(Effect, frozen=True, kw_only=True):
    """A mark moved so little that the accounts are judged later, ``due`` at the latest tick."""

    instrument: int
    due: Nanos  # from then on the next observation or tick brings the judgement


class Judged(Effect, frozen=True, kw_only=True):
    """Everybody was judged at the marks as they stand; ``owed`` instruments had waited for it."""

    at: Nanos
    owed: int
