"""What a model outside the core is allowed to say."""

import msgspec

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import PPM, Nanos, Ppm


class SignalBound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One named signal: its neutral value, the tightest it may claim, and when it goes stale.

    A signal may only tighten: it is clamped between ``neutral`` and ``tightest``, and once older
    than ``age_max_ns`` it fades linearly back to neutral over the same time again.
    """

    name: str
    neutral: int = 0
    tightest: int = 1_000_000_000
    age_max_ns: Nanos = Nanos(60_000_000_000)
    confidence_min: Ppm = Ppm(500_000)

    def __post_init__(self) -> None:
        """Refuse a bound that could loosen."""
        if self.tightest < self.neutral or self.age_max_ns <= 0:
            raise ConfigInvalid(
                where=f"signals.{self.name}",
                what="tightest must not be below neutral, and age_max_ns must be positive",
                found=f"{self.neutral:_}..{self.tightest:_}, {self.age_max_ns:_} ns",
            )

    def clamp(self, value: int) -> int:
        """Return what governance lets the model say."""
        return min(max(value, self.neutral), self.tightest)

    def faded(self, value: int, age: int) -> int:
        """Return a kept ``value`` after ``age`` ns: itself while fresh, then back to neutral."""
        late = age - self.age_max_ns
        if late <= 0:
            return value
        if late >= self.age_max_ns:
            return self.neutral
        # Round the remaining part up: never looser than a straight line.
        return (
            self.neutral - (-(value - self.neutral) * (self.age_max_ns - late)) // self.age_max_ns
        )

    def describe(self) -> str:
        """Return the policy in plain language."""
        return (
            f"signal {self.name}: may say {self.neutral / PPM:g}..{self.tightest / PPM:g}, "
            f"fades after {self.age_max_ns / 1e9:g} s"
        )


class SignalGate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which signals are listened to at all; the neutral gate listens to none."""

    bounds: tuple[SignalBound, ...] = ()

    def slot(self, name: str) -> int:
        """Return the slot of ``name``, or -1 when it is not listened to."""
        for n, bound in enumerate(self.bounds):
            if bound.name == name:
                return n
        return -1

    def describe(self) -> list[str]:
        """Return the policy in plain language."""
        return [b.describe() for b in self.bounds] or ["signals: none is listened to"]
