"""What a stress will compute, and what it will take: said after its pilots, before the bulk."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Final, NamedTuple

import msgspec

from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.agents.crowd import crowd_of
from tidegate.lab.outcome import Outcome
from tidegate.lab.sample import Piece
from tidegate.lab.tables import Book
from tidegate.lab.weather import World
from tidegate.safeguards.stack import SafeguardStack, Stack


PATHS_MAX: Final = 1_000_000
# A default that answers within minutes: so many accounts times paths, for each world and stack.
ACCOUNT_PATHS: Final = 48_000
PATHS_LEAST, PATHS_MOST = 8, 128
OBJECTS: Final = 4  # bytes of an outcome in memory over its bytes on disk
LARGEST: Final = 16  # the longest path takes this many bytes of weather a cell: price and depth


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the outcomes depend on, and which of them are wanted."""

    book: Book
    worlds: tuple[World, ...]
    stacks: tuple[SafeguardStack, ...]  # completed by the book's own margins
    root: int
    paths: tuple[int, ...]
    agents: tuple[str, ...] = ()  # who acts in every path

    def pieces(self) -> list[Piece]:
        """Return the work: one path of one world under one stack each.

        Paths come first, so that an interrupted stress has every world and stack alike.
        """
        return [
            Piece(self.book.opening, (stack,), world, self.root, path, self.agents)
            for path in self.paths
            for world in self.worlds
            for stack in self.stacks
        ]

    @property
    def size(self) -> int:
        """Return how many paths will be turned, all worlds and stacks together."""
        return len(self.paths) * len(self.worlds) * len(self.stacks)


class Beside(NamedTuple):
    """Runs that a stress needs beside its paths, at most."""

    runs: int = 0
    lasts: float = 0.0  # as long as so many paths of the first world, one after another


NOTHING: Final = Beside()


class Forecast(NamedTuple):
    """What the rest of a stress takes, judged by one path that was turned."""

    left: int  # paths to turn
    kept: int  # paths that an earlier run has finished
    pilots: int  # paths that were turned now, to judge by
    beside: int  # runs that the questions take, at most
    seconds: float  # until the end; NaN where no pilot was left to turn, and runs are
    memory: int  # bytes at most, all workers together


def paths_for_size(accounts: int) -> int:
    """Return how many paths a book of so many accounts gets where nobody says."""
    return min(PATHS_MOST, max(PATHS_LEAST, ACCOUNT_PATHS // max(1, accounts)))


def planned(
    book: Book,
    worlds: Sequence[World],
    stacks: Sequence[SafeguardStack],
    *,
    root: int,
    paths: int | Sequence[int] | None = None,
    agents: Sequence[str] = (),
) -> Plan:
    """Return the plan; raise ConfigInvalid for names that clash and numbers that cannot be.

    ``paths`` is how many, counted from 0, or which; None goes by the size of the book.
    """
    crowd_of(agents, book.opening.symbols)  # refused here rather than in a worker
    for where, names in (
        ("--stack", [stack.name for stack in stacks]),
        ("--world", [world.name for world in worlds]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise ConfigInvalid(
                where=where, what="at least one, all names different", found=str(twice or "none")
            )
    if paths is None:
        paths = paths_for_size(len(book.opening.book.names))
    chosen = tuple(range(paths)) if isinstance(paths, int) else tuple(paths)
    if not chosen or len(chosen) > PATHS_MAX or min(chosen) < 0 or root < 0:
        raise ConfigInvalid(
            where="--paths, --path and --seed",
            what=f"must be 1..{PATHS_MAX:_} paths, and numbers >= 0",
            found=f"{len(chosen):_} paths, seed {root}",
        )
    completed = tuple(book.completed(stack) for stack in stacks)
    for stack in completed:
        _bound(stack, book)
    return Plan(book, tuple(worlds), completed, root, chosen, tuple(agents))


def _bound(stack: SafeguardStack, book: Book) -> None:
    """Prove that a stack fits the venue before anything runs; name it where it does not."""
    try:
        Stack.bind(stack, book.opening.venue)
    except ConfigInvalid as error:
        raise ConfigInvalid(
            where=f"stack {stack.name}: {error.where}",
            what=error.what,
            found=error.found,
            hint=error.hint,
        ) from error


def forecast(
    plan: Plan,
    *,
    kept: int,
    pilots: int,
    seconds: float,
    workers: int,
    process: int,
    sample: Outcome | None,
    beside: Beside,
) -> Forecast:
    """Return what is left to do.

    ``seconds`` is what one path took, ``process`` the bytes of a process that turned one.
    """
    left = plan.size - kept - pilots
    if sample is None:
        each = 1_024
    else:
        most = LARGEST * (len(plan.book.opening.book.names) + FIRST_USER)
        own = len(msgspec.msgpack.encode(sample)) - len(sample.sufferers) - len(sample.deficits)
        each = OBJECTS * own + most
    memory = process * max(1, workers) + (plan.size + beside.runs) * each
    known = pilots or not beside.runs
    until = seconds * (left / max(1, workers) + beside.lasts) if known else nan
    return Forecast(left, kept, pilots, beside.runs, until, memory)
