"""`tidegate.stress`: files are read, every path is turned, and the result can be asked."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.venue import Venue
from tidegate.lab.stress import SEED, Hearer, plan_of, stressed
from tidegate.lab.tables import Book, Given, read_book, read_parameters, read_prices
from tidegate.lab.tables.cells import DataFrame
from tidegate.lab.weather import World
from tidegate.report.stress_lines import Lines
from tidegate.report.stress_result import StressResult
from tidegate.safeguards.stack import SafeguardStack, decode_toml


def stress(
    book: Path | str | DataFrame | Book,
    venue: Venue | Path | str | None = None,
    worlds: Sequence[World | str] | None = None,
    stacks: Sequence[SafeguardStack | str | Path] | None = None,
    *,
    paths: int | Sequence[int] | None = None,
    seed: int = SEED,
    agents: Sequence[str] = (),
    workers: int = 1,
    cluster: str | None = None,
    prices: Mapping[str, float] | Path | str | None = None,
    parameters: Given | Path | str | None = None,
    balance_with: str | None = None,
    leave_out: Collection[str] = (),
    where: Mapping[str, str] | None = None,
    questions: bool = True,
    keep: Path | str | None = None,
    hearer: Hearer | None = None,
) -> StressResult:
    """Find what breaks a book: worlds x stacks x paths through the engine that runs live.

    Parameters
    ----------
    book
        The folder of a recording, a table of positions or of loans (.parquet, .csv or a data
        frame), or a `Book` that was read before.
    venue
        A venue file; None infers one and says what was inferred in ``result.notes``.
    worlds, stacks
        Things, or the words that name them: ``"kou:rate=24"``, ``"guarded"``, ``"my.toml"``.
    paths
        How many for each world and stack, or which; None goes by the size of the book.
    agents
        Who else acts in every path: ``"trend:count=1000"``, ``"makers"``; see `lab.agents.crowd`.
    workers, cluster
        Processes, or the address of a Dask scheduler; the answer is the same.
    prices, parameters, balance_with, leave_out, where
        What completes a table: see `tidegate.lab.tables.read_book`.
    questions
        Whether to map the liquidity cliff and to search where each stack breaks, too.
    keep
        A folder of finished paths, so that the same call, or one for more paths, goes on from them.
    """
    lines = _lines(book, worlds, stacks, seed, agents)
    completing = (venue, prices, parameters, balance_with, leave_out, where)
    if not isinstance(book, Book):
        book = _read(book, *completing)
    elif any(completing):
        raise ConfigInvalid(
            where="stress",
            what="a Book was completed when it was read: nothing completes it again",
            found="a Book, with arguments that complete a table",
        )
    named = None if stacks is None else [str(s) if isinstance(s, Path) else s for s in stacks]
    found = stressed(
        plan_of(book, worlds=worlds, stacks=named, paths=paths, seed=seed, agents=agents),
        workers=workers,
        cluster=cluster,
        keep=None if keep is None else Path(keep),
        hearer=hearer or Hearer(),
        questions=questions,
    )
    return StressResult(found, lines)


def _read(
    book: Path | str | DataFrame,
    venue: Venue | Path | str | None,
    prices: Mapping[str, float] | Path | str | None,
    parameters: Given | Path | str | None,
    balance_with: str | None,
    leave_out: Collection[str],
    where: Mapping[str, str] | None,
) -> Book:
    priced = read_prices(Path(prices)) if isinstance(prices, Path | str) else prices
    is_file = isinstance(parameters, Path | str)
    return read_book(
        Path(book) if isinstance(book, str) else book,
        venue=venue_of(venue),
        prices=priced,
        parameters=read_parameters(Path(parameters)) if is_file else parameters,
        balance_with=balance_with,
        leave_out=leave_out,
        where=where,
    )


def _lines(
    book: Path | str | DataFrame | Book,
    worlds: Sequence[World | str] | None,
    stacks: Sequence[SafeguardStack | str | Path] | None,
    seed: int,
    agents: Sequence[str],
) -> Lines:
    """Return the lines of a shell that come closest; what has no word there is called BOOK."""
    named = str(book) if isinstance(book, Path | str) else "BOOK"
    more = ["--seed", str(seed)]
    for world in worlds or ():
        more += ["--world", world if isinstance(world, str) else world.name]
    for spec in agents:
        more += ["--agents", spec]
    for stack in stacks or ():
        more += ["--stack", stack.name if isinstance(stack, SafeguardStack) else str(stack)]
    return Lines((named,), tuple(more))


def venue_of(venue: Venue | Path | str | None) -> Venue | None:
    """Return a venue, reading the file where its path is given."""
    return decode_toml(Path(venue), Venue) if isinstance(venue, Path | str) else venue
