"""Cascades along many paths: the ladder of one market, and ten markets with every safeguard on."""

from collections.abc import Callable
from math import isqrt
from typing import Final

import numpy as np

from tidegate.domain.units import I64, PPM, Money
from tidegate.drivers.streams import Streams
from tidegate.drivers.threads import cores
from tidegate.engine.state import State
from tidegate.lab.admission import admit, engine_trail
from tidegate.lab.bench.path_world import UNIT, guarded, populated, venue_of, whole
from tidegate.lab.bench.processor import cpu_seconds
from tidegate.lab.bench.result import Result
from tidegate.lab.bench.timing import timed
from tidegate.lab.kernels.ladder import Side
from tidegate.lab.ladder import Ladder, run_ladder
from tidegate.lab.path_model import Law, PathModel
from tidegate.lab.paths import PathTotals, Walks, run_paths
from tidegate.safeguards.stack import Stack


NAMES: Final[tuple[str, ...]] = ("paths_single", "paths_multi")
SINGLE_PATHS, SINGLE_STEPS, SINGLE_ACCOUNTS = 10_000, 1_000, 100_000
MULTI_PATHS, MULTI_STEPS, MULTI_ACCOUNTS, MARKETS = 40, 1_000, 20_000, 10
DEVIATION: Final = 0.0005  # of a step's log return: 1.6 % over a thousand steps
COMPARED, SHORT = 20, 200  # paths and steps on which answers are compared
ENGINE_STEPS: Final = 2
FULL_PATHS, FULL_STEPS = 2, 20
FUND: Final = Money(5_000_000 * UNIT)


def numpy_ladder(ladder: Ladder, price: I64) -> I64:
    """Return (liquidated, bad debt) of each path, vectorised over paths as NumPy allows."""
    m, paths = ladder.market, price.shape[0]
    gone = [np.zeros(paths, np.int64) for _ in range(2)]
    shift, debt = np.zeros(paths, np.int64), np.zeros(paths, np.int64)
    for t in range(price.shape[1]):
        shift = np.sign(shift) * (np.abs(shift) * m.keep // PPM)
        for side, left in zip((ladder.longs, ladder.shorts), gone, strict=True):
            live: I64 = np.arange(paths, dtype=np.int64)
            while live.size:
                now = np.clip(price[live, t] + shift[live], 1, m.price_max)
                live, now = _fallen(side, left, live, now)
                if not live.size:
                    break
                end = np.searchsorted(side.key, side.sign * now, side="right")
                lots = side.lots[end] - side.lots[left[live]]
                ppm = np.array([isqrt(n) for n in (m.move * m.move * lots // m.depth).tolist()])
                ticks = now * np.minimum(m.most, ppm) // PPM
                fill = np.clip(now + side.sign * ((ticks + 1) // 2), 1, m.price_max)
                debt[live] += _shortfalls(side, left[live], end, side.sign * fill, m.tick_value)
                shift[live] += side.sign * ticks
                left[live] = end
    return np.stack([gone[0] + gone[1], debt])


def _shortfalls(side: Side, begin: I64, end: I64, at: I64, unit: int) -> I64:
    """Return what the accounts ``begin``..``end`` of each path owe, all ranges laid end to end."""
    many = end - begin
    path = np.repeat(np.arange(begin.size), many)
    rung = np.arange(path.size) - np.repeat(many.cumsum() - many - begin, many)
    owed = np.diff(side.owed)[rung] + unit * at[path] * np.diff(side.lots)[rung]
    out = np.zeros(begin.size, np.int64)
    np.add.at(out, path, np.where(side.broke[rung] <= at[path], owed, 0))
    return out


def _fallen(side: Side, left: I64, live: I64, now: I64) -> tuple[I64, I64]:
    hit = side.key[left[live]] <= side.sign * now
    return live[hit], now[hit]


def given(walks: Walks, state: State, paths: int) -> I64:
    """Return the prices of the first walks, [paths, steps, instruments]."""
    return np.stack([walks.path(n, state.facts.price_max) for n in range(paths)])


def _single(scale: float) -> Result:
    accounts = max(200, int(SINGLE_ACCOUNTS * scale))
    paths, steps = max(COMPARED, int(SINGLE_PATHS * scale)), max(50, int(SINGLE_STEPS * scale))
    state, price = populated(Stack.bind(whole(), venue_of(accounts, 1)), accounts, near=0.3)
    depth = int(state.book.long_open[0] + state.book.short_open[0])
    ladder = Ladder.of(state, Law(depth=depth, move=10_000, most=50_000, keep=990_000))
    walks = Walks(7, paths, steps, price, np.zeros(1), np.full((1, 1), DEVIATION))
    wild = Walks(8, COMPARED, min(steps, SHORT), price, np.zeros(1), np.full((1, 1), 0.01))
    few = given(wild, state, COMPARED)[:, :, 0]
    ours = run_ladder(ladder, few[:, :, None])
    theirs = numpy_ladder(ladder, few)
    assert ours.liquidated.any(), "nothing fell where answers are compared"
    assert (ours.liquidated == theirs[0]).all(), "NumPy liquidates others"
    assert (ours.bad_debt == theirs[1]).all(), "NumPy finds another bad debt"
    drawn = run_ladder(ladder, walks)
    told = run_ladder(ladder, given(walks, state, COMPARED))
    assert (drawn.bad_debt[:COMPARED] == told.bad_debt).all(), "walks differ from their prices"
    part = max(COMPARED, paths // 20)

    def vectorised() -> None:
        z = Streams(7, 0)["price"].standard_normal((part, steps))
        level = np.exp(np.cumsum(DEVIATION * z, axis=1)) * price[0]
        numpy_ladder(ladder, np.maximum(1, np.rint(level).astype(np.int64)))

    t = timed(lambda: run_ladder(ladder, walks))
    numpy = timed(vectorised).median * paths / part
    work = float(paths * steps)
    return Result(
        name="paths_single",
        seconds=t.median,
        per_second=work / t.median,
        yardsticks={"numpy_over_paths": numpy},
        ratio=numpy / t.median,
        conditions=(
            f"{paths:,} paths x {steps:,} steps x {accounts:,} accounts, one market, randomness "
            f"included, {cores()} threads, path-steps/s; equal to the unit on {COMPARED} paths; "
            f"NumPy on 1/{paths / part:.0f} of the paths, times that; {drawn.rounds.mean():.0f} "
            f"rounds and {drawn.liquidated.mean():.0f} accounts a path; fastest {t.fastest:.3f} s"
        ),
        also={
            "ns_per_path_step": t.median / work * 1e9,
            "cpu_seconds": cpu_seconds(lambda: run_ladder(ladder, walks)),
        },
    )


def _multi(scale: float) -> Result:
    accounts = max(200, int(MULTI_ACCOUNTS * scale))
    paths, steps = max(2, int(MULTI_PATHS * scale)), max(20, int(MULTI_STEPS * scale))
    stack = Stack.bind(guarded(FUND), venue_of(accounts, MARKETS))
    state, price = populated(stack, accounts, near=0.15)
    laws = [
        Law(depth=10_000_000 * UNIT // (p * 10), move=3_000, most=50_000, keep=990_000)
        for p in price.tolist()
    ]
    model = PathModel.of(state, stack, laws)
    walks = Walks(7, paths, steps, price, np.zeros(MARKETS), correlated(DEVIATION, 0.7))
    found = admit(state, stack, laws, given(walks, state, 1)[0, :ENGINE_STEPS])
    assert found.admitted, found.difference
    full = PathModel.of(state, stack, laws, pruned=False)
    few = given(walks, state, FULL_PATHS)[:, :FULL_STEPS]
    _same(run_paths(model, few), run_paths(full, few))
    first = few[0, :ENGINE_STEPS]
    t = timed(lambda: run_paths(model, walks))
    unpruned = timed(lambda: run_paths(full, few)).median / (FULL_PATHS * FULL_STEPS)
    engine = timed(lambda: engine_trail(state, stack, laws, first)).median / ENGINE_STEPS
    work = float(paths * steps)
    done = run_paths(model, walks)
    return Result(
        name="paths_multi",
        seconds=t.median,
        per_second=work / t.median,
        yardsticks={"kernel_unpruned": unpruned * work, "engine": engine * work},
        ratio=unpruned * work / t.median,
        conditions=(
            f"{paths:,} paths x {steps:,} steps, {MARKETS} markets, {accounts:,} cross-margin "
            f"accounts ({state.book.high:,} positions), throttle, breaker, fund and deleveraging "
            f"on, {cores()} threads, path-steps/s; equal to the engine, event for event, over "
            f"{found.ticks} prices and to the unpruned kernel over {FULL_PATHS} x {FULL_STEPS} "
            f"steps, both taken times the work; {done.liquidated.mean():.0f} accounts closed a "
            f"path, {done.looks.sum() / work:.1f} looks and {done.events.sum() / work:.1f} prices "
            f"a step; fastest {t.fastest:.3f} s"
        ),
        also={
            "us_per_path_step": t.median / work * 1e6,
            "cpu_us_per_path_step": cpu_seconds(lambda: run_paths(model, walks)) / work * 1e6,
            "us_per_path_step_unpruned": unpruned * 1e6,
            "us_per_path_step_engine": engine * 1e6,
        },
    )


def correlated(deviation: float, share: float) -> np.ndarray:
    """Return loads of one common factor, with ``share`` of the variance, and one of each market."""
    common = np.full((MARKETS, 1), deviation * share**0.5)
    return np.hstack([common, np.eye(MARKETS) * deviation * (1 - share) ** 0.5])


def _same(one: PathTotals, two: PathTotals) -> None:
    for name in one.__dataclass_fields__:
        if name != "looks":
            assert (getattr(one, name) == getattr(two, name)).all(), f"{name} is not the same"


def measure(scale: float = 1.0) -> list[Result]:
    """Check that all answers are equal, then time ours and the others."""
    parts: tuple[Callable[[float], Result], ...] = (_single, _multi)
    return [part(scale) for part in parts]
