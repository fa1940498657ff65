"""What is measured, as Prometheus reads it: a registry of its own, filled when somebody asks.

The crank thread only counts (`listen`, `settled`, `committed`); everything else is worked out in
the thread that asks. Names and labels are kept few: labels are instruments, sources, tranches and
codes of this venue, never accounts.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias, get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from tidegate import __version__
from tidegate.domain.book import FIRST_USER
from tidegate.domain.effect import Effect
from tidegate.domain.effects import (
    BreakerMoved,
    DeficitFound,
    Deleveraged,
    HealthMoved,
    OrdersPlaced,
    Rejected,
)
from tidegate.domain.events import Input
from tidegate.ports import Record
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.stack import Stack
from tidegate.service.observing import Commit, Settled
from tidegate.service.reading import Reading
from tidegate.service.sight import MONEY, Sight
from tidegate.service.tallies import Counts, Tally


LATENCY: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
)  # fmt: skip
SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)
MODES: Final = ("armed", "advising", "halted")
ROUTES_MAX: Final = 256
COMMITS: Final = 256  # newest commits, of which alerts look at the slowest

Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@dataclass(slots=True)
class Probes:
    """What is asked elsewhere, each time somebody reads; left out: not part of this service."""

    clients: Callable[[], int] = lambda: 0  # WebSockets of the stream
    cut: Callable[[], int] = lambda: 0  # of them cut off, for not reading
    head: Callable[[], int] = lambda: -1  # last record that a standby has applied
    lag: Callable[[], int] = lambda: 0  # records that it has not
    drift: Callable[[], float | None] = lambda: None  # numeraire, `Reconciler.drift`
    disk_free: Callable[[], int | None] = lambda: None  # bytes, beside an embedded journal
    behind: Callable[[], Iterable[tuple[str, int]]] = tuple  # by feed, what waits on its side
    open_alerts: Callable[[], Iterable[tuple[str, str, bool]]] = tuple  # code, severity, open


class Loss(NamedTuple):
    """Something of which people must hear: when, the code of the alert, and in words."""

    at: float  # `time.monotonic`
    code: str
    detail: str


@dataclass(eq=False, slots=True)
class Metrics(Collector):
    """All measurements of one process.

    `listen` is a `reading.Listener`; it is also an `observing.Observer`, and `committed` hears a
    journal that was `observing.timed`.
    """

    stack: Stack
    probes: Probes = field(default_factory=Probes)
    queue_max: int = 0
    sight: Sight | None = None  # the newest look; see `watching`
    health: HealthMoved | None = None
    losses: dict[str, Loss] = field(default_factory=dict[str, Loss])  # the newest of each code
    commits: deque[tuple[float, float]] = field(  # when it ended, how long it took
        default_factory=lambda: deque[tuple[float, float]](maxlen=COMMITS)
    )
    snapshot_failure: str = ""
    decisions: Tally = field(default_factory=lambda: Tally(LATENCY))
    batches: Tally = field(default_factory=lambda: Tally(SIZES))
    commit: Tally = field(default_factory=lambda: Tally(LATENCY))
    snapshots: Tally = field(default_factory=lambda: Tally(LATENCY))
    records: Counts = field(
        default_factory=lambda: Counts([t.__name__ for t in get_args(Input)], most=128)
    )
    refused: Counts = field(default_factory=Counts)
    orders_placed: int = 0
    deleveraged: int = 0
    deficits: int = 0
    registry: CollectorRegistry = field(
        default_factory=lambda: CollectorRegistry(auto_describe=False)
    )
    _live: bool = False
    _requests: dict[tuple[str, str, str], Tally] = field(
        default_factory=dict[tuple[str, str, str], Tally]
    )

    def __post_init__(self) -> None:
        """Enter itself and the process into a registry of its own."""
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    # ------------------------------------------------------------ on the crank's thread

    def listen(self, records: Sequence[Record], reading: Reading) -> None:
        """Count what became durable; of what is replayed at the start keep the health alone."""
        if not self._live:
            self._replayed(records)
            return
        kinds = self.records
        for record in records:
            kinds.add(type(record.event).__name__)
            for effect in record.effects:
                if type(effect) in _HEARD:
                    self._heard(effect, reading)

    def _replayed(self, records: Sequence[Record]) -> None:
        self._live = not records  # the engine says nothing once it is through
        for record in records:
            for effect in record.effects:
                if isinstance(effect, HealthMoved):
                    self.health = effect

    def _heard(self, effect: Effect, reading: Reading) -> None:
        match effect:
            case Rejected():
                self.refused.add(effect.code)
            case OrdersPlaced():
                self.orders_placed += len(effect.lots) // 8
            case HealthMoved():
                self.health = effect
            case Deleveraged():
                winners = len(effect.account) // 8
                self.deleveraged += winners
                symbol = self.stack.venue.instruments[effect.instrument].symbol
                self._lost("deleveraged", f"{winners} winners in {symbol} were closed")
            case DeficitFound():
                self.deficits += 1
                names, row = reading.names, effect.account
                who = names.name(row) if row >= FIRST_USER else "the pool"
                money = f"{effect.amount * MONEY:,.2f}"
                left = f"{effect.uncovered * MONEY:,.2f}"
                self._lost("deficit_found", f"{who} is short by {money}; {left} is not covered")
            case BreakerMoved():
                name = Rung(effect.rung).name.lower()
                self._lost("rung", f"{name}: {effect.reason} at {effect.value:,}")
            case _:
                raise AssertionError(effect)

    def _lost(self, code: str, detail: str) -> None:
        self.losses[code] = Loss(time.monotonic(), code, detail)

    def offered(self) -> None:
        """Keep nothing; see `observing.Observer`."""

    def settled(self, batch: Settled) -> None:
        """Measure a batch."""
        self.batches.add(batch.events)
        add, durable = self.decisions.add, batch.durable
        for at, _ in batch.requests:
            add(durable - at)

    def committed(self, commit: Commit) -> None:
        """Measure a commit or a snapshot."""
        took = commit.ended - commit.begun
        if commit.what == "append":
            self.commit.add(took)
            self.commits.append((time.monotonic(), took))
        else:
            self.snapshots.add(took)
            self.snapshot_failure = commit.failure

    # ------------------------------------------------------------ on the event loop

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Measure a request."""
        key = (method, route, f"{status // 100}xx")
        tally = self._requests.get(key)
        if tally is None:
            if len(self._requests) >= ROUTES_MAX:
                return
            tally = self._requests[key] = Tally(LATENCY)
        tally.add(seconds)

    # ------------------------------------------------------------ when somebody reads

    def collect(self) -> Iterator[Family]:
        """Yield every family; see `prometheus_client.registry.Collector`."""
        yield from self._tallies()
        yield from self._counters()
        yield from self._process()
        if self.sight is not None:
            yield from self._engine(self.sight)
            yield from self._venue(self.sight)
        else:
            yield _gauge("head_seq", "Last record", self.probes.head())
            yield _gauge("leader", "Whether this process leads", 0.0)
        if self.health is not None:
            h = self.health
            yield _gauge("liquidatable_accounts", "Below maintenance", h.liquidatable)
            yield _gauge("bankrupt_accounts", "Equity below zero", h.bankrupt)
            yield _gauge("deficit", "What the bankrupt lack, numeraire", h.deficit * MONEY)

    def _tallies(self) -> Iterator[Family]:
        for name, words, tally in (
            ("decision_seconds", "From an offer to its durable records", self.decisions),
            ("commit_seconds", "One commit of the journal", self.commit),
            ("snapshot_seconds", "One snapshot written", self.snapshots),
            ("batch_events", "Events made durable together", self.batches),
        ):  # fmt: skip
            family = HistogramMetricFamily(f"tidegate_{name}", words)
            tally.into(family)
            yield family
        family = HistogramMetricFamily(
            "tidegate_request_seconds", "HTTP requests", labels=("method", "route", "status")
        )
        for key, tally in self._requests.copy().items():
            tally.into(family, key)
        yield family

    def _counters(self) -> Iterator[Family]:
        kinds = CounterMetricFamily("tidegate_records", "Durable records", labels=("kind",))
        self.records.into(kinds)
        codes = CounterMetricFamily("tidegate_refused", "Events refused", labels=("code",))
        self.refused.into(codes)
        yield from (kinds, codes)
        for name, words, n in (
            ("orders_placed", "Forced orders", self.orders_placed),
            ("deleveraged", "Winners closed against the bankrupt", self.deleveraged),
            ("deficits", "Deficits that nothing was left to sell for", self.deficits),
            ("stream_cut", "Clients cut off for not reading", self.probes.cut()),
        ):
            yield CounterMetricFamily(f"tidegate_{name}", words, n)

    def _process(self) -> Iterator[Family]:
        info = GaugeMetricFamily(
            "tidegate_info", "Who this is", labels=("version", "venue", "stack")
        )
        info.add_metric([__version__, self.stack.venue.name, self.stack.declaration.name], 1)
        yield info
        yield _gauge("stream_clients", "WebSockets of the stream", self.probes.clients())
        yield _gauge("journal_lag_records", "A standby's distance", self.probes.lag())
        for name, words, value in (
            ("drift", "Worth of what differs from the venue's book", self.probes.drift()),
            ("disk_free_bytes", "Beside the journal", self.probes.disk_free()),
        ):
            if value is not None:
                yield _gauge(name, words, value)
        behind = GaugeMetricFamily("tidegate_feed_behind", "Waiting in a feed", labels=("feed",))
        for feed, n in self.probes.behind():
            behind.add_metric([feed], n)
        alerts = GaugeMetricFamily(
            "tidegate_alert", "Whether an alert is open", labels=("code", "severity")
        )
        for code, severity, is_open in self.probes.open_alerts():
            alerts.add_metric([code, severity], float(is_open))
        yield from (behind, alerts)

    def _engine(self, s: Sight) -> Iterator[Family]:
        for name, words, value in (
            ("sight_age_seconds", "Since the crank last showed itself", time.monotonic() - s.at),
            ("queue_events", "Events that wait", s.waiting),
            ("queue_events_max", "Events that may wait", self.queue_max),
            ("head_seq", "Last durable record", s.head),
            ("epoch", "How often leadership has changed", s.epoch),
            ("leader", "Whether this process leads", s.leader),
            ("orders_in_flight", "Forced orders not yet answered", s.in_flight),
            ("order_oldest_seconds", "Age of the oldest of them", s.oldest),
            ("accounts", "Accounts of users", s.accounts),
        ):
            yield _gauge(name, words, float(value))
        mode = GaugeMetricFamily("tidegate_mode", "Whether orders leave", labels=("mode",))
        for name in MODES:
            mode.add_metric([name], float(name == s.mode))
        used = GaugeMetricFamily("tidegate_capacity_used", "Share used", labels=("table",))
        for name, share in s.used.items():
            used.add_metric([name], share)
        yield from (mode, used)

    def _venue(self, s: Sight) -> Iterator[Family]:
        symbols = [i.symbol for i in self.stack.venue.instruments]
        yield _gauge("rung", "Of the breaker's ladder", s.rung)
        yield _gauge("branching_ratio_max", "The largest of all", max(s.near, default=0.0))
        yield _gauge("fund", "All tranches, numeraire", s.fund)
        yield _gauge("fund_peak", "Its reference level", s.peak)
        yield _gauge("lost", "Cumulative deficits, numeraire", s.lost)
        near = GaugeMetricFamily("tidegate_branching_ratio", "n near", labels=("instrument",))
        words = "0 good, 1 doubtful, 2 stale, 3 none"
        marks = GaugeMetricFamily("tidegate_mark_quality", words, labels=("instrument",))
        for symbol, n, quality in zip(symbols, s.near, s.quality, strict=True):
            near.add_metric([symbol], n)
            marks.add_metric([symbol], quality)
        tranches = GaugeMetricFamily("tidegate_fund_tranche", "Numeraire", labels=("tranche",))
        for tranche, money in zip(
            self.stack.declaration.waterfall.tranches, s.tranches, strict=True
        ):
            tranches.add_metric([tranche.name], money)
        ages = GaugeMetricFamily(
            "tidegate_source_age_seconds", "Since published", labels=("instrument", "source")
        )
        for age in s.ages:
            ages.add_metric([age.instrument, age.source], age.seconds)
        yield from (near, marks, tranches, ages)


_HEARD: Final = frozenset(
    {Rejected, OrdersPlaced, HealthMoved, Deleveraged, DeficitFound, BreakerMoved}
)


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"tidegate_{name}", words, value)
