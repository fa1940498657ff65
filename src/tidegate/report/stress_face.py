"""From the words of `tidegate.stress` to its result: files are read, then everything is turned."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.venue import Venue
from tidegate.lab.stress import Hearer, plan_of, stressed
from tidegate.lab.tables import Book, Given, read_book, read_parameters, read_prices
from tidegate.lab.tables.cells import DataFrame
from tidegate.lab.weather import World
from tidegate.report.stress_lines import Lines
from tidegate.report.stress_result import StressResult
from tidegate.safeguards.stack import SafeguardStack, decode_toml


def face(
    book: Path | str | DataFrame | Book,
    venue: Venue | Path | str | None,
    worlds: Sequence[World | str] | None,
    stacks: Sequence[SafeguardStack | str | Path] | None,
    *,
    paths: int | Sequence[int] | None,
    seed: int,
    workers: int,
    cluster: str | None,
    prices: Mapping[str, float] | Path | str | None,
    parameters: Given | Path | str | None,
    balance_with: str | None,
    leave_out: Collection[str],
    where: Mapping[str, str] | None,
    questions: bool,
    keep: Path | str | None,
    hearer: Hearer | None,
) -> StressResult:
    """Return what `tidegate.stress` returns; its arguments, and its meaning, are those there."""
    lines = _lines(book, worlds, stacks, seed)
    if not isinstance(book, Book):
        book = read_book(
            Path(book) if isinstance(book, str) else book,
            venue=venue_of(venue),
            prices=read_prices(Path(prices)) if isinstance(prices, Path | str) else prices,
            parameters=(
                read_parameters(Path(parameters))
                if isinstance(parameters, Path | str)
                else parameters
            ),
            balance_with=balance_with,
            leave_out=leave_out,
            where=where,
        )
    elif any((venue, prices, parameters, balance_with, leave_out, where)):
        raise ConfigInvalid(
            where="stress",
            what="a Book was completed when it was read: nothing completes it again",
            found="a Book, with arguments that complete a table",
        )
    words = None if stacks is None else [str(s) if isinstance(s, Path) else s for s in stacks]
    plan = plan_of(book, worlds=worlds, stacks=words, paths=paths, seed=seed)
    found = stressed(
        plan,
        workers=workers,
        cluster=cluster,
        keep=None if keep is None else Path(keep),
        hearer=hearer or Hearer(),
        questions=questions,
    )
    return StressResult(found, lines)


def _lines(
    book: Path | str | DataFrame | Book,
    worlds: Sequence[World | str] | None,
    stacks: Sequence[SafeguardStack | str | Path] | None,
    seed: int,
) -> Lines:
    """Return the lines of a shell that come closest; what has no word there is called BOOK."""
    named = str(book) if isinstance(book, Path | str) else "BOOK"
    more = ["--seed", str(seed)]
    for world in worlds or ():
        more += ["--world", world if isinstance(world, str) else world.name]
    for stack in stacks or ():
        more += ["--stack", stack.name if isinstance(stack, SafeguardStack) else str(stack)]
    return Lines((named,), tuple(more))


def venue_of(venue: Venue | Path | str | None) -> Venue | None:
    """Return a venue, reading the file where its path is given."""
    return decode_toml(Path(venue), Venue) if isinstance(venue, Path | str) else venue
