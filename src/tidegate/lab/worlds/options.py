"""The words behind a world's name: `vol=80%,step=10s,fall.SOL=0.5`, read once and all of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeVar

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import SECOND
from tidegate.lab.worlds.ground import DAY, HOUR, MINUTE, BySymbol, Clock, one_of


UNITS = {"ms": SECOND // 1_000, "s": SECOND, "min": MINUTE, "m": MINUTE, "h": HOUR, "d": DAY}
T = TypeVar("T")


@dataclass(slots=True)
class Options:
    """What was said after a name. Whatever nobody asks for is refused by `finish`."""

    where: str
    said: dict[str, str]
    asked: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, where: str, text: str, first: str | None = None) -> "Options":
        """Read `key=value,key=value`; the first word without a key is that of ``first``."""
        said: dict[str, str] = {}
        for n, part in enumerate(text.split(",") if text else ()):
            key, equals, value = part.partition("=")
            if not equals:
                if n or first is None:
                    raise ConfigInvalid(
                        where=where, what="must be key=value, with commas between", found=repr(part)
                    )
                key, value = first, part
            key, value = key.strip(), value.strip()
            if key in said or not key or not value:
                raise ConfigInvalid(
                    where=where,
                    what="every key must be said once and with a value",
                    found=repr(part),
                )
            said[key] = value
        return cls(where, said)

    def number(self, key: str, usual: float) -> float:
        """Return a number; 80% is 0.8."""
        return self._read(key, usual, _number, "a number, as in 0.8 or 80%")

    def whole(self, key: str, usual: int) -> int:
        """Return a whole number."""
        return self._read(key, usual, int, "a whole number")

    def duration(self, key: str, usual: int) -> int:
        """Return nanoseconds: 10s, 5min, 1h, 2d, 500ms; a bare number counts seconds."""
        return self._read(key, usual, _duration, "a duration, as in 10s, 5min, 1h or 2d")

    def word(self, key: str, usual: str, known: tuple[str, ...]) -> str:
        """Return one of ``known``."""
        value = self.text(key) or usual
        one_of(f"{self.where}: {key}", value, known)
        return value

    def text(self, key: str) -> str | None:
        """Return what was said, or None."""
        self.asked.append(key)
        return self.said.get(key)

    def names(self, key: str) -> tuple[str, ...]:
        """Return names with slashes between."""
        return tuple(name for name in (self.text(key) or "").split("/") if name)

    def by_symbol(self, key: str) -> BySymbol:
        """Return the numbers of `key.SYMBOL=number`."""
        found = [name for name in self.said if name.startswith(f"{key}.")]
        return tuple((name.removeprefix(f"{key}."), self.number(name, 0.0)) for name in found)

    def clock(self, steps: int = 60, step_ns: int = MINUTE) -> Clock:
        """Return the clock of `steps`, `step` and `for`, of which two decide the third."""
        step = self.duration("step", step_ns)
        horizon = self.duration("for", 0)
        if horizon and "steps" in self.said:
            raise ConfigInvalid(
                where=self.where, what="must say steps or for, not both", found="both"
            )
        return Clock(max(1, horizon // step) if horizon else self.whole("steps", steps), step)

    def finish(self, hint: str) -> None:
        """Refuse what nobody asked for."""
        known = list(dict.fromkeys(key for key in self.asked if "." not in key))
        for key in self.said:
            if key not in self.asked:
                close = get_close_matches(key, known, n=1)
                raise ConfigInvalid(
                    where=self.where,
                    what=f"knows {', '.join(known)}",
                    found=repr(key),
                    hint=f"did you mean {close[0]}?" if close else hint,
                )

    def _read(self, key: str, usual: T, read: Callable[[str], T], what: str) -> T:
        text = self.text(key)
        if text is None:
            return usual
        try:
            return read(text)
        except ValueError:
            raise ConfigInvalid(
                where=f"{self.where}: {key}", what=f"must be {what}", found=repr(text)
            ) from None


def _number(text: str) -> float:
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def _duration(text: str) -> int:
    for unit, ns in UNITS.items():
        if text.endswith(unit) and text[: -len(unit)].replace(".", "", 1).isdigit():
            return round(float(text[: -len(unit)]) * ns)
    seconds = float(text)
    if not 0 <= seconds < 1e9:
        raise ValueError(text)
    return round(seconds * SECOND)
