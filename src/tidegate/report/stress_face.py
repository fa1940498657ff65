"""`tidegate.stress`: files are read, every path is turned, and the result can be asked."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.venue import Venue
from tidegate.lab.stress import SEED, Hearer, Plan, plan_of, stressed
from tidegate.lab.tables import Book, Given, read_book, read_parameters, read_prices
from tidegate.lab.tables.cells import DataFrame
from tidegate.lab.weather import World
from tidegate.report.stress_lines import BOOK_OPTIONS, PLAN_OPTIONS, Lines, named, options
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
    completing: dict[str, Any] = {"venue": venue, "prices": prices, "parameters": parameters}
    completing |= {"balance_with": balance_with, "leave_out": leave_out, "where": where}
    given = book
    if not isinstance(book, Book):
        book = _read(book, **completing)
    elif any(completing.values()):
        raise ConfigInvalid(
            where="stress",
            what="a Book was completed when it was read: nothing completes it again",
            found="a Book, with arguments that complete a table",
        )
    named = None if stacks is None else [str(s) if isinstance(s, Path) else s for s in stacks]
    plan = plan_of(book, worlds=worlds, stacks=named, paths=paths, seed=seed, agents=agents)
    found = stressed(
        plan,
        workers=workers,
        cluster=cluster,
        keep=None if keep is None else Path(keep),
        hearer=hearer or Hearer(),
        questions=questions,
    )
    asked = {"stacks": stacks, "worlds": worlds, "agents": agents, "seed": seed} | _which(paths)
    return StressResult(found, _lines(given, completing | asked, plan))


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


def _which(paths: int | Sequence[int] | None) -> dict[str, Any]:
    """Return the paths as options: how many, or the one."""
    if paths is None or isinstance(paths, int):
        return {"paths": paths, "path": None}
    alone = len(paths) == 1
    return {"paths": None if alone else list(paths), "path": paths[0] if alone else None}


def _lines(book: Path | str | DataFrame | Book, said: dict[str, Any], plan: Plan) -> Lines:
    """Return the lines of a shell that do this again; they own up to what has no word there."""
    where: Mapping[str, str] = said["where"] or {}
    said["where"] = [f"{column}={value}" for column, value in where.items()]
    for name in ("leave_out", "where", "agents", "stacks", "worlds"):
        said[name] = tuple(said[name] or ())
    completed, unsaid = options(said, BOOK_OPTIONS)
    planned, _ = options(said, PLAN_OPTIONS)
    if not isinstance(book, Path | str):
        unsaid.insert(0, named("book", book))
    names = [stack.name for stack in plan.stacks]
    called: dict[str, Any] = dict(zip(names, said["stacks"] or names, strict=True))
    worlds: dict[str, Any] = dict(
        zip([world.name for world in plan.worlds], said["worlds"], strict=False)
    )
    more = {
        (option, name): named(f"{option} {name}", thing)
        for option, things in (("stacks", called), ("worlds", worlds))
        for name, thing in things.items()
        if not isinstance(thing, Path | str)
    }
    if said["paths"] is not None and not isinstance(said["paths"], int):
        more["paths", ""] = named("paths", said["paths"])
    words = {name: str(word) for name, word in called.items() if isinstance(word, Path | str)}
    file = str(book) if isinstance(book, Path | str) else "BOOK"
    return Lines((file, *completed), planned, words, tuple(unsaid), more)


def venue_of(venue: Venue | Path | str | None) -> Venue | None:
    """Return a venue, reading the file where its path is given."""
    return decode_toml(Path(venue), Venue) if isinstance(venue, Path | str) else venue
