"""A stack is judged by the best adversary against it.

Each kind of adversary searches its own parameters against the given stack: a grid, halved round by
round on more and more common paths, then steps around the best point. What it reports comes from
paths that the search has not seen, so that luck in the search is no profit. The statistic is the
mean edge, profit less what the weather's moves gave to what was held, less that of its honest twin.
"""

# scipy ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Final, NamedTuple, TypeAlias

import msgspec
import numpy as np
from scipy import stats

from tidegate.lab.agents.adversary import CAPITAL, WEATHER
from tidegate.lab.agents.catalogue import ADVERSARIES, SEATS, Choice, Kind
from tidegate.lab.opening import Opening
from tidegate.lab.population import Population
from tidegate.lab.turn import turn
from tidegate.lab.weather import F64, World
from tidegate.safeguards.stack import SafeguardStack


CONFIDENCE: Final = 0.95  # of all statements about one stack together
JUDGED_FROM: Final = 1_000_000  # number of the first path that no search ever sees
KEPT: Final = 3  # one choice in so many goes into the next round
STEP: Final = 1.4  # factor of a step around the best choice


class Budget(NamedTuple):
    """What one adversary may spend against one stack, in paths."""

    first: int = 2  # paths of the first round of the search; each round has twice as many
    rounds: int = 2
    judged: int = 12  # fresh paths on which the best choice is reported; at least 2


@dataclass(frozen=True, slots=True)
class Judged:
    """What the best choice of one adversary came to against one stack. Money, means over paths."""

    adversary: str
    stack: str
    parameters: dict[str, float]
    edge: float  # its profit less the weather's part, less the twin's
    low: float  # interval of the edge, at a confidence that holds for all adversaries together
    high: float
    profit: float  # with the weather's part
    capital: float  # the most it had paid and not yet received back
    loss_added: float  # by how much the venue's loss is larger than without it
    paths: int
    runs: int  # paths run in all

    @property
    def profits(self) -> bool:
        """Whether it is shown to gain: the whole interval lies above zero."""
        return self.low > 0


def roomy(opening: Opening, seats: int = SEATS) -> Opening:
    """Return the same opening with room for ``seats`` more accounts and their positions."""
    limits = opening.venue.limits
    rows = seats * len(opening.venue.instruments)
    more = msgspec.structs.replace(
        limits,
        accounts_max=max(limits.accounts_max, _people(opening) + seats),
        positions_max=limits.positions_max + rows,
        orders_max=limits.orders_max + rows,
    )
    return replace(opening, venue=msgspec.structs.replace(opening.venue, limits=more))


def _people(opening: Opening) -> int:
    return len(opening.book.names) + 64  # system accounts, and a few to spare


class Came(NamedTuple):
    """What one path came to, in Money."""

    profit: int
    weather: int
    capital: int
    loss: int  # of the venue

    @property
    def edge(self) -> int:
        """The profit without what the weather gave."""
        return self.profit - self.weather


_Key: TypeAlias = tuple[str, tuple[tuple[str, float], ...], int]  # kind, choice, path


@dataclass(slots=True)
class Arena:
    """One stack on one opening and world, and what has been run in it."""

    opening: Opening
    stack: SafeguardStack
    world: World
    root: int
    crowd: Callable[[], Sequence[Population]] = tuple
    runs: int = 0
    _done: dict[_Key, Came] = field(init=False, default_factory=dict[_Key, Came])

    def one(self, kind: Kind | None, choice: Choice, path: int) -> Came:
        """Return what came of one path; without a kind, without anybody."""
        key = (kind.name if kind else "", tuple(sorted(choice.items())), path)
        if key not in self._done:
            players = kind.build(choice) if kind else ()
            weather = self.world.weather(self.root, [path], self.opening.symbols)
            everybody = [*self.crowd(), *players]
            end = turn(
                self.opening, self.stack, weather, root=self.root, path=path, crowd=everybody
            )
            self.runs += 1
            name = players[-1].name if players else ""
            got, given, put = (end.profits.get(name + part, 0) for part in ("", WEATHER, CAPITAL))
            self._done[key] = Came(got, given, put, end.loss)
        return self._done[key]

    def edges(self, kind: Kind, choice: Choice, paths: Sequence[int]) -> F64:
        """Return the edge of each path, in Money."""
        return np.array([self._edge(kind, choice, path) for path in paths], np.float64)

    def _edge(self, kind: Kind, choice: Choice, path: int) -> int:
        came = self.one(kind, choice, path)
        if kind.twin is None:
            return came.edge
        return came.edge - self.one(kind, {**choice, **kind.twin}, path).edge


def best_adversary(
    opening: Opening,
    stack: SafeguardStack,
    world: World,
    root: int,
    budget: Budget = Budget(),  # noqa: B008 - a named tuple of numbers
    *,
    kinds: Sequence[Kind] = ADVERSARIES,
    crowd: Callable[[], Sequence[Population]] = tuple,
) -> list[Judged]:
    """Return one row an adversary, the one with the largest mean edge first.

    ``crowd`` makes other populations anew for each path. Path numbers of the search begin at 0,
    those of the report at `JUDGED_FROM`: all stacks and adversaries meet the same weather.
    """
    room, level = roomy(opening), 1 - (1 - CONFIDENCE) / len(kinds)
    arena = Arena(room, stack, world, root, crowd)
    rows = [judge(arena, kind, search(arena, kind, budget), budget, level) for kind in kinds]
    return sorted(rows, key=lambda row: -row.edge)


def search(arena: Arena, kind: Kind, budget: Budget) -> Choice:
    """Return the choice with the largest mean edge on the search's paths."""
    names = list(kind.grid)
    left: list[Choice] = [
        dict(zip(names, point, strict=True)) for point in product(*kind.grid.values())
    ]
    paths = range(budget.first)
    for n in range(budget.rounds):
        paths = range(budget.first * 2**n)
        left = _ranked(arena, kind, left, paths)[: max(1, len(left) // KEPT)]
    around = [
        {**left[0], name: left[0][name] * by} for name in kind.smooth for by in (STEP, 1 / STEP)
    ]
    return _ranked(arena, kind, [left[0], *around], paths)[0]


def _ranked(
    arena: Arena, kind: Kind, choices: Sequence[Choice], paths: Sequence[int]
) -> list[Choice]:
    """Return the choices by their mean edge, best first; ties in the order they came in."""
    mean = [float(arena.edges(kind, choice, paths).mean()) for choice in choices]
    return [choices[n] for n in np.argsort(-np.array(mean), kind="stable")]


def judge(arena: Arena, kind: Kind, choice: Choice, budget: Budget, level: float) -> Judged:
    """Return what ``choice`` comes to on fresh paths, with Student's interval of the mean edge."""
    before, paths = arena.runs, range(JUDGED_FROM, JUDGED_FROM + budget.judged)
    edge = arena.edges(kind, choice, paths)
    done = [arena.one(kind, choice, path) for path in paths]
    alone = [arena.one(None, {}, path).loss for path in paths]
    mean, half = float(edge.mean()), 0.0
    if edge.std() > 0:
        quantile = float(stats.t.ppf(0.5 + level / 2, edge.size - 1))
        half = quantile * float(edge.std(ddof=1)) / edge.size**0.5
    return Judged(
        adversary=kind.name,
        stack=arena.stack.name,
        parameters=dict(choice),
        edge=mean,
        low=mean - half,
        high=mean + half,
        profit=float(np.mean([came.profit for came in done])),
        capital=float(np.mean([came.capital for came in done])),
        loss_added=float(np.mean([came.loss for came in done]) - np.mean(alone)),
        paths=edge.size,
        runs=arena.runs - before,
    )
