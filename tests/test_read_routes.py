"""Everything that may be read, through the real application over HTTP, against the state itself."""

import asyncio
import csv
import io
import json
import time
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from tests.test_projections import effects_of
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from crash_world import BEGIN, feed, stack_of
from service_world import KEYS, SetClock, service_of, site_of
from tidegate.adapters.memory import MemoryJournal
from tidegate.adapters.outbox import Outbox
from tidegate.domain.book import FIRST_USER
from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.errors import AskInvalid
from tidegate.domain.units import SECOND, unpack
from tidegate.service import read_routes
from tidegate.service.explaining import explained
from tidegate.service.layers import Limits
from tidegate.service.read_routes import LONG_MAX, Reads, equip, routes, socket_routes
from tidegate.service.reading import Reading
from tidegate.service.runner import Engine
from tidegate.service.views import venue_now


WIDE = Limits(reads="100000/second")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Yield (client, engine, journal) of a service in which accounts were liquidated."""
    journal, folder = MemoryJournal(), tmp_path_factory.mktemp("service")
    engine = Engine(journal, stack_of(), Outbox(), SetClock(BEGIN + 86_400 * SECOND))
    service = service_of(engine)
    equip(service, lambda after: iter(list(journal.read(after))))
    engine.start()
    try:
        events = feed(900, 5)
        for begin in range(0, len(events), 50):
            engine.offer(events[begin : begin + 50], source="test").result(60)
        more = socket_routes(service)
        with site_of(service, folder, routes=routes(), more=more, bounds=WIDE) as client:
            client.headers["Authorization"] = f"Bearer {KEYS['viewer']}"
            client.reads = service.part(Reads)
            yield client, engine, journal
    finally:
        engine.stop()


def ok(client, path: str):
    answered = client.get(path)
    assert answered.status_code == 200, (path, answered.text[:500])
    return answered.json()


def look(engine, read):
    return engine.look(read).result(10)


def test_the_venue_is_the_state_s(served):
    client, engine, _ = served

    def same(now: Reading):
        found = venue_now(now)
        return found.liquidatable, found.required, found.seq, found.in_flight

    found = ok(client, "/v1/venue")
    assert (
        found["liquidatable"],
        found["required"],
        found["seq"],
        found["in_flight"],
    ) == look(engine, same)
    assert found["in_flight"] > 0


def test_every_row_answers_what_its_document_says(served):
    client, *_ = served
    symbol = ok(client, "/v1/instruments")[0]["symbol"]
    for row in routes():
        path = row.path.replace("{symbol}", symbol).replace("{name}", "account 3")
        path = path.replace("{account}", "account 3")
        if row.path != "/v1/export":
            ok(client, path)
    document = ok(client, "/openapi.json")
    assert {row.path for row in routes()} <= set(document["paths"])


def test_unknown_names_are_not_found_and_odd_queries_refused(served):
    client, *_ = served
    for path in ("/v1/instruments/X", "/v1/instruments/X/profile", "/v1/accounts/nobody"):
        assert client.get(path).status_code == 404
    assert client.get("/v1/explain/nobody").status_code == 404
    for query in ("limit=0", "limit=100001", "offset=-1", "offset=x", "unknown=1", "limit=1.5"):
        assert client.get(f"/v1/accounts?{query}").status_code == 422, query
    assert client.get("/v1/export?what=everything").status_code == 422
    assert client.get("/v1/export").status_code == 422


def test_accounts_and_one_account_agree(served):
    client, *_ = served
    page = ok(client, "/v1/accounts?limit=7")
    assert len(page["account"]) == 7
    for n, name in enumerate(page["account"]):
        one = ok(client, f"/v1/accounts/{name}")
        assert one["distance"] == pytest.approx(page["distance"][n])
    assert ok(client, "/v1/accounts/venue:outside")["name"] == "venue:outside"


def test_the_log_pages_back_to_the_first_record(served):
    client, engine, _ = served
    seen, before = [], 2**62
    while page := ok(client, f"/v1/events?limit=333&before={before}"):
        seen += [one["seq"] for one in page]
        before = seen[-1]
    assert seen == list(range(look(engine, lambda now: now.head), -1, -1))


def test_an_explanation_is_that_of_the_command_line(served):
    client, engine, journal = served
    record, effect = effects_of(journal.read(), OrdersPlaced)[0]
    row = int(unpack(effect.account)[0])
    names = look(engine, lambda now: now.names.all)
    name = names[row - FIRST_USER]
    found = ok(client, f"/v1/explain/{name}?seq={record.seq}")
    assert found["seq"] == record.seq
    assert any(line.startswith("order") for line in found["lines"])
    assert ok(client, f"/v1/explain/{name}")["lines"]
    with pytest.raises(AskInvalid, match="walks any journal"):
        explained(journal.read, row, 10, 900, engine.stack, names, most=10)


def test_exports_say_the_same_in_every_form(served):
    client, engine, _ = served
    for what in ("accounts", "positions"):
        url = f"/v1/export?what={what}&format="
        lines = [json.loads(line) for line in client.get(url + "json").text.splitlines()]
        rows = list(csv.DictReader(io.StringIO(client.get(url + "csv").text)))
        table = pq.read_table(io.BytesIO(client.get(url + "parquet").content)).to_pylist()
        assert len(lines) == len(rows) == len(table) > 50
        for line, row, cells in zip(lines, rows, table, strict=True):
            assert list(line) == list(row) == list(cells)
            for key, value in line.items():
                if isinstance(cells[key], Decimal):
                    assert Decimal(value) == Decimal(row[key]) == cells[key]
                else:
                    assert (str(value).lower() if isinstance(value, bool) else value) == row[key]
                    assert value == cells[key]
    accounts = {line["account"]: line for line in _lines(client, "accounts")}
    for name in ("account 0", "account 7", "venue:fund:fund"):
        assert accounts[name]["cash"] == ok(client, f"/v1/accounts/{name}")["cash"]
    total = sum(Decimal(line["cash"]) for line in accounts.values())
    assert total == 0, "cash is only ever moved"
    held = {}
    for line in _lines(client, "positions"):
        symbol = line["instrument"]
        held[symbol] = held.get(symbol, 0) + Decimal(line["quantity"])
    assert set(held.values()) == {0}
    assert look(engine, lambda now: now.head) == 899


def test_a_full_house_copies_no_book_and_who_leaves_frees_a_place(served, monkeypatch):
    client, *_ = served
    copied = []
    honest = read_routes.accounts_of
    monkeypatch.setattr(
        read_routes, "accounts_of", lambda now: (copied.append(now.head), honest(now))[1]
    )
    reads = client.reads
    reads.long = LONG_MAX
    try:
        full = client.get("/v1/export?what=accounts")
        assert (full.status_code, full.json()["code"]) == (503, "unavailable")
        assert not copied
    finally:
        reads.long = 0
    for _ in range(LONG_MAX + 1):
        with client.stream("GET", "/v1/export?what=records&format=json") as leaving:
            assert leaving.status_code == 200
        assert client.get("/v1/export?what=accounts&format=pdf").status_code == 422
    for _ in range(200):
        if not reads.long:
            break
        time.sleep(0.01)
    assert reads.long == 0
    assert client.get("/v1/export?what=accounts").status_code == 200
    assert len(copied) == 1


def _lines(client, what: str) -> list[dict]:
    text = client.get(f"/v1/export?what={what}&format=json").text
    return [json.loads(line) for line in text.splitlines()]


def test_records_are_exported_from_the_journal(served):
    client, _, journal = served
    url = "/v1/export?what=records&format=json&after=99&limit=50"
    answered = client.get(url)
    assert answered.headers["content-disposition"] == 'attachment; filename="records.ndjson"'
    lines = [json.loads(line) for line in answered.text.splitlines()]
    assert [line["seq"] for line in lines] == list(range(100, 150))
    record = next(r for r in journal.read() if r.seq == 100)
    assert json.loads(lines[0]["event"])["type"] == type(record.event).__name__
    assert len(json.loads(lines[0]["effects"])) == len(record.effects)


def test_the_stream_is_served_from_the_same_application(served):
    """Its first record is the whole book; a key is needed as for everything else."""
    client, *_ = served
    url = f"ws://{client.base_url.host}:{client.base_url.port}/v1/stream?topics=events&after=-1"

    async def first() -> list[dict]:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url):
                pass
        assert refused.value.response.status_code == 401
        headers = {"Authorization": client.headers["Authorization"]}
        async with connect(url, additional_headers=headers, close_timeout=0.1) as socket:
            return [json.loads(await socket.recv()) for _ in range(3)]

    beat, book, second = asyncio.run(asyncio.wait_for(first(), 20))
    assert (beat["topic"], beat["seq"], beat["data"]["head"]) == ("heartbeat", -1, 899)
    assert book["data"]["what"].startswith("a book of 60 accounts and 120 positions")
    assert second["seq"] == 1
