"""What was advised against what the venue itself liquidated: who, when, how much, how early."""

from collections import deque
from collections.abc import Iterable
from statistics import median
from typing import Final, NamedTuple

from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.events import LiquidationReported
from tidegate.domain.units import unpack
from tidegate.ports import Record


KEPT: Final = 10_000  # episodes that are told one by one; the sums are of all


class Episode(NamedTuple):
    """One account in one instrument, until the venue acted: -1 and 0 stand for what did not be."""

    account: int
    instrument: int
    advised_at: int  # the first order of the episode
    advised: int  # the most lots that one order of it asked for, signed as ordered
    orders: int
    reported_at: int
    reported: int  # lots that left the account at the first report

    @property
    def lead(self) -> int | None:
        """Nanoseconds by which the advice came before the report; None where one is missing."""
        if self.advised_at < 0 or self.reported_at < 0:
            return None
        return self.reported_at - self.advised_at


class Summary(NamedTuple):
    """All episodes together; leads in nanoseconds, of those that are kept."""

    both: int  # advised, then reported
    missed: int  # reported, and never advised before
    open: int  # advised, and not reported so far
    lead_median: int | None
    lead_least: int | None
    advised_lots: int  # of both, unsigned
    reported_lots: int


class Compared:
    """A fold over records. An episode begins with an order and ends with the venue's next report.

    A venue that closes in stages reports several times: a report with no order since the one
    before it continues that episode, and counts neither as met nor as missed.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[int, int], Episode] = {}
        self._done: deque[Episode] = deque(maxlen=KEPT)
        self._met: set[tuple[int, int]] = set()  # whose last report was advised before
        self._both = self._missed = self._advised = self._reported = 0

    def hear(self, records: Iterable[Record]) -> None:
        """Take records in order."""
        for record in records:
            event = record.event
            if isinstance(event, LiquidationReported):
                self._report(event)
            for effect in record.effects:
                if isinstance(effect, OrdersPlaced):
                    self._advise(effect, event.ts)

    def episodes(self) -> list[Episode]:
        """Return the newest episodes that are over, and then all that are open."""
        return [*self._done, *self._open.values()]

    def summary(self) -> Summary:
        """Return what they amount to."""
        leads = [e.lead for e in self._done if e.lead is not None]
        return Summary(
            both=self._both,
            missed=self._missed,
            open=len(self._open),
            lead_median=round(median(leads)) if leads else None,
            lead_least=min(leads) if leads else None,
            advised_lots=self._advised,
            reported_lots=self._reported,
        )

    def _advise(self, orders: OrdersPlaced, ts: int) -> None:
        columns = (unpack(c).tolist() for c in (orders.account, orders.instrument, orders.lots))
        for account, instrument, lots in zip(*columns, strict=True):
            had = self._open.get((account, instrument))
            if had is None:
                new = Episode(account, instrument, ts, lots, 1, -1, 0)
            else:
                most = max(had.advised, lots, key=abs)
                new = had._replace(advised=most, orders=had.orders + 1)
            self._open[account, instrument] = new

    def _report(self, event: LiquidationReported) -> None:
        where = (event.account, event.instrument)
        had = self._open.pop(where, None)
        if had is None and where in self._met:
            self._reported += abs(event.lots)
            return
        if had is None:
            self._missed += 1
            had = Episode(event.account, event.instrument, -1, 0, 0, -1, 0)
        else:
            self._both += 1
            self._met.add(where)
            self._advised += abs(had.advised)
            self._reported += abs(event.lots)
        self._done.append(had._replace(reported_at=event.ts, reported=event.lots))
