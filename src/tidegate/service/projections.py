"""What is remembered over time, for people: profiles, flow, the fund, rungs, receipts, the log.

It listens on the crank's thread and is read there too, between two batches, so that nothing is
torn. Everything is bounded. After a start it knows what was replayed since the snapshot, and grows
from there; what is older is in the journal.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.api.answers import (
    Flow,
    FundHistory,
    Logged,
    ProfileHistory,
    Receipt,
    RungMoved,
)
from tidegate.domain.book import FUND
from tidegate.domain.effects import (
    AuctionsOpened,
    BreakerMoved,
    Deleveraged,
    HealthMoved,
    MarkMoved,
    OrdersPlaced,
    PositionsMoved,
    ProfileMoved,
)
from tidegate.domain.events import BookImported
from tidegate.domain.units import PPM, SECOND, unpack
from tidegate.engine.liquidation import in_flight
from tidegate.engine.reading import notional_of
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Reading
from tidegate.service.views import rung_name, tranches_now
from tidegate.service.views_health import bucket_now
from tidegate.service.views_log import Log
from tidegate.service.views_receipts import receipt_of
from tidegate.service.views_words import money_float, price_float, rows_of


MARKET: Final = frozenset({"fill", "auctioned"})  # forced lots that met somebody else's
LARGE: Final = 10_000  # accounts of an import, from which only its line is kept


@dataclass(frozen=True, slots=True)
class Kept:
    """How much is kept of each."""

    rows: int = 3_600  # of profile, flow and fund: one a second of venue time at most
    receipts: int = 10_000
    records: int = 5_000  # of the log
    rungs: int = 1_000


class _Profile(NamedTuple):
    ts: int
    mark: int
    near: int
    buckets: NDArray[np.float32]  # down, then up


class _FlowRow(NamedTuple):
    ts: int
    ordered: int  # Money
    filled: int
    waiting: int
    spent: int
    budget: int | None

    @property
    def still(self) -> bool:
        """Whether nothing was under way."""
        return not (self.ordered or self.filled or self.waiting)


class _FundRow(NamedTuple):
    ts: int
    balance: tuple[int, ...]
    lost: int


@dataclass(slots=True)
class _Instrument:
    """What is remembered of one instrument."""

    profile: deque[_Profile]
    flow: deque[_FlowRow]
    mark: int = 0
    ordered: int = 0  # Money, since the last row
    filled: int = 0


@dataclass(slots=True)
class Projections:
    """The memory behind the pictures; `listen` is a `Listener`, all else is asked through reads."""

    stack: Stack
    kept: Kept = field(default_factory=Kept)
    health: HealthMoved | None = None
    rung: BreakerMoved | None = None
    rung_since: int = 0
    receipts: deque[Receipt] = field(init=False)
    rungs: deque[RungMoved] = field(init=False)
    _records: deque[Record | Logged] = field(init=False)
    _fund: deque[_FundRow] = field(init=False)
    _of: list[_Instrument] = field(init=False)
    _second: int = field(init=False, default=-1)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        rows = self.kept.rows
        self.receipts = deque(maxlen=self.kept.receipts)
        self.rungs = deque(maxlen=self.kept.rungs)
        self._records = deque(maxlen=self.kept.records)
        self._fund = deque(maxlen=rows)
        self._of = [
            _Instrument(deque(maxlen=rows), deque(maxlen=rows))
            for _ in self.stack.venue.instruments
        ]

    def listen(self, records: Sequence[Record], reading: Reading) -> None:
        """Take note of durable records; ``reading`` is the state after the last of them."""
        for record in records:
            self._records.append(self._small(record, reading))
            for effect in record.effects:
                match effect:
                    case MarkMoved():
                        self._of[effect.instrument].mark = effect.price
                    case ProfileMoved():
                        self._profiled(record.event.ts, effect)
                    case HealthMoved():
                        self.health = effect
                    case BreakerMoved():
                        self._climbed(record, effect)
                    case OrdersPlaced() | AuctionsOpened():
                        self._ordered(effect)
                    case PositionsMoved() if effect.reason in MARKET:
                        self._filled(effect)
                    case Deleveraged():
                        names = reading.names
                        self.receipts.append(receipt_of(record, effect, self.stack, names))
                    case _:
                        pass
        if records and reading.state.now // SECOND != self._second:
            self._second = reading.state.now // SECOND
            self._close_row(reading)

    def profile(self, i: int, since: int = 0, rows: int = 0) -> ProfileHistory:
        """Return the profile of one instrument after ``since``, thinned to ``rows`` (0: all)."""
        kept = self._of[i].profile
        found = list(islice(kept, bisect_left(kept, since + 1, key=lambda row: row.ts), None))
        if 0 < rows < len(found):
            found = _worst_of(found, rows)
        buckets = self.stack.declaration.profile.buckets
        of = self.stack.venue.instruments[i]
        return ProfileHistory(
            symbol=of.symbol,
            width=self.stack.declaration.profile.width / PPM,
            ts=[row.ts for row in found],
            mark=[price_float(of, row.mark) for row in found],
            near=[row.near / PPM for row in found],
            down=[row.buckets[:buckets].tolist() for row in found],
            up=[row.buckets[buckets:].tolist() for row in found],
        )

    def flow(self, i: int, since: int = 0) -> Flow:
        """Return the forced flow of one instrument after ``since``, in the numeraire."""
        kept = self._of[i].flow
        found = list(islice(kept, bisect_left(kept, since + 1, key=lambda row: row.ts), None))
        return Flow(
            symbol=self.stack.venue.instruments[i].symbol,
            ts=[row.ts for row in found],
            ordered=[money_float(row.ordered) for row in found],
            filled=[money_float(row.filled) for row in found],
            waiting=[money_float(row.waiting) for row in found],
            spent=[money_float(row.spent) for row in found],
            budget=[None if row.budget is None else money_float(row.budget) for row in found],
        )

    def fund(self, reading: Reading, since: int = 0) -> FundHistory:
        """Return the tranches now, and over time after ``since``."""
        found = [row for row in self._fund if row.ts > since]
        return FundHistory(
            tranches=tranches_now(reading.state, self.stack),
            ts=[row.ts for row in found],
            balance=[[money_float(n) for n in row.balance] for row in found],
            lost=[money_float(row.lost) for row in found],
        )

    def receipts_before(self, before: int, limit: int) -> list[Receipt]:
        """Return receipts of records below ``before``, newest first."""
        found = (receipt for receipt in reversed(self.receipts) if receipt.seq < before)
        return list(islice(found, limit))

    def log(self, reading: Reading, before: int, limit: int) -> list[Logged]:
        """Return lines of records below ``before``, newest first."""
        log = Log(self.stack, reading.names)
        found = (one for one in reversed(self._records) if one.seq < before)
        return [one if isinstance(one, Logged) else log.line(one) for one in islice(found, limit)]

    def _small(self, record: Record, reading: Reading) -> Record | Logged:
        """Return what is kept of a record for the log: not a whole book."""
        if isinstance(record.event, BookImported) and len(record.event.names) > LARGE:
            return Log(self.stack, reading.names).line(record)
        return record

    def _profiled(self, ts: int, effect: ProfileMoved) -> None:
        """Keep the profile: of each second the one that was worst near the mark."""
        one = self._of[effect.instrument]
        both = np.concatenate([unpack(effect.down), unpack(effect.up)])
        row = _Profile(ts, one.mark, effect.near, (both / PPM).astype(np.float32))
        if one.profile and one.profile[-1].ts // SECOND == ts // SECOND:
            if row.near >= one.profile[-1].near:
                one.profile[-1] = row
            return
        one.profile.append(row)

    def _climbed(self, record: Record, effect: BreakerMoved) -> None:
        """Keep a move of the ladder; a calm that begins anew on the same rung is none."""
        if self.rung is not None and self.rung.rung == effect.rung:
            return
        self.rung, self.rung_since = effect, record.event.ts
        self.rungs.append(
            RungMoved(
                seq=record.seq,
                ts=record.event.ts,
                rung=effect.rung,
                name=rung_name(effect.rung),
                reason=effect.reason,
                value=effect.value,
            )
        )

    def _ordered(self, effect: OrdersPlaced | AuctionsOpened) -> None:
        for i, lots in rows_of(effect.instrument, effect.lots):
            one = self._of[i]
            one.ordered += notional_of(self.stack.venue.instruments[i], lots, one.mark)

    def _filled(self, effect: PositionsMoved) -> None:
        for i, lots, price in rows_of(effect.instrument, effect.lots, effect.price):
            # Both sides of a trade are rows: each counts for half.
            size = notional_of(self.stack.venue.instruments[i], lots, price)
            self._of[i].filled += size // 2

    def _close_row(self, reading: Reading) -> None:
        """End a second: write what was under way in it."""
        state, stack = reading.state, self.stack
        flying = in_flight(state, len(self._of))
        deficit = self.health.deficit if self.health is not None else 0
        for i, one in enumerate(self._of):
            of = stack.venue.instruments[i]
            waiting = int(flying[0][i] + flying[1][i])
            buckets = [bucket_now(state, i, side, deficit, stack) for side in range(2)]
            worst = max(buckets, key=lambda b: b.spent / b.most if b.most else b.spent)
            row = _FlowRow(
                ts=state.now,
                ordered=one.ordered,
                filled=one.filled,
                waiting=notional_of(of, waiting, one.mark),
                spent=notional_of(of, worst.spent, one.mark),
                budget=None if worst.most is None else notional_of(of, worst.most, one.mark),
            )
            one.ordered = one.filled = 0
            flow = one.flow
            if row.still and len(flow) > 1 and flow[-1].still and flow[-2].still:
                flow[-1] = row  # a calm is two rows long, however long it lasts
            else:
                flow.append(row)
        count = len(stack.declaration.waterfall.tranches)
        balance = tuple(state.book.cash[FUND : FUND + count].tolist())
        row = _FundRow(state.now, balance, state.lost)
        fund = self._fund
        if len(fund) > 1 and fund[-1][1:] == fund[-2][1:] == row[1:]:
            fund[-1] = row
        else:
            fund.append(row)


def _worst_of(found: list[_Profile], rows: int) -> list[_Profile]:
    """Return so many rows: of equal stretches, each the one that was worst near the mark."""
    ends = [len(found) * k // rows for k in range(rows + 1)]
    return [
        max(found[begin:end], key=lambda row: row.near)
        for begin, end in pairwise(ends)
        if begin < end
    ]
