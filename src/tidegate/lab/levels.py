"""The path kernels as the cheap level below the engine: the same weather, a plainer venue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from tidegate.domain.events import PriceObserved
from tidegate.domain.units import I64, Nanos, Ticks
from tidegate.engine.state import State
from tidegate.engine.step import step
from tidegate.lab.opening import Opening
from tidegate.lab.path_model import UNTOUCHED, Law, PathModel
from tidegate.lab.paths import run_paths
from tidegate.lab.rare import Found, Rare, TwoLevels, rare, rare_study, tilt_for, two_levels
from tidegate.lab.sample import Progress
from tidegate.lab.study import Study
from tidegate.lab.tilted import TiltedJumps
from tidegate.lab.weather import F64, Weather
from tidegate.safeguards.breaker import LadderBreaker
from tidegate.safeguards.margin import VolatilityMargin
from tidegate.safeguards.never_worse import NeverWorse
from tidegate.safeguards.planner import StagedPlanner
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.safeguards.waterfall import Waterfall


PILOT: Final = 10_000_000  # paths from which tilts are found, apart from those that are counted
MANY: Final = 20_000_000  # paths of the cheap level


def plainer(stack: SafeguardStack) -> SafeguardStack:
    """Return what of a stack the cheap level keeps: margins, penalties, and the fund.

    Whoever falls below maintenance is closed whole and at once, without oracle rules, breaker,
    throttle or route. Nobody is deleveraged: deficits are what the fund pays and nobody pays.
    """
    neutral = SafeguardStack(name=stack.name)
    plain: dict[str, object] = {table: getattr(neutral, table) for table in UNTOUCHED}
    tranches = tuple(
        msgspec.structs.replace(t, market="", stakes=False) for t in stack.waterfall.tranches
    )
    margin = msgspec.structs.replace(stack.margin, group_tiers=False, volatility=VolatilityMargin())
    plain |= {
        "margin": margin,
        "planner": StagedPlanner(),
        "breaker": LadderBreaker(),
        "never_worse": NeverWorse(mode="off"),
        "waterfall": Waterfall(tranches=tranches),
    }
    return msgspec.structs.replace(stack, **plain)


@dataclass(frozen=True, slots=True)
class Cheap:
    """What paths cost when every order is filled whole, at once, and moves no price."""

    model: PathModel
    marks: I64
    price_max: I64

    @classmethod
    def of(cls, opening: Opening, stack: SafeguardStack) -> "Cheap":
        """Return the cheap level of an opening; raise ConfigInvalid where no kernel follows it."""
        bound = Stack.bind(plainer(stack), opening.venue)
        state = State.genesis(bound)
        now = opening.book.ts
        step(state, opening.book, bound)
        for i, mark in enumerate(opening.marks.tolist()):
            for source in range(len(opening.venue.sources)):
                price = PriceObserved(
                    ts=now, instrument=i, source=source, price=Ticks(mark), published=Nanos(now)
                )
                step(state, price, bound)
        instruments = opening.venue.instruments
        model = PathModel.of(state, bound, [Law() for _ in instruments])
        return cls(model, opening.marks, np.array([i.price_max for i in instruments], np.int64))

    def losses(self, weather: Weather) -> F64:
        """Return the loss of each path in Money: what the fund paid, and what nobody paid."""
        exact = np.rint(weather.price[:, 1:] * self.marks)
        ticks = np.clip(exact, 1, self.price_max).astype(np.int64)
        found = run_paths(self.model, ticks, step_ns=weather.step_ns)
        return (found.bad_debt + found.fund_used).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Answer:
    """How likely a rare loss is, by two levels, and by each of them alone."""

    both: TwoLevels
    cheap: Rare
    dear: Rare
    found: Found
    study: Study  # of the engine's paths, weighed


def rare_loss(
    opening: Opening,
    law: TiltedJumps,
    stack: SafeguardStack,
    threshold: float,
    *,
    root: int,
    many: int,
    pairs: Sequence[int],
    pilots: int = 500,
    on_done: Progress | None = None,
) -> Answer:
    """Return P(loss > threshold), in Money, when it is far rarer than the engine has paths.

    The tilt is found on the cheap level, whose ``many`` paths carry the estimate; ``pairs`` are the
    paths that the engine turns as well, and correct it. All of it is unbiased whatever the cheap
    level leaves out: that only decides how much is gained (`TwoLevels.variance_ratio`).
    """
    level, symbols = Cheap.of(opening, stack), opening.symbols
    found = tilt_for(law, level.losses, threshold, symbols, root=root + PILOT, paths=pilots)
    world = law.under(found.tilt)
    wide = range(MANY, MANY + many)
    cheap, weights = level.losses(world.weather(root, wide, symbols)), world.weights(root, wide)
    study = rare_study(opening, law, found.tilt, [stack], root=root, paths=pairs, on_done=on_done)
    dear, below = study.losses(stack.name), level.losses(world.weather(root, pairs, symbols))
    both = two_levels(
        (cheap > threshold).astype(np.float64),
        (below > threshold).astype(np.float64),
        (dear > threshold).astype(np.float64),
        many_weights=weights,
        pair_weights=study.weight,
    )
    return Answer(
        both, rare(cheap, weights, threshold), rare(dear, study.weight, threshold), found, study
    )
