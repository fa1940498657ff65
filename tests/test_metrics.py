"""What /metrics says is what the journal says; health, readiness, and who may ask."""

import asyncio
import statistics
import time
from collections import Counter

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from crash_world import stack_of
from operated import PATIENCE, crash, operated
from service_world import KEYS, served
from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.outbox import Outbox
from tidegate.domain.book import FUND
from tidegate.domain.effects import Deleveraged, OrdersPlaced, Rejected
from tidegate.domain.errors import JournalGone
from tidegate.domain.events import AccountOpened, Deposited
from tidegate.drivers.live import Crank
from tidegate.service.metrics import Metrics
from tidegate.service.observing import Offered, Settled
from tidegate.service.ops_routes import loopback, waiting_app
from tidegate.service.tallies import LABELS_MAX, OTHER, Counts, Tally
from tidegate.service.timing import ROUTE_NONE, request_id


def scraped(text):
    """Return {(sample, labels): value} of an exposition."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def one(found, name, **labels):
    return found[name, frozenset(labels.items())]


def test_metrics_are_those_of_the_journal(tmp_path):
    events = crash()
    probes = {"clients": lambda: 3, "cut": lambda: 2, "drift": lambda: 0}
    with operated(probes=probes) as made:
        answers = made.take(events, of=20)
        records = list(made.engine.journal.read())
        state = made.engine.look(lambda r: r.state).result(5)
        with made.site(tmp_path) as client:
            assert client.get("/v1/alerts").status_code == 401
            assert client.get("/v1/nothing").status_code == 401
            text = client.get("/metrics")
            assert text.status_code == 200
            found = scraped(client.get("/metrics").text)
    kinds = Counter(type(r.event).__name__ for r in records)
    effects = [e for r in records for e in r.effects]
    assert kinds["PriceObserved"] > 100
    for kind, n in kinds.items():
        assert one(found, "tidegate_records_total", kind=kind) == n
    refused = Counter(e.code for e in effects if isinstance(e, Rejected))
    assert refused, "somebody trades beyond their margin in this crash"
    for code, n in refused.items():
        assert one(found, "tidegate_refused_total", code=code) == n
    placed = sum(len(e.lots) // 8 for e in effects if isinstance(e, OrdersPlaced))
    assert one(found, "tidegate_orders_placed_total") == placed > 0
    assert one(found, "tidegate_head_seq") == len(records) - 1
    assert one(found, "tidegate_decision_seconds_count") == len(answers)
    assert one(found, "tidegate_batch_events_sum") == len(records)
    assert one(found, "tidegate_commit_seconds_count") == one(found, "tidegate_batch_events_count")
    assert one(found, "tidegate_orders_in_flight") == state.orders.counts[1] > 0
    near = state.market.near / 1e6
    assert one(found, "tidegate_branching_ratio", instrument="BTC-PERP") == near[0]
    assert one(found, "tidegate_branching_ratio_max") == near.max()
    assert one(found, "tidegate_fund_tranche", tranche="fund") == state.book.cash[FUND] / 1e6
    assert one(found, "tidegate_mode", mode="armed") == 1
    assert one(found, "tidegate_mode", mode="halted") == 0
    assert one(found, "tidegate_stream_clients") == 3
    assert one(found, "tidegate_stream_cut_total") == 2
    assert one(found, "tidegate_drift") == 0
    assert one(found, "process_resident_memory_bytes") > 10**7
    asked = {"method": "GET", "route": "/metrics", "status": "2xx"}
    assert one(found, "tidegate_request_seconds_count", **asked) == 1
    # The gate refused both others before a route was found: strangers make no labels.
    asked = {"method": "GET", "route": ROUTE_NONE, "status": "4xx"}
    assert one(found, "tidegate_request_seconds_count", **asked) == 2


def test_deleveraging_and_deficits_are_counted():
    with operated() as made:
        made.take(crash(2_000), of=100)
        effects = [e for r in made.engine.journal.read() for e in r.effects]
        winners = sum(len(e.account) // 8 for e in effects if isinstance(e, Deleveraged))
        assert made.metrics.deleveraged == winners
        health = made.metrics.health
        assert health is not None
        assert health.liquidatable >= health.bankrupt >= 0


def test_what_is_replayed_at_the_start_is_not_counted_again():
    journal = MemoryJournal()
    with operated(journal) as made:
        made.take(crash(200))
        health = made.metrics.health
        assert health is not None
    with operated(journal) as again:
        assert sum(n for _, n in again.metrics.records.items()) == 0
        if again.metrics.health is not None:
            assert again.metrics.health == health
        again.take([Deposited(ts=again.clock.time, account=11, amount=1)])
        assert again.metrics.records["Deposited"] == 1


def test_after_a_takeover_everything_is_counted_again():
    journal = MemoryJournal()
    with operated(journal) as made:
        made.take(crash(200))
    crank = Crank(journal, stack_of(), Outbox(), batch_max=1_000, snapshot_every=10_000)
    crank.start()
    heard = list(journal.read())[-50:]
    with operated(journal, crank=crank, heard=heard) as led:
        assert sum(n for _, n in led.metrics.records.items()) == 0, "that was the leader before"
        for _ in range(2):
            led.take([Deposited(ts=max(led.clock.time, heard[-1].event.ts), account=11, amount=1)])
        assert led.metrics.records["Deposited"] == 2


def test_from_another_machine_metrics_need_a_key_and_health_does_not(tmp_path):
    async def ask(app):
        transport = httpx.ASGITransport(app, client=("10.1.2.3", 4))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            key = {"Authorization": f"Bearer {KEYS['viewer']}"}
            return [
                (await client.get("/metrics")).status_code,
                (await client.get("/metrics", headers=key)).status_code,
                (await client.get("/metrics", headers={"Authorization": "Bearer no"})).status_code,
                (await client.get("/healthz")).status_code,
                (await client.get("/readyz")).json(),
                (await client.get("/v1/alerts", headers=key)).json(),
            ]

    with operated() as made, made.app(tmp_path) as app:
        found = asyncio.run(ask(app))
    assert found == [403, 200, 401, 200, {"ok": True, "reasons": []}, []]


@pytest.mark.parametrize(
    ("address", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.1", False), ("", False)],
)
def test_loopback(address, here):
    assert loopback(address) is here


class Failing(MemoryJournal):
    """A journal whose disk is full from some moment on."""

    full = False

    def append(self, records, receipts=()):
        if self.full:
            msg = "the disk is full"
            raise JournalGone(msg)
        super().append(records, receipts)


def test_a_crank_that_has_stopped_is_neither_healthy_nor_ready(tmp_path):
    journal = Failing()
    with operated(journal) as made, made.site(tmp_path) as client:
        assert client.get("/healthz").json() == {"ok": True, "reasons": []}
        assert client.get("/readyz").status_code == 200
        journal.full = True
        answer = made.engine.offer([AccountOpened(ts=1, name="x")], source="test")
        with pytest.raises(Exception, match="disk"):
            answer.result(PATIENCE)
        made.engine._thread.join(10)
        for path in ("/healthz", "/readyz"):
            said = client.get(path)
            assert said.status_code == 503
            assert said.json() == {"ok": False, "reasons": ["crank_stopped"]}
        # What was measured until then can still be read.
        assert "tidegate_commit_seconds_count 1.0" in client.get("/metrics").text


def test_a_stuck_crank_is_not_ready_but_alive_for_a_while(tmp_path):
    with operated() as made, made.site(tmp_path) as client:
        made.engine.look(lambda _: time.sleep(1.6))
        assert client.get("/readyz").json()["reasons"] == ["crank_stuck"]
        assert client.get("/healthz").status_code == 200


def test_a_standby_is_alive_and_not_ready():
    metrics = Metrics(stack_of())
    metrics.probes.head, metrics.probes.lag = (lambda: 41), (lambda: 7)
    with served(waiting_app(metrics)) as client:
        assert client.get("/healthz").status_code == 200
        said = client.get("/readyz")
        assert (said.status_code, said.json()["reasons"]) == (503, ["standby"])
        found = scraped(client.get("/metrics").text)
    assert one(found, "tidegate_head_seq") == 41
    assert one(found, "tidegate_leader") == 0
    assert one(found, "tidegate_journal_lag_records") == 7


def test_a_request_has_an_id_and_keeps_a_plain_one_of_its_caller(tmp_path):
    with operated() as made, made.site(tmp_path) as client:
        made_up = client.get("/healthz").headers["x-request-id"]
        assert len(made_up) == 16
        kept = client.get("/healthz", headers={"X-Request-Id": "abc-1"})
        assert kept.headers["x-request-id"] == "abc-1"
    for bad in (b'a"b', b"x" * 65, b"", b"a b", b"caf\xe9"):
        assert request_id({"headers": [(b"x-request-id", bad)]}).encode() != bad


def test_labels_of_strangers_are_bounded():
    counts = Counts(["known"])
    for n in range(1_000):
        counts.add(f"code {n}")
    found = dict(counts.items())
    assert len(found) == LABELS_MAX + 1
    assert found[OTHER] == 1_000 - (LABELS_MAX - 1)
    assert sum(found.values()) == 1_000


def test_a_tally_counts_as_the_library_would():
    tally = Tally((1, 2, 5))
    for value in (0.5, 1, 1.5, 2, 5, 9):
        tally.add(value)
    assert (tally.count, tally.total, tally._cells) == (6, 19.0, [2, 2, 1, 1])


def test_counting_costs_the_crank_little():
    """A batch of twenty observations: below 50 microseconds where nothing else runs."""
    with operated() as made:
        made.take(crash(400))
        records = list(made.engine.journal.read())[200:220]
        metrics = Metrics(made.engine.stack)
        reading = made.engine.look(lambda r: r).result(5)
        metrics.listen([], reading)
        batch = Settled(20, 0.0, 0.01, [Offered(0.001 * n, None) for n in range(20)])
        took = []
        for _ in range(300):
            begun = time.perf_counter()
            metrics.listen(records, reading)
            metrics.settled(batch)
            took.append(time.perf_counter() - begun)
    assert statistics.median(took) < 500e-6, "ten times what it takes on an idle machine"
