"""What a stress says to people: what was inferred, what it will take, how far it is, the table."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from math import isfinite
from types import TracebackType
from typing import Any, Self

import click

from tidegate.cli.say import Tick, identity, progress, words
from tidegate.lab.stress import Forecast, Hearer, Plan
from tidegate.lab.stress.frames import LEVEL, records
from tidegate.lab.tables import Book
from tidegate.report.numbers import amount, duration, percent
from tidegate.report.stress_result import StressResult
from tidegate.report.stress_words import money_text, paths_needed, short_world, tail_text


MEBI = 2**20


def inferred(book: Book) -> Iterator[str]:
    """Yield the book in a line, its markets, and what was inferred or assumed of it."""
    opening = book.opening
    venue = opening.venue
    kind = "loans" if book.loans else "positions"
    yield (
        f"book: {venue.name}, {kind} of {len(opening.book.names):,} accounts, digest "
        f"{opening.digest}, money in {venue.numeraire}"
    )
    markets = {market.symbol: market for market in venue.markets}
    for instrument, mark in zip(venue.instruments, opening.marks.tolist(), strict=True):
        market = markets.get(instrument.symbol)
        depth = f"{amount(market.depth)} within 2 %" if market else "none"
        rule = book.margins.get(instrument.symbol)
        own = f", maintenance {rule.tiers[0].maintenance / 1e4:g} %" if rule else ""
        price = mark * float(instrument.tick_size)
        yield (
            f"  {instrument.symbol}: {price:,.10g}, tick {instrument.tick_size}, lot "
            f"{instrument.lot_size}, depth {depth}{own}"
        )
    yield from (f"  {note}" for note in opening.notes)


class Told(Hearer):
    """Says a stress's forecast and progress on stderr, with the time that is left."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._tick: Tick | None = None
        self._asked = ""

    def __enter__(self) -> Self:
        """Return it; bars begin with what they show."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the bar; after an interrupt, say what the next run begins with."""
        self._open.__exit__(kind, error, trace)  # a bar that was cut short says no total
        if kind is KeyboardInterrupt:
            words("finished paths are kept: the same command goes on from them")

    def begins(self, plan: Plan, found: Forecast) -> None:
        """Say what is left, how long it takes and how much memory, then begin to count."""
        identity(
            seed=str(plan.root),
            **{f"stack_{stack.name}": stack.digest for stack in plan.stacks},
        )
        for world in plan.worlds:
            words(f"  {short_world(world.name)}: {world.describe()}")
        words(
            f"{len(plan.paths):,} paths x {len(plan.worlds)} worlds x {len(plan.stacks)} stacks = "
            f"{plan.size:,} to turn, {_until_now(found)}; {_from_now(found)}, at most "
            f"{found.memory / MEBI:,.0f} MiB of memory"
        )
        self._tick = self._open.enter_context(progress("stress", plan.size, "paths"))
        self._tick(found.kept + found.pilots)

    def done(self, paths: int, of: int) -> None:
        """Count a path."""
        del of
        if self._tick is not None:
            self._tick(paths)

    def asked(self, what: str, done: int, of: int) -> None:
        """Say once what is looked at beside the paths."""
        del done, of
        if what != self._asked:
            self._open.close()
            self._tick, self._asked = None, what
            words(f"looking for {what}")


def _until_now(found: Forecast) -> str:
    """Return what is done, and of which run it is."""
    parts = [
        f"{found.kept:,} kept from before" if found.kept else "",
        f"{found.pilots} turned as pilots" if found.pilots else "",
    ]
    return ", ".join(filter(None, [*parts, f"{found.left:,} left"]))


def _from_now(found: Forecast) -> str:
    """Return what is left beside the paths, and how long all of it takes."""
    asked = f"up to {found.beside:,} runs for the cliff and the breaking points, " * (
        found.beside > 0
    )
    if not isfinite(found.seconds):
        return f"{asked}no pilot tells how long"
    return f"{asked}about {duration(found.seconds)} more"


HEADS = ("fund gone (95 %)", "mean loss", "VaR 95 %", "ES 95 %", "worst", "path", "liquidated")


def table(result: StressResult) -> str:
    """Return the summary for a terminal: a block a world, a stack's line with intervals below."""
    names = [stack.name for stack in result.found.plan.stacks]
    label = max(len(name) for name in names) + 4
    rows = [(row, _cells(row)) for row in records(result.summary)]
    columns = list(zip(HEADS, *(line for _, lines in rows for line in lines), strict=True))
    widths = [max(map(len, column)) + 3 for column in columns]

    def line(head: str, cells: Sequence[str]) -> str:
        texts = (f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))
        return (f"{head:<{label}}" + "".join(texts)).rstrip()

    lines = [click.style(line("", HEADS), bold=True)]
    world = ""
    for row, (values, ends) in rows:
        if row["world"] != world:
            world = row["world"]
            lines += ["", f"{short_world(world)}  ({world})"]
        lines.append(line(f"  {row['stack']}", values))
        if any(ends):
            lines.append(click.style(line("", ends), dim=True))
    shown = any(end for _, (_, ends) in rows for end in ends)
    below = "below VaR and ES stand their 95 % intervals" if shown else ""
    lines += ["", *filter(None, (paths_needed(result.found, LEVEL), below))]
    lines += [f"money in {result.found.numeraire}; {result.found.plan.root} is the seed", ""]
    lines += result.words()
    return "\n".join(lines)


def _cells(row: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the cells of a stack, and the intervals that stand below them."""
    low, high = (percent(row[f"insolvency_{end}"], 0) for end in ("low", "high"))
    tails = [tail_text(row, key) for key in ("var", "es")]
    values = (
        f"{percent(row['insolvency'], 0)} ({low[:-2]}-{high[:-2]})",
        money_text(row["loss"]),
        *(value for value, _ in tails),
        money_text(row["worst"]),
        f"{row['worst_path']}",
        f"{row['accounts_liquidated']:,.0f}",
    )
    return values, ("", "", *(ends for _, ends in tails), "", "", "")
