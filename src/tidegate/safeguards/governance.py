"""How parameters may change: with notice, in small steps, over a ramp, with a grace period."""

from typing import Final

import msgspec

from tidegate.domain.errors import ConfigInvalid, refuse_negative
from tidegate.domain.facts import GOVERNED
from tidegate.domain.units import SECOND, Nanos
from tidegate.kernels.ramp import ramped


# What raises somebody's maintenance as it rises: these ramp, and have a grace period.
STRICTER_UP: Final = ("tier_maintenance", "debt_maintenance", "premium", "cash_debt")
LONGEST: Final = 10 * 366 * 86_400 * SECOND  # ten years: no sum of times can leave its range


class Governance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules for dated changes of parameters; the neutral one lets them act at once.

    A change counts from when it takes effect: ``notice_ns`` after it was announced at the soonest.
    What makes maintenance stricter then moves along a line for ``ramp_ns``; and whether somebody is
    liquidated is judged by the rule of ``grace_ns`` ago. What loosens acts at once in both.
    """

    notice_ns: Nanos = Nanos(0)
    ramp_ns: Nanos = Nanos(0)
    grace_ns: Nanos = Nanos(0)
    step_max: dict[str, int] = {}  # by column, in its own unit; a column not named may jump

    def __post_init__(self) -> None:
        """Refuse times that are negative or absurd, and steps of what does not exist."""
        refuse_negative("governance", self, "notice_ns", "ramp_ns", "grace_ns")
        for name in ("notice_ns", "ramp_ns", "grace_ns"):
            if getattr(self, name) > LONGEST:
                raise ConfigInvalid(
                    where=f"governance.{name}",
                    what="must be at most ten years",
                    found=f"{getattr(self, name):_}",
                )
        for column, step in self.step_max.items():
            if column not in GOVERNED or step < 1:
                raise ConfigInvalid(
                    where=f"governance.step_max.{column}",
                    what=f"must be >= 1, of one of {', '.join(GOVERNED)}",
                    found=f"{step:_}",
                )

    def ramps(self, column: str, start: int, target: int) -> bool:
        """Return whether a change is one that needs time: stricter maintenance."""
        return column in STRICTER_UP and target > start

    def value_at(self, column: str, start: int, target: int, elapsed: int) -> int:
        """Return the value of a cell ``elapsed`` after its change took effect (below 0: before)."""
        slow = self.ramp_ns if self.ramps(column, start, target) else 0
        return ramped(start, target, elapsed, slow)

    def judged_at(self, column: str, start: int, target: int, elapsed: int) -> int:
        """Return the value by which accounts are judged: that of the grace period ago."""
        late = self.grace_ns if self.ramps(column, start, target) else 0
        return self.value_at(column, start, target, elapsed - late)

    def lasts(self, column: str, start: int, target: int) -> int:
        """Return how long a change is under way once it takes effect: its ramp and its grace."""
        return self.ramp_ns + self.grace_ns if self.ramps(column, start, target) else 0

    def refusal(self, column: str, current: int, value: int, notice: int) -> str:
        """Return why a change may not be made with so much notice, or an empty string."""
        if notice < self.notice_ns:
            return "notice_too_short"
        step = self.step_max.get(column)
        return "parameter_step_too_large" if step and abs(value - current) > step else ""

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        said: list[str] = []
        if self.notice_ns:
            said.append(f"governance: a change is announced {_span(self.notice_ns)} before it acts")
        if self.ramp_ns:
            said.append(f"governance: stricter maintenance is reached over {_span(self.ramp_ns)}")
        if self.grace_ns:
            said.append(
                f"governance: for {_span(self.grace_ns)} after stricter maintenance acts, who is "
                "healthy by the rule before it is not liquidated"
            )
        said += [
            f"governance: one change moves {name} by at most {step:,}"
            for name, step in self.step_max.items()
        ]
        return said


def _span(nanos: int) -> str:
    seconds = nanos / SECOND
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} seconds"
