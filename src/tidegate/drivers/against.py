"""Hold the engine's flags against the liquidations that really happened.

The engine runs in shadow mode: it advises, nothing is sold, and the book follows what the recorded
venue did. An *alarm* is raised when an account is first ordered to be liquidated, and lasts until
the account is healthy again or has nothing left. A real *episode* is a row of recorded liquidations
of one account, none more than `NEAR` after the one before; it is found when an alarm stood at some
moment within `NEAR` of its beginning.

What was no episode is a false alarm. Each hour that an alarm stood (each price, that is) was

    edge         within `EDGE` of the line at a price that the source's own doubt allows
    rescued      further away, and brought back there by its owner before the next price
    unexplained  neither

and the alarm is called by the hour in which it was raised; ``throughout`` calls it by its worst.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

from tidegate.adapters.arrow import Column, Table, pa
from tidegate.domain.book import Health
from tidegate.domain.effects import AuctionsOpened, Decision, MarkMoved, OrdersPlaced
from tidegate.domain.errors import RecordingInvalid
from tidegate.domain.events import (
    Deposited,
    Input,
    LiquidationReported,
    PriceObserved,
    Traded,
    Transferred,
    Withdrawn,
)
from tidegate.domain.units import I64, PPM, Ppm, unpack
from tidegate.drivers.recording import Recording
from tidegate.drivers.replay import Replay
from tidegate.engine.state import State
from tidegate.safeguards.stack import Stack


NEAR: Final = 2 * 3_600_000_000_000  # two hours, in nanoseconds
EDGE: Final = Ppm(5_000)
SIZE_MIN: Final = 1_000.0  # units of the numeraire: smaller episodes do not count for recall
QUANTILES: Final = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
WORST_MAX: Final = 10  # accounts named in the result

Json: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Alarm:
    """One account's time in distress, as the engine saw it."""

    account: int
    begins: int
    ends: int = 2**62
    hours: list[str] = field(default_factory=list[str])  # what each price's time was called

    def stands(self, start: int, stop: int) -> bool:
        """Return whether the alarm stood at some moment within ``start``..``stop``."""
        return self.begins <= stop and self.ends >= start


@dataclass(slots=True)
class Episode:
    """Recorded liquidations of one account that belong together."""

    account: int
    begins: int
    ends: int
    size: float = 0.0  # of the numeraire


@dataclass(slots=True)
class Against:
    """An observer of one shadow replay; `result` says how its flags compare with history."""

    recording: Recording
    stack: Stack
    alarms: list[Alarm] = field(default_factory=list[Alarm])
    _open: dict[int, Alarm] = field(default_factory=dict[int, Alarm])
    _doubt: dict[int, int] = field(default_factory=dict[int, int])  # ticks, by instrument
    _waiting: dict[int, int] = field(default_factory=dict[int, int])  # of the delayed price

    def observe(
        self,
        seq: int,
        event: Input,
        effects: Sequence[Decision],
        state: State,
        impact_ppm: Sequence[int] = (),
    ) -> None:
        """Take note of one step; ``state`` is the one after it."""
        del seq, impact_ppm
        if isinstance(event, PriceObserved):
            moved = [e for e in effects if isinstance(e, MarkMoved)]
            if moved:
                self._priced(event, moved[-1], effects, state)
            return
        touched = [a for a in accounts_of(event) if a in self._open]
        if touched:
            self._acted(event, touched, state)

    def _priced(
        self, event: PriceObserved, mark: MarkMoved, effects: Sequence[Decision], state: State
    ) -> None:
        i, doubt = event.instrument, int(event.confidence)
        # A price that waited for the oracle's delay brings the doubt it was observed with.
        self._doubt[i] = self._waiting.get(i, doubt) if mark.pending else doubt
        self._waiting[i] = doubt
        flagged = {
            int(a)
            for e in effects
            if isinstance(e, OrdersPlaced | AuctionsOpened)
            for a in unpack(e.account)
        }
        if not flagged and not self._open:
            return
        health = self._assess(state, state.low, state.high)
        for account in [a for a in self._open if health.best[a] >= 0]:
            self._open.pop(account).ends = event.ts
        for account in sorted(flagged - self._open.keys()):
            self._open[account] = Alarm(account=account, begins=event.ts)
            self.alarms.append(self._open[account])
        near = self._near(state)
        for account, alarm in self._open.items():
            alarm.hours.append("edge" if near[account] >= 0 else "unexplained")

    def _acted(self, event: Input, touched: list[int], state: State) -> None:
        health, near = self._assess(state, state.low, state.high), self._near(state)
        owners = not isinstance(event, LiquidationReported)
        for account in touched:
            hours = self._open[account].hours
            if owners and near[account] >= 0 and hours[-1] == "unexplained":
                hours[-1] = "rescued"
            if health.best[account] >= 0:
                self._open.pop(account).ends = event.ts

    def _assess(self, state: State, low: I64, high: I64) -> Health:
        margin = self.stack.declaration.margin
        return margin.assess(state.book, state.facts, mark=state.mark, low=low, high=high)

    def _near(self, state: State) -> I64:
        """Return equity over maintenance at the best price within doubt and `EDGE`; Money."""
        doubt = np.zeros(state.mark.size, np.int64)
        for i, ticks in self._doubt.items():
            doubt[i] = ticks
        low, high = state.low - doubt, state.high + doubt
        low = np.maximum(1, low * PPM // (PPM + EDGE))
        high = -(-high * PPM // (PPM - EDGE))
        return self._assess(state, low, high).best

    def result(self) -> Json:
        """Return recall, precision, timing, the split of the alarms, and all of it by half."""
        episodes = episodes_of(self.recording)
        begins, ends = self.recording.begins, self.recording.ends
        middle = (begins + ends) // 2
        whole = self._judged(episodes, begins, ends + 1)
        halves = [
            {"begins": start, "ends": stop, **self._judged(episodes, start, stop)}
            for start, stop in ((begins, middle), (middle, ends + 1))
        ]
        return {
            "reports": sum(1 for _ in rows_of(self.recording)),
            **whole,
            "worst": self._worst(episodes),
            "halves": halves,
        }

    def _judged(self, episodes: Sequence[Episode], start: int, stop: int) -> Json:
        by_account = _grouped(self.alarms)
        large = [e for e in episodes if e.size > SIZE_MIN and start <= e.begins < stop]
        found = [(e, _closest(e, by_account[e.account])) for e in large]
        hours = [(a.begins - e.begins) / (NEAR / 2) for e, a in found if a is not None]
        alarms = [a for a in self.alarms if start <= a.begins < stop]
        real = _grouped(episodes)
        true = [a for a in alarms if _is_true(a, real[a.account])]
        false = [a for a in alarms if not _is_true(a, real[a.account])]
        n = len(alarms)
        split = Counter(a.hours[0] for a in false)
        throughout = Counter(max(a.hours, key=_SEVERITY.index) for a in false)
        quantiles = [float(np.quantile(hours, q)) for q in QUANTILES] if hours else []
        return {
            "episodes": len(large),
            "recall": _share(len(hours), len(large)),
            "missed": [self._told(e) for e, a in found if a is None],
            "alarms": n,
            "precision": _share(len(true), n),
            "time_error_hours": {
                f"{q:g}": round(h, 4) for q, h in zip(QUANTILES, quantiles, strict=False)
            },
            "split": {"true": len(true), **{name: split[name] for name in _SEVERITY}},
            "unexplained_share": _share(split["unexplained"], n),
            "throughout": {name: throughout[name] for name in _SEVERITY},
            "unexplained_share_throughout": _share(throughout["unexplained"], n),
        }

    def _told(self, episode: Episode) -> Json:
        return {
            "account": self._name(episode.account),
            "at": episode.begins,
            "size": round(episode.size, 6),
        }

    def _worst(self, episodes: Sequence[Episode]) -> Json:
        """Return who has the most unexplained alarms, and how many."""
        real = _grouped(episodes)
        count = Counter(
            self._name(a.account)
            for a in self.alarms
            if a.hours[0] == "unexplained" and not _is_true(a, real[a.account])
        )
        ranked = sorted(count.items(), key=lambda item: (-item[1], item[0]))
        return dict(ranked[:WORST_MAX])

    def _name(self, account: int) -> str:
        return self.recording.names[account - self.recording.row(self.recording.names[0])]


_SEVERITY: Final = ("edge", "rescued", "unexplained")


def hold_against(
    recording: Recording, stack: Stack, *, on_progress: Callable[[int], None] | None = None
) -> Json:
    """Replay ``recording`` in shadow mode under ``stack`` and return what `Against` found.

    Raise RecordingInvalid when the recording holds no liquidations.
    """
    if recording.liquidations() is None:
        raise RecordingInvalid(
            where="liquidations.parquet",
            what="must be there to hold a replay against",
            found="no such file",
            hint="replay without --against",
        )
    against = Against(recording, stack)
    turning = Replay(recording=recording, stack=stack, shadow=True, observers=[against.observe])
    turning.run(on_progress)
    return against.result()


def accounts_of(event: Input) -> tuple[int, ...]:
    """Return the accounts that an event is about."""
    match event:
        case Deposited() | Withdrawn() | LiquidationReported():
            return (event.account,)
        case Transferred():
            return (event.source, event.target)
        case Traded():
            return (event.taker, event.maker)
        case _:
            return ()


def rows_of(recording: Recording) -> Iterable[tuple[int, int, float]]:
    """Yield (ts, account, size in the numeraire) of every recorded liquidation, in file order."""
    table: Table = recording.liquidations()
    n = table.num_rows

    def column(name: str) -> list[Any]:
        return table.column(name).to_pylist() if name in table.column_names else [None] * n

    rows = zip(
        _nanos(table.column("ts")),
        column("account"),
        column("quantity"),
        column("price"),
        column("cash"),
        strict=True,
    )
    for ts, account, quantity, price, cash in rows:
        worth = cash if cash is not None else float(quantity) * float(price or 0)
        yield ts, recording.row(account), abs(float(worth))


def _nanos(column: Column) -> list[int]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", column.type.tz))
    return column.cast(pa.int64()).to_pylist()


def episodes_of(recording: Recording) -> list[Episode]:
    """Return the recorded liquidations of each account, joined where they lie within `NEAR`."""
    episodes: list[Episode] = []
    last: dict[int, Episode] = {}
    for ts, account, size in rows_of(recording):
        one = last.get(account)
        if one is None or ts - one.ends > NEAR:
            one = last[account] = Episode(account=account, begins=ts, ends=ts)
            episodes.append(one)
        one.ends, one.size = ts, one.size + size
    return episodes


def _grouped(things: Iterable[Any]) -> dict[int, list[Any]]:
    grouped: dict[int, list[Any]] = defaultdict(list)
    for thing in things:
        grouped[thing.account].append(thing)
    return grouped


def _closest(episode: Episode, alarms: Sequence[Alarm]) -> Alarm | None:
    """Return the alarm that found an episode: of those near it, the one that began nearest."""
    near = [a for a in alarms if a.stands(episode.begins - NEAR, episode.begins + NEAR)]
    return min(near, key=lambda a: abs(a.begins - episode.begins), default=None)


def _is_true(alarm: Alarm, episodes: Sequence[Episode]) -> bool:
    return any(alarm.stands(e.begins - NEAR, e.ends + NEAR) for e in episodes)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
