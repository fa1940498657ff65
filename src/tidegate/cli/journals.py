"""Journals on disk: begin one for a replay, and find out under what an old one was made."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from tidegate import __version__
from tidegate.adapters.journal import SqliteJournal
from tidegate.cli.say import words
from tidegate.cli.stacks import load_stack, load_venue_file
from tidegate.domain.effects import AccountsOpened
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.venue import Venue
from tidegate.drivers.live import identity
from tidegate.drivers.recording import Recording
from tidegate.ports import Journal, Record
from tidegate.safeguards.stack import SafeguardStack, Stack


class Made(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What lies beside a replay's journal: under what it was made, so that it reads itself."""

    tidegate: str
    recording: str
    recording_digest: str
    stack: SafeguardStack
    venue: Venue


@contextmanager
def new_journal(
    path: Path, declared: SafeguardStack, loaded: Recording
) -> Generator[Journal | None]:
    """Begin a journal at ``path`` and write beside it what it is made under.

    ``declared`` is the stack as its file says it: binding scales amounts, and is done once. Raise
    ConfigInvalid where a file is there already: a journal is never written over.
    """
    if path.exists():
        raise ConfigInvalid(
            where="--journal",
            what="must be a new file",
            found=f"{path}, which is there",
            hint="choose another name; a journal is never written over",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Made(
        tidegate=__version__,
        recording=loaded.path.name,
        recording_digest=loaded.digest,
        stack=declared,
        venue=loaded.venue,
    )
    made_file(path).write_bytes(msgspec.json.format(msgspec.json.encode(made)))
    with closing(SqliteJournal(path)) as journal:
        journal.claim(identity(Stack.bind(declared, loaded.venue)))
        yield journal
    words(f"journal: {path.resolve()}")


def made_file(path: Path) -> Path:
    """Return where the description of a journal lies."""
    return path.with_name(f"{path.name}.made.json")


def stack_of(path: Path, stack: str | None, venue: Path | None) -> Stack:
    """Return the stack a journal was made under: as described beside it, or as the caller says."""
    beside = made_file(path)
    made = None
    if beside.exists():
        try:
            made = msgspec.json.decode(beside.read_bytes(), type=Made)
        except (msgspec.ValidationError, msgspec.DecodeError) as e:
            raise ConfigInvalid(
                where=beside.name, what="must describe the journal beside it", found=str(e)
            ) from e
    if made is None and (stack is None or venue is None):
        missing = "--stack" if stack is None else "--venue"
        raise ConfigInvalid(
            where=missing,
            what=f"must be given: {beside.name} is not beside the journal",
            found="nothing",
            hint="name the stack and the venue (or recording) the journal was made under",
        )
    declared = load_stack(stack) if stack is not None else None
    known = load_venue_file(venue) if venue is not None else None
    if declared is None or known is None:
        assert made is not None, "refused above"
        declared, known = declared or made.stack, known or made.venue
    return Stack.bind(declared, known)


def account_names(records: Iterator[Record]) -> list[str]:
    """Return the names of all accounts a journal opens, in row order."""
    return [
        name
        for record in records
        for effect in record.effects
        if isinstance(effect, AccountsOpened)
        for name in effect.names
    ]
