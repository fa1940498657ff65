"""Everything that can go wrong, and who must act.

* TidegateError
  x ConfigInvalid         the operator: fix the file, nothing has started
  x RecordingInvalid      the operator: fix the recording; file, row and column are named
  x AskInvalid            the sender: fix the request; nothing of it was taken
  x VectorsInvalid        the operator: fix the conformance vectors; file and place are named
  x CapacityExceeded      the operator: raise a limit and restart from the journal
  x JournalCorrupt        the operator: restore; never skip a record
  x JournalGone           the operator: bring the journal's server back; nothing was half kept
  x LeaderLost            nobody: another process leads now; this one stops and stands by
  x FeedBroken            the operator: something in between is missing; decide how to go on
  x FetchFailed           the operator: try again later, or name another source
  x WorkerLost            the operator: a chunk of work took its workers with it; memory, mostly
  x ReplayDiverged        the developer: same input, other effects
* AssertionError          the developer: a belief about the code was wrong; the process stops

Bad *input* is not an error. A stale price or an unknown account is a fact of life: the engine
answers it with a `Rejected` effect, journals it, and goes on.
"""

from functools import partial
from typing import Any


class TidegateError(Exception):
    """Base of every error that someone can be asked to act on."""


class Refused(TidegateError):
    """A declaration was refused: where it stands, what was expected, what was found."""

    def __init__(self, *, where: str, what: str, found: str, hint: str | None = None) -> None:
        self.where, self.what, self.found, self.hint = where, what, found, hint
        super().__init__(f"{where}: {what}, found {found}" + (f"\nhint: {hint}" if hint else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as what it is: an error's usual way knows no keywords."""
        said = {"where": self.where, "what": self.what, "found": self.found, "hint": self.hint}
        return partial(type(self), **said), (), self.__dict__


class ConfigInvalid(Refused):
    """A venue or stack file was refused before anything started."""


def refuse_negative(where: str, declared: object, *names: str) -> None:
    """Raise ConfigInvalid for the first of these fields of a declaration that lies below zero."""
    for name in names:
        value = getattr(declared, name)
        if value < 0:
            raise ConfigInvalid(
                where=f"{where}.{name}", what="must not be negative", found=f"{value:_}"
            )


class RecordingInvalid(Refused):
    """A recording was refused; ``where`` is file, row and column."""


class FeedBroken(Refused):
    """A feed has a gap, or goes on from another place than the one where it was left."""


class VectorsInvalid(Refused):
    """A folder of conformance vectors was refused; ``where`` is file and place."""


class AskInvalid(Refused):
    """Something told to the running service was refused before it was taken."""


class CapacityExceeded(TidegateError):
    """A declared limit was reached; nothing was dropped and nothing was grown."""


class JournalCorrupt(TidegateError):
    """The journal has a gap, or a record does not match its checksum."""


class JournalGone(TidegateError):
    """The journal's server cannot be reached: whether the last batch is durable is not known."""


class LeaderLost(TidegateError):
    """Another process has taken the journal over; what this one decides no longer counts."""


class FetchFailed(TidegateError):
    """A public source could not be read; what arrived so far is kept for the next try."""


class WorkerLost(TidegateError):
    """A chunk of spread work was begun ``tries`` times, and each worker died on it."""

    def __init__(self, *, chunk: int, tries: int, code: int | None = None) -> None:
        self.chunk, self.tries, self.code = chunk, tries, code
        ended = "" if code is None else f", the last with exit code {code}"
        super().__init__(
            f"chunk {chunk}: {tries} workers died on it{ended}\n"
            "hint: mostly memory; use fewer workers, or smaller chunks"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """See `Refused.__reduce__`."""
        said = {"chunk": self.chunk, "tries": self.tries, "code": self.code}
        return partial(type(self), **said), (), self.__dict__


class ReplayDiverged(TidegateError):
    """Replaying an input produced other effects than the ones journalled."""
