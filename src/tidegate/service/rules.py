"""Who governs a venue and by what majority: the file of governors, refused when it is unclear."""

from pathlib import Path
from typing import Final, Self

import msgspec

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import SECOND, Nanos
from tidegate.safeguards.stack import decode_toml
from tidegate.service.signing import canonical, digest_of, is_key


SERVICE: Final = "service"  # signs nothing: what it says can be checked by whoever has the journal
LONGEST: Final = 366 * 86_400  # seconds

# Cells that can liquidate nobody when they move this way; see `Rules.tightens`.
_UP: Final = ("initial", "debt_initial")


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody with a name; ``key`` is the public half of an Ed25519 key, 64 hex digits."""

    name: str
    key: str = ""


class Tightening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is enough for a change that can liquidate nobody and only asks more of new risk."""

    threshold: int
    lock_seconds: int = 0


class Stopping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long operators have: to confirm one another, and to stop things alone."""

    confirm_seconds: int = 600  # from a request to its confirmation by somebody else
    alone_seconds: int = 900  # a stop by one person lapses after this, unless it was confirmed
    rest_seconds: int = 3_600  # after a stop of theirs has lapsed, one person cannot stop alone


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One parameter from what it is to what it should be."""

    name: str
    before: int
    value: int


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``threshold`` of the governors must sign the same thing, and it waits ``lock_seconds``."""

    threshold: int
    lock_seconds: int
    governors: tuple[Person, ...]
    tightening: Tightening | None = None
    operators: tuple[Person, ...] = ()
    overrides: Stopping = Stopping()

    def __post_init__(self) -> None:
        """Refuse majorities that cannot be reached, and one person under two names."""
        n = len(self.governors)
        if not 1 <= self.threshold <= n:
            raise ConfigInvalid(
                where="threshold",
                what=f"must lie within 1..{n}, the number of governors",
                found=f"{self.threshold:_}",
            )
        _refuse_twins("governors", self.governors, keyed=True)
        _refuse_twins("operators", self.operators, keyed=False)
        less = self.tightening
        if less is not None and not 1 <= less.threshold <= self.threshold:
            raise ConfigInvalid(
                where="tightening.threshold",
                what=f"must lie within 1..{self.threshold}, the threshold of every change",
                found=f"{less.threshold:_}",
            )
        for where, seconds in (
            ("lock_seconds", self.lock_seconds),
            ("tightening.lock_seconds", less.lock_seconds if less else 0),
            ("overrides.rest_seconds", self.overrides.rest_seconds),
        ):
            _refuse_time(where, seconds, 0)
        _refuse_time("overrides.confirm_seconds", self.overrides.confirm_seconds, 1)
        _refuse_time("overrides.alone_seconds", self.overrides.alone_seconds, 1)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of governors; raise ConfigInvalid, naming file and key."""
        return decode_toml(path, cls)

    @property
    def digest(self) -> str:
        """The name of exactly these rules."""
        return digest_of(canonical(self))

    def governor(self, name: str) -> str | None:
        """Return the public key of a governor; None for a stranger."""
        return next((g.key for g in self.governors if g.name == name), None)

    def operator(self, name: str) -> str | None:
        """Return the public key of an operator, "" where it has none; None for a stranger.

        Where no operators are listed, everybody is one whom the service has authenticated as one.
        """
        if not self.operators:
            return ""
        return next((o.key for o in self.operators if o.name == name), None)

    def needed(self, changes: tuple[Change, ...]) -> int:
        """Return how many governors must sign these changes."""
        if self.tightening is not None and all(map(tightens, changes)):
            return self.tightening.threshold
        return self.threshold

    def lock(self, changes: tuple[Change, ...]) -> Nanos:
        """Return how long they wait between the last signature needed and their activation."""
        if self.tightening is not None and all(map(tightens, changes)):
            return Nanos(self.tightening.lock_seconds * SECOND)
        return Nanos(self.lock_seconds * SECOND)


def tightens(change: Change) -> bool:
    """Return whether a change can liquidate nobody and only asks more of whoever takes risk anew.

    Raising maintenance is none: it is stricter, and it sells people out. Whoever could do it with
    fewer signatures would hold a weapon.
    """
    column, _, rest = change.name.partition(".")
    rises = change.value > change.before
    if column in _UP or (column == "cash_debt" and rest == "initial"):
        return rises
    if column in {"open_low", "open_high"}:  # 0 is never: there is nothing looser
        return change.value > 0 and (change.before == 0 or not rises)
    if column == "pause":
        return rises and rest.partition(".")[0] in {"open", "borrow"}
    return False


def _refuse_twins(where: str, people: tuple[Person, ...], *, keyed: bool) -> None:
    names: set[str] = set()
    keys: set[str] = set()
    for person in people:
        at = f"{where}.{person.name}"
        if not 1 <= len(person.name) <= 64 or person.name == SERVICE or person.name in names:
            raise ConfigInvalid(
                where=where,
                what=f"names must differ, have 1..64 letters and not be {SERVICE!r}",
                found=repr(person.name),
            )
        if (keyed or person.key) and not is_key(person.key):
            raise ConfigInvalid(
                where=f"{at}.key",
                what="must be an Ed25519 public key, 64 hex digits in lower case",
                found=repr(person.key),
                hint="tidegate govern keygen FILE makes one and prints it",
            )
        if person.key and person.key in keys:
            raise ConfigInvalid(
                where=f"{at}.key",
                what="must be nobody else's: one key is one person",
                found=person.key,
            )
        names.add(person.name)
        keys.add(person.key)


def _refuse_time(where: str, seconds: int, least: int) -> None:
    if not least <= seconds <= LONGEST:
        raise ConfigInvalid(
            where=where, what=f"must lie within {least}..{LONGEST:_} seconds", found=f"{seconds:_}"
        )
