"""When something is wrong: each rule looks at one moment and says in words what it found."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from tidegate.api.answers import FeedNow
from tidegate.domain.units import SECOND
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.oracle import Quality
from tidegate.service.alerts import Alerts
from tidegate.service.metrics import Metrics
from tidegate.service.sight import Sight, quality_name


Finding = tuple[str, str]  # code, detail


class Bounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From where on an alert opens, and below where it may close; as the settings have it."""

    branching: float = 0.9
    branching_calm: float = 0.8
    fund_share: float = 0.5  # of its peak
    fund_calm: float = 0.6
    source_age_s: float = 60.0  # where the stack's oracle says nothing of its own
    order_age_s: float = 30.0
    queue: float = 0.8  # of what may wait
    queue_calm: float = 0.5
    commit_s: float = 0.5  # the slowest commit of the last `commit_window_s`
    commit_window_s: float = 30.0
    capacity: float = 0.9  # of a limited table
    capacity_calm: float = 0.85
    disk_bytes: int = 2 * 2**30
    lag_records: int = 10_000
    stuck_s: float = 5.0


@dataclass(slots=True)
class Parts:
    """What rules ask beside the engine; left out: not part of this service."""

    feeds: Callable[[], Iterable[FeedNow]] = tuple
    silent: Callable[[], Iterable[tuple[str, str]]] = tuple  # (instrument, source), `Silence.check`
    drifting: Callable[[], bool] = lambda: False  # `Reconciler.raised`
    jump: Callable[[], int] = lambda: 0  # nanoseconds, `GuardedClock.jump`


class Rules:
    """All rules of one process, with the little they remember from look to look."""

    def __init__(
        self, metrics: Metrics, alerts: Alerts, parts: Parts, bounds: Bounds | None = None
    ) -> None:
        self._metrics, self._alerts, self._parts = metrics, alerts, parts
        self.bounds = bounds or Bounds()
        self._epoch: int | None = None
        self._heard = dict[str, float]()  # code to the time of the loss that was told last
        self._rung = ""  # why the ladder stands where it stands

    def judge(self, sight: Sight | None, failure: str = "") -> dict[str, str]:
        """Return what holds now, code to detail; ``sight`` None: the crank does not answer."""
        found = dict(self._of_losses())  # first: it also hears why the ladder moved
        if failure:
            found["crank_stopped"] = failure
        elif sight is None:
            found["crank_stuck"] = f"no answer from the crank for {self.bounds.stuck_s:g} s"
        else:
            found |= dict(self._of_sight(sight))
        found |= dict(self._of_process())
        found |= dict(self._of_parts())
        return found

    def _beyond(self, code: str, value: float, opens: float, calm: float) -> bool:
        """Return whether ``value`` is too large: once open, an alert waits for ``calm``."""
        return value >= (calm if self._alerts.is_open(code) else opens)

    def _of_sight(self, s: Sight) -> Iterator[Finding]:
        b, venue = self.bounds, self._metrics.stack.venue
        if s.rung > Rung.NORMAL:
            high = s.rung >= Rung.AUCTION_ONLY
            words = self._rung or f"the breaker stands at {Rung(s.rung).name.lower()}"
            yield ("rung_high" if high else "rung_raised"), words
        worst = max(s.near, default=0.0)
        if self._beyond("branching_near_one", worst, b.branching, b.branching_calm):
            symbol = venue.instruments[s.near.index(worst)].symbol
            yield "branching_near_one", f"n = {worst:.2f} in {symbol}"
        if s.peak > 0 and self._fund_low(s.fund / s.peak):
            share = s.fund / s.peak
            yield "fund_below", f"{s.fund:,.2f} are left, {share:.0%} of the peak {s.peak:,.2f}"
        if s.oldest >= b.order_age_s:
            words = f"{s.in_flight} in flight, the oldest for {s.oldest:.0f} s"
            yield "orders_unanswered", words
        if s.mode == "halted":
            yield "kill_switch_on", "no order leaves"
        if self._epoch is not None and s.epoch > self._epoch:
            yield "leader_changed", f"epoch {s.epoch}, was {self._epoch}"
        self._epoch = s.epoch
        yield from self._of_prices(s)
        yield from self._of_room(s)

    def _fund_low(self, share: float) -> bool:
        b = self.bounds
        return share < (b.fund_calm if self._alerts.is_open("fund_below") else b.fund_share)

    def _of_prices(self, s: Sight) -> Iterator[Finding]:
        venue = self._metrics.stack.venue
        bad = [
            f"{of.symbol} is {quality_name(q)}"
            for of, q, held in zip(venue.instruments, s.quality, s.held, strict=True)
            if held and q != Quality.GOOD
        ]
        if bad:
            yield "source_doubtful", _few(bad)
        declared = self._metrics.stack.declaration.oracle.age_max_ns / SECOND
        most = declared or self.bounds.source_age_s
        old = [a for a in s.ages if a.seconds >= most]
        if old:
            old.sort(key=lambda a: -a.seconds)
            words = [f"{a.source} of {a.instrument} is {a.seconds:.0f} s old" for a in old]
            yield "source_stale", _few(words)

    def _of_room(self, s: Sight) -> Iterator[Finding]:
        b = self.bounds
        if most := self._metrics.queue_max:
            share = s.waiting / most
            if self._beyond("queue_near_full", share, b.queue, b.queue_calm):
                yield "queue_near_full", f"{s.waiting:,} of {most:,} events wait"
        full = [
            f"{share:.0%} of {table}"
            for table, share in s.used.items()
            if self._beyond("book_near_full", share, b.capacity, b.capacity_calm)
        ]
        if full:
            yield "book_near_full", f"{', '.join(full)} are used"

    def _of_losses(self) -> Iterator[Finding]:
        for loss in list(self._metrics.losses.values()):
            if loss.at <= self._heard.get(loss.code, 0.0):
                continue
            self._heard[loss.code] = loss.at
            if loss.code == "rung":
                self._rung = loss.detail
            else:
                yield loss.code, loss.detail

    def _of_process(self) -> Iterator[Finding]:
        b, metrics = self.bounds, self._metrics
        since = time.monotonic() - b.commit_window_s
        slowest = max((took for at, took in list(metrics.commits) if at >= since), default=0.0)
        if slowest >= b.commit_s:
            yield "journal_slow", f"a commit took {slowest:.2f} s"
        if metrics.snapshot_failure:
            yield "snapshot_failed", metrics.snapshot_failure
        free = metrics.probes.disk_free()
        if free is not None and free < b.disk_bytes:
            yield "disk_low", f"{free / 2**30:.2f} GiB are left beside the journal"
        if self._parts.drifting():
            worth = metrics.probes.drift() or 0.0
            yield "book_drifts", f"our book is not the venue's: {worth:,.2f} differ"
        lag = metrics.probes.lag()
        if lag >= b.lag_records:
            yield "standby_behind", f"{lag:,} records are not yet applied"

    def _of_parts(self) -> Iterator[Finding]:
        parts = self._parts
        silent = [f"{source} of {symbol}" for symbol, source in parts.silent()]
        if silent:
            yield "feed_silent", _few(silent)
        feeds = list(parts.feeds())
        for state in ("stopped", "away"):
            words = [f"{f.name}: {f.trouble}" for f in feeds if f.state == state]
            if words:
                yield f"feed_{state}", _few(words)
        jump = parts.jump()
        if jump:
            yield "clock_jumped", f"the wall clock is {jump / 1e9:+.3f} s off and is not followed"


FEW: Final = 5


def _few(words: list[str]) -> str:
    more = f" and {len(words) - FEW} more" if len(words) > FEW else ""
    return "; ".join(words[:FEW]) + more
