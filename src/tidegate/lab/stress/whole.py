"""The whole stress of a book: its losses under every stack, its cliff, its breaking points."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tidegate.drivers.shelf import load_stack
from tidegate.lab.breaking import Place
from tidegate.lab.outcome import Outcome
from tidegate.lab.stress.plan import NOTHING, Plan, planned
from tidegate.lab.stress.questions import Point, breaking_points, cliff_map, runs_beside
from tidegate.lab.stress.run import NOBODY, Hearer, run
from tidegate.lab.study import Study
from tidegate.lab.tables import Book
from tidegate.lab.weather import World
from tidegate.lab.worlds.catalogue import world as world_of
from tidegate.safeguards.stack import SafeguardStack


# An hour of minutes each: jumps, a storm in which makers leave, a gap, and a V. Laws with their own
# numbers: what a day of this very market looks like is asked with candles (`fhs:`, `gjr:candles=`).
WORLDS: Final = (
    "kou:vol=120%,rate=24,drop=0.08+withdraw",
    "regimes:start=storm,storm=400%,storm_for=2h+withdraw",
    "gap:fall=0.2,noise=150%",
    "v:fall=0.3,noise=150%",
)
STACKS: Final = ("bare", "guarded")
LOAN_STACKS: Final = ("loans", "soft")
SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Stressed:
    """What came of a stress: everything a report shows, and nothing drawn yet."""

    plan: Plan
    studies: tuple[Study, ...]  # one a world
    cliff: Mapping[Place, Outcome] = field(default_factory=dict[Place, Outcome])
    points: Sequence[Point] = ()

    @property
    def numeraire(self) -> str:
        """Return the unit of every amount."""
        return self.plan.book.opening.venue.numeraire


def plan_of(
    book: Book,
    *,
    worlds: Sequence[World | str] | None = None,
    stacks: Sequence[SafeguardStack | str] | None = None,
    paths: int | Sequence[int] | None = None,
    seed: int = SEED,
    agents: Sequence[str] = (),
) -> Plan:
    """Return the plan of a stress; worlds and stacks are things or the words that name them."""
    usual = LOAN_STACKS if book.loans else STACKS
    skies = [world_of(w) if isinstance(w, str) else w for w in (worlds or WORLDS)]
    shields = [load_stack(s) if isinstance(s, str) else s for s in (stacks or usual)]
    return planned(book, skies, shields, root=seed, paths=paths, agents=agents)


def stressed(
    plan: Plan,
    *,
    workers: int = 1,
    cluster: str | None = None,
    keep: Path | None = None,
    hearer: Hearer = NOBODY,
    questions: bool = True,
) -> Stressed:
    """Turn every path of a plan and, with ``questions``, map the cliff and find where it breaks."""
    beside = runs_beside(plan, workers=workers, keep=keep) if questions else NOTHING
    studies = run(plan, workers=workers, cluster=cluster, keep=keep, hearer=hearer, beside=beside)
    if not questions:
        return Stressed(plan, studies)
    places = cliff_map(
        plan, workers=workers, cluster=cluster, keep=keep, done=_as(hearer, "the cliff")
    )
    points = breaking_points(
        plan, workers=workers, cluster=cluster, keep=keep, done=_as(hearer, "where it breaks")
    )
    return Stressed(plan, studies, places, points)


def _as(hearer: Hearer, what: str) -> Callable[[int, int], None]:
    def done(finished: int, of: int) -> None:
        hearer.asked(what, finished, of)

    return done
