"""How often everybody is judged: at every price, or once enough time has passed or prices moved."""

import msgspec

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.units import PPM, SECOND, Nanos, Ppm


EVERY_MAX = Nanos(60 * SECOND)


class Cadence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A small move soon after a judgement may wait for the next one; everything else may not.

    A judgement is the sweep over all accounts and all that follows from it: profile, breaker,
    waterfall, liquidations. Neutral, ``judge_every_ns`` = 0: every observation that is kept brings
    one. Otherwise one that moves its mark by less than ``judge_move`` from the mark of the last
    judgement owes it, for ``judge_every_ns`` after that one at most.
    """

    judge_every_ns: Nanos = Nanos(0)
    judge_move: Ppm = Ppm(0)

    def __post_init__(self) -> None:
        """Refuse a wait that no move could use, and one that leaves a venue alone for too long."""
        refuse_negative("cadence", self, "judge_every_ns", "judge_move")
        if (self.judge_every_ns > 0) != (self.judge_move > 0):
            raise ConfigInvalid(
                where="cadence",
                what="needs both judge_every_ns and judge_move, or neither",
                found=f"{self.judge_every_ns:_} and {self.judge_move:_}",
                hint="every move reaches a judge_move of 0: nothing would ever wait",
            )
        if self.judge_every_ns > EVERY_MAX or self.judge_move >= PPM:
            raise ConfigInvalid(
                where="cadence",
                what=f"judge_every_ns must be <= {EVERY_MAX:_} and judge_move below {PPM:_}",
                found=f"{self.judge_every_ns:_} and {self.judge_move:_}",
            )

    @property
    def active(self) -> bool:
        """Whether a judgement may ever wait."""
        return self.judge_every_ns > 0

    def over(self, since: int, now: int) -> bool:
        """Return whether the time is over for which moves may wait after a judgement."""
        return now - since >= self.judge_every_ns

    def far(self, judged: int, price: int) -> bool:
        """Return whether a price lies too far from the judged one to wait; 0 was never judged."""
        return abs(price - judged) * PPM >= judged * self.judge_move

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        if not self.active:
            return ["cadence: every price that is kept brings a judgement of all accounts"]
        said = (
            f"cadence: a move of less than {self.judge_move / 1e4:g} % since the last judgement of "
            f"all accounts waits for the next one, {self.judge_every_ns / 1e6:g} ms after it at "
            "most; a larger one, new doubt, a pause, a higher rung or a tick brings it at once"
        )
        return [said]
