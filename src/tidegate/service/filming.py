"""A replay that is watched: one row at every step, and the verdict at the end."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np

from tidegate.api.replaying import Frames
from tidegate.domain.book import FUND, POOL
from tidegate.domain.effects import Decision, HealthMoved, ProfileMoved
from tidegate.domain.errors import TidegateError
from tidegate.domain.events import ClockTicked, Input
from tidegate.domain.units import PPM
from tidegate.drivers.recording import Recording, load
from tidegate.drivers.replay import Replay
from tidegate.drivers.verdict import Meter
from tidegate.engine.state import State
from tidegate.safeguards.stack import SafeguardStack, Stack
from tidegate.service.views_words import price_float


ROWS_MAX: Final = 20_000  # of one stack; a longer recording gets rows that stand further apart
TOLD_EVERY_S: Final = 0.4
COLUMNS: Final = tuple(name for name in Frames.__struct_fields__ if name != "marks")


Say: TypeAlias = "Callable[[Seen], None]"


@dataclass(frozen=True)
class Film:
    """What to replay; it pickles."""

    path: Path
    digest: str  # of the recording: nobody may have changed it since
    stacks: tuple[SafeguardStack, ...]


class Seen(msgspec.Struct, frozen=True):
    """What a process that films says: rows of one stack, and how far everything is."""

    stack: str
    progress: float
    rows: Frames


def no_frames(symbols: Sequence[str]) -> Frames:
    """Return no rows at all."""
    columns: dict[str, Any] = {name: [] for name in COLUMNS}
    return Frames(marks={symbol: [] for symbol in symbols}, **columns)


def extend(frames: Frames, more: Frames) -> None:
    """Append rows to columns that are growing."""
    for name in COLUMNS:
        getattr(frames, name).extend(getattr(more, name))
    for symbol, column in more.marks.items():
        frames.marks[symbol].extend(column)


def part(frames: Frames, after: int, limit: int) -> Frames:
    """Return rows from ``after`` on, at most ``limit``."""
    rows = slice(after, after + limit)
    columns: dict[str, Any] = {name: getattr(frames, name)[rows] for name in COLUMNS}
    return Frames(marks={s: column[rows] for s, column in frames.marks.items()}, **columns)


class Camera:
    """An observer of a replay: call `observe` after each step, `last` at the end, then `rows`."""

    def __init__(self, stack: Stack, meter: Meter, step_ns: int) -> None:
        self._instruments, self._meter, self._step_ns = stack.venue.instruments, meter, step_ns
        self._near = [0] * len(self._instruments)
        self._liquidatable = self._bankrupt = 0
        self._forced = 0
        self._due = 0
        self._taken_at = -1
        self.rows = no_frames([i.symbol for i in self._instruments])

    def observe(
        self,
        seq: int,
        event: Input,
        effects: Sequence[Decision],
        state: State,
        impact_ppm: Sequence[int],
    ) -> None:
        """Take a row where one is due; see `drivers.replay.Observer`."""
        del seq, impact_ppm
        for effect in effects:
            if isinstance(effect, ProfileMoved):
                self._near[effect.instrument] = effect.near
            elif isinstance(effect, HealthMoved):
                self._liquidatable, self._bankrupt = effect.liquidatable, effect.bankrupt
        if isinstance(event, ClockTicked) and event.ts >= self._due:
            self._due = event.ts + self._step_ns
            self._take(state)

    def last(self, state: State) -> None:
        """Take the row of what happened since the last one."""
        if state.now > self._taken_at:
            self._take(state)

    def taken(self) -> Frames:
        """Return the rows since the last call."""
        rows, self.rows = self.rows, no_frames([i.symbol for i in self._instruments])
        return rows

    def _take(self, state: State) -> None:
        rows, meter, book = self.rows, self._meter, state.book
        self._taken_at = state.now
        rows.ts.append(state.now)
        for of, ticks in zip(self._instruments, state.mark.tolist(), strict=True):
            rows.marks[of.symbol].append(price_float(of, ticks) if ticks else None)
        rows.rung.append(state.rung)
        rows.branching.append(max(self._near, default=0) / PPM)
        rows.liquidatable.append(self._liquidatable)
        rows.bankrupt.append(self._bankrupt)
        rows.fund.append(int(book.cash[FUND:POOL].sum()) / PPM)
        forced = meter.forced
        rows.forced.append((forced - self._forced) / PPM)
        self._forced = forced
        rows.in_flight.append(int(np.count_nonzero(state.orders.key >= 0)))
        rows.bad_debt.append(meter.bad_debt / PPM)
        rows.deleveraged.append(meter.deleveraged / PPM)


def step_of(recording: Recording) -> int:
    """Return how far rows stand apart."""
    span = recording.ends - recording.begins
    return max(int(recording.venue.step_ns), -(-span // ROWS_MAX))


def film(asked: Film, say: Say) -> dict[str, dict[str, Any]]:
    """Replay under each stack; say what is seen, return the verdicts as they are published."""
    recording = load(asked.path)
    if recording.digest != asked.digest:
        msg = f"the recording has changed since it was asked for: its digest is {recording.digest}"
        raise TidegateError(msg)
    share = 1 / len(asked.stacks)
    return {
        declared.name: _one(recording, declared, n * share, share, say)
        for n, declared in enumerate(asked.stacks)
    }


def _one(
    recording: Recording, declared: SafeguardStack, begun: float, share: float, say: Say
) -> dict[str, Any]:
    stack = Stack.bind(declared, recording.venue)
    meter = Meter(stack)
    camera = Camera(stack, meter, step_of(recording))
    many, told = max(1, recording.n_events), [0.0]

    def progress(done: int) -> None:
        if time.monotonic() - told[0] >= TOLD_EVERY_S:
            told[0] = time.monotonic()
            say(Seen(stack.name, begun + share * done / many, camera.taken()))

    observers = [meter.observe, camera.observe]
    run = Replay(recording=recording, stack=stack, observers=observers)
    run.run(progress)
    camera.last(run.state)
    say(Seen(stack.name, begun + share, camera.taken()))
    return meter.verdict(run.state).to_json()
