"""Fetching from a server on this machine that speaks the archive's format, and fails like one."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tidegate.adapters.archive import ArchiveFile, archive_files, read_klines, read_trades
from tidegate.adapters.fetch import Politeness, client, fetch_file, fetch_files
from tidegate.adapters.indexer import fetch_entities
from tidegate.cli.data import data
from tidegate.domain.errors import ConfigInvalid, FetchFailed, RecordingInvalid
from tidegate.drivers.recording import load


HASTY = Politeness(attempts=4, first_wait_s=0.001, timeout_s=5.0)
NAME = "BTCUSDT-1m-2021-05-19.zip"
FOLDER = "data/futures/um/daily/klines/BTCUSDT/1m"
FILE = ArchiveFile(f"{FOLDER}/{NAME}", NAME)
OPENED = 1_621_382_400_000  # 2021-05-19 00:00 UTC, ms


def klines(*, header=False, scale=1, n=60):
    """Return klines as the archive has them: CSV text of twelve columns."""
    rows = ["open_time,open,high,low,close,volume,close_time,quote_volume,count,a,b,ignore"]
    rows = rows if header else []
    for k in range(n):
        at = (OPENED + 60_000 * k) * scale
        price = 40_000 - 50 * k
        last = at + 60_000 * scale - 1
        values = [at, price, price + 5.5, price - 60, price - 50, 120.5, last, 4e6, 900, 60, 2e6, 0]
        rows.append(",".join(str(v) for v in values))
    return "\n".join(rows) + "\n"


def trades(n=20):
    """Return aggregate trades as the archive has them, without a header."""
    rows = [
        f"{k},{40_000 - k}.5,0.{k % 9 + 1}25,{k},{k},{OPENED + 1_000 * k},{str(k % 2 == 0).lower()}"
        for k in range(n)
    ]
    return "\n".join(rows) + "\n"


def zipped(text, name="x.csv"):
    """Return a zip of one CSV file, the same bytes every time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(name), text)
    return packed.getvalue()


class Server:
    """What is served, which failures are still to come, and what was asked."""

    def __init__(self):
        self.files = {}
        self.failures = {}  # path: list of ("status", code, headers) or ("cut", bytes)
        self.asked = []  # (path, Range header or None)
        self.answer = None  # for POST: function of the JSON body
        self.url = ""

    def publish(self, path, content, checksum=None):
        """Serve a file and its checksum."""
        self.files[f"/{path}"] = content
        digest = checksum or hashlib.sha256(content).hexdigest()
        name = path.rpartition("/")[2]
        self.files[f"/{path}.CHECKSUM"] = f"{digest}  {name}\n".encode()

    def fail(self, path, *failures):
        """Let the next requests for ``path`` fail in these ways, one after another."""
        self.failures.setdefault(f"/{path}", []).extend(failures)


def handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def reply(self, status, content, headers=()):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            asked = self.headers.get("Range")
            server.asked.append((self.path, asked))
            coming = server.failures.get(self.path)
            failure = coming.pop(0) if coming else None
            if failure and failure[0] == "status":
                self.reply(failure[1], b"", failure[2] if len(failure) > 2 else ())
                return
            content = server.files.get(self.path)
            if content is None:
                self.reply(404, b"")
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if asked and start >= len(content):
                self.reply(416, b"")
                return
            body = content[start:]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if failure:  # cut: the connection breaks in the middle of the body
                self.wfile.write(body[: failure[1]])
                self.close_connection = True
                return
            self.wfile.write(body)

        def do_POST(self):
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            server.asked.append((self.path, self.headers.get("Authorization")))
            status, answer, *headers = server.answer(body)
            self.reply(status, json.dumps(answer).encode(), *headers)

    return Handler


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(server)) as http:
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def server():
    with serving() as found:
        yield found


@pytest.fixture
def get(server, tmp_path):
    """Return a function that fetches the one file; what it shows is kept in ``get.seen``."""

    def fetch(file=FILE, politeness=HASTY):
        with client(politeness) as http:
            return fetch_file(
                http,
                server.url,
                file,
                tmp_path,
                politeness=politeness,
                on_progress=lambda *seen: fetch.seen.append(seen),
            )

    fetch.seen = []
    return fetch


def test_a_file_arrives_whole_and_proved(server, get, tmp_path):
    content = zipped(klines())
    server.publish(FILE.path, content)
    fetched = get()
    assert fetched.path.read_bytes() == content
    assert fetched.bytes_read == len(content)
    assert get.seen[-1] == (NAME, len(content), len(content))
    assert [f.name for f in tmp_path.iterdir()] == [NAME], "no .part is left"


def test_a_file_that_is_here_is_proved_and_not_fetched_again(server, get):
    server.publish(FILE.path, zipped(klines()))
    get()
    server.asked.clear()
    assert get().bytes_read == 0
    assert [path for path, _ in server.asked] == [f"/{FILE.path}.CHECKSUM"]


def test_a_file_that_was_spoiled_here_is_fetched_again(server, get, tmp_path):
    server.publish(FILE.path, zipped(klines()))
    (tmp_path / NAME).write_bytes(b"half a file")
    assert get().bytes_read > 0


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_failure_that_may_pass_is_tried_again(server, get, status):
    server.publish(FILE.path, zipped(klines()))
    server.fail(FILE.path, ("status", status), ("status", status))
    server.fail(f"{FILE.path}.CHECKSUM", ("status", status))
    get()
    assert len(server.asked) == 2 + 3


def test_the_server_says_how_long_to_wait(server, get):
    """`Retry-After: 0` is obeyed: without it the first wait would be an hour."""
    server.publish(FILE.path, zipped(klines()))
    server.fail(FILE.path, ("status", 503, [("Retry-After", "0")]))
    get(politeness=HASTY._replace(first_wait_s=3_600.0))


def test_it_gives_up_after_all_tries_and_keeps_the_part(server, get, tmp_path):
    content = zipped(klines())
    server.publish(FILE.path, content)
    server.fail(FILE.path, ("cut", 100), *[("status", 503)] * 3)
    with pytest.raises(FetchFailed, match="did not arrive after 4 tries: HTTP 503"):
        get()
    assert (tmp_path / f"{NAME}.part").read_bytes() == content[:100]
    server.asked.clear()
    assert get().bytes_read == len(content) - 100
    assert server.asked[-1] == (f"/{FILE.path}", "bytes=100-"), "the next call goes on behind it"


def test_a_broken_connection_goes_on_where_it_stopped(server, get):
    content = zipped(klines())
    server.publish(FILE.path, content)
    server.fail(FILE.path, ("cut", 1_000), ("cut", 500))
    fetched = get()
    assert fetched.path.read_bytes() == content
    assert fetched.bytes_read == len(content), "no byte twice"
    ranges = [asked for path, asked in server.asked if path == f"/{FILE.path}"]
    assert ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_a_part_that_is_whole_already_only_needs_its_proof(server, get, tmp_path):
    content = zipped(klines())
    server.publish(FILE.path, content)
    (tmp_path / f"{NAME}.part").write_bytes(content)
    assert get().bytes_read == 0
    assert (tmp_path / NAME).read_bytes() == content


def test_a_part_of_an_older_file_is_thrown_away(server, get, tmp_path):
    """The archive replaced the file since: the sum is wrong, the second download is right."""
    content = zipped(klines())
    server.publish(FILE.path, content)
    (tmp_path / f"{NAME}.part").write_bytes(b"\0" * 700)
    assert get().path.read_bytes() == content
    ranges = [asked for path, asked in server.asked if path == f"/{FILE.path}"]
    assert ranges == ["bytes=700-", None]


def test_a_wrong_checksum_is_refused(server, get, tmp_path):
    server.publish(FILE.path, zipped(klines()), checksum="ab" * 32)
    with pytest.raises(FetchFailed, match=r"does not match its published SHA-256: (ab){32} exp"):
        get()
    assert list(tmp_path.iterdir()) == [], "nothing unproved is left"


@pytest.mark.parametrize("text", [b"", b"<html>sorry</html>", b"12  x\n", b"zz" * 32])
def test_a_checksum_that_is_none_is_refused(server, get, text):
    server.publish(FILE.path, zipped(klines()))
    server.files[f"/{FILE.path}.CHECKSUM"] = text
    with pytest.raises(FetchFailed, match="must hold one SHA-256"):
        get()


def test_a_file_that_is_not_in_the_archive_is_named_at_once(server, get):
    with pytest.raises(FetchFailed, match=f"{NAME} is not there") as failed:
        get()
    assert "daily files appear the next day" in str(failed.value)
    assert len(server.asked) == 1, "404 does not pass by itself"


def test_a_server_that_is_not_there_is_tried_again(tmp_path):
    with serving() as gone:
        url = gone.url
    with client(HASTY) as http, pytest.raises(FetchFailed, match="after 4 tries: ConnectError"):
        fetch_file(http, url, FILE, tmp_path, politeness=HASTY)


def test_the_archive_s_layout():
    days = {"since": date(2021, 5, 30), "until": date(2021, 6, 1)}
    um = {"market": "um", "symbol": "BTCUSDT", "interval": "1m"}
    daily = archive_files(kind="klines", period="daily", **um, **days)
    assert [f.name for f in daily] == [
        f"BTCUSDT-1m-2021-{day}.zip" for day in ("05-30", "05-31", "06-01")
    ]
    assert daily[0].path == f"data/futures/um/daily/klines/BTCUSDT/1m/{daily[0].name}"
    monthly = archive_files(kind="aggTrades", period="monthly", **um | {"market": "spot"}, **days)
    assert [f.path for f in monthly] == [
        f"data/spot/monthly/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2021-{m}.zip" for m in ("05", "06")
    ]
    with pytest.raises(ConfigInvalid, match="--interval"):
        archive_files(kind="klines", period="daily", **um | {"interval": "7m"}, **days)
    with pytest.raises(ConfigInvalid, match="must not lie before"):
        archive_files(
            kind="klines", period="daily", **um, since=date(2021, 6, 1), until=date(2021, 5, 1)
        )


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("scale", [1, 1_000])
@pytest.mark.parametrize("ending", ["zip", "csv"])
def test_klines_are_read_in_every_form_they_had(tmp_path, header, scale, ending):
    """With and without header, in milliseconds and (spot, from 2025) microseconds."""
    file = tmp_path / f"BTCUSDT-1m-2021-05-19.{ending}"
    text = klines(header=header, scale=scale)
    file.write_bytes(zipped(text) if ending == "zip" else text.encode())
    table = read_klines(file)
    assert table.num_rows == 60
    assert table.column("ts")[1].as_py() == (OPENED + 60_000) * 10**6
    assert table.column("close")[0].as_py() == 39_950
    assert set(table.column("symbol").to_pylist()) == {"BTCUSDT"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("BTC.zip", zipped(klines()), "named as in the archive"),
        (NAME, b"PK but not really", "must be a whole zip"),
        (NAME, zipped(klines())[:-40], "must be a whole zip"),
        (NAME, zipped("1,2,3\n"), "found 3 columns"),
        (NAME, zipped(klines().replace("39950", "many", 1)), "must be a CSV file of the archive"),
        (NAME, zipped(klines().replace(str(OPENED), "7", 1)), "milliseconds or microseconds"),
        (NAME, zipped(klines(), name="x.txt"), "must hold one CSV file, found none"),
    ],
)
def test_what_is_not_the_archive_s_is_refused(tmp_path, name, content, says):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(RecordingInvalid, match=says):
        read_klines(file)


def test_trades_carry_the_aggressor(tmp_path):
    file = tmp_path / "BTCUSDT-aggTrades-2021-05-19.zip"
    file.write_bytes(zipped(trades()))
    table = read_trades(file)
    assert table.column("aggressor").to_pylist()[:2] == ["sell", "buy"], "the maker bought: a sale"
    with pytest.raises(RecordingInvalid, match="SYMBOL-aggTrades-DATE"):
        read_trades(tmp_path / NAME)


def test_from_the_archive_to_a_recording(server, tmp_path):
    """The two commands a newcomer types: fetch, then convert."""
    server.publish(FILE.path, zipped(klines(header=True)))
    name = "BTCUSDT-aggTrades-2021-05-19.zip"
    server.publish(f"data/futures/um/daily/aggTrades/BTCUSDT/{name}", zipped(trades()))
    server.fail(FILE.path, ("cut", 200))
    here, days = str(tmp_path / "archive"), ["--from", "2021-05-19", "--until", "2021-05-19"]
    common = ["--symbol", "btcusdt", *days, "--base-url", server.url, "--out", here]
    for kind in ("klines", "aggTrades"):
        done = CliRunner().invoke(data, ["fetch", "archive", "--kind", kind, *common])
        assert done.exit_code == 0, done.output
    out = tmp_path / "recording"
    files = ["--file", f"{here}/{NAME}", "--trades", f"{here}/{name}"]
    done = CliRunner().invoke(data, ["convert", "candles", *files, "--out", str(out)])
    assert done.exit_code == 0, done.output
    recording = load(out)
    assert recording.rows == {"prices": 240, "trades": 20}
    assert recording.venue.numeraire == "USDT"


def test_several_files_one_after_another(server, tmp_path):
    names = ["BTCUSDT-1m-2021-05-19.zip", "BTCUSDT-1m-2021-05-20.zip"]
    files = [ArchiveFile(f"{FOLDER}/{name}", name) for name in names]
    for file in files:
        server.publish(file.path, zipped(klines()))
    fetched = fetch_files(files, tmp_path, base_url=f"{server.url}/", politeness=HASTY)
    assert [f.path.name for f in fetched] == names


# An indexer: a subgraph's GraphQL endpoint.

BLOCK = 19_000_000


def rows_of(n):
    return [
        {
            "id": f"0x{k:04d}",
            "account": {"id": f"0xa{k % 7}"},
            "market": {"id": "0xm", "name": "WETH", "inputToken": {"symbol": "WETH"}},
            "side": "BORROWER",
            "isCollateral": None,
            "balance": str(10**24 + k),
        }
        for k in range(n)
    ]


def subgraph(rows, failures=()):
    """Return a function that answers like a subgraph, after these failures."""
    coming = list(failures)

    def answer(body):
        if coming:
            return coming.pop(0)
        if "_meta" in body["query"]:
            return 200, {"data": {"_meta": {"block": {"number": BLOCK}}}}
        want = body["variables"]
        assert want["block"] == BLOCK, "every page is asked of one block"
        page = [row for row in rows if row["id"] > want["last"]][: want["first"]]
        return 200, {"data": {"positions": page}}

    return answer


def ask(server, out, **options):
    options = {"page": 10, "politeness": HASTY, **options}
    return fetch_entities(f"{server.url}/subgraph", "positions", out, **options)


@pytest.mark.parametrize("n", [0, 1, 10, 25])
def test_pages_follow_one_another_by_id(server, tmp_path, n):
    """Boundary: no page, one row, exactly one page, and a last page that is not full."""
    server.answer = subgraph(rows_of(n))
    out = tmp_path / "positions.parquet"
    assert ask(server, out) == n
    table = pq.read_table(out)
    assert table.column("id").to_pylist() == [row["id"] for row in rows_of(n)]
    assert table.schema.metadata[b"block"] == str(BLOCK).encode()
    if n:
        assert table.column("market_inputToken_symbol")[0].as_py() == "WETH"
        assert table.column("balance")[0].as_py() == str(10**24), "no digit is lost to a float"
    assert [f.name for f in tmp_path.iterdir()] == ["positions.parquet"]


@pytest.mark.parametrize(
    "failure",
    [
        (429, {}, [("Retry-After", "0")]),
        (503, {}),
        (200, {"errors": [{"message": "Rate limit exceeded"}]}),
        (200, {"errors": [{"message": "bad indexers: {0x: Timeout}"}]}),
    ],
)
def test_an_indexer_that_is_busy_is_asked_again(server, tmp_path, failure):
    server.answer = subgraph(rows_of(3), [failure, failure])
    assert ask(server, tmp_path / "x.parquet") == 3
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        ((200, {"errors": [{"message": "Type has no field `colour`"}]}), "refused the query"),
        ((401, {}), r"refused \(HTTP 401\)"),
        ((404, {}), "is not there"),
        ((200, {"answer": 42}), "refused the query"),
    ],
)
def test_an_indexer_that_refuses_is_believed(server, tmp_path, failure, says):
    server.answer = subgraph([], [failure])
    with pytest.raises(FetchFailed, match=says):
        ask(server, tmp_path / "x.parquet")
    assert len(server.asked) == 1


def test_an_interrupted_fetch_goes_on_at_the_same_block(server, tmp_path):
    """Two pages arrived, then the indexer went away; the next call asks for the third only."""
    rows, calls = rows_of(25), []
    whole = subgraph(rows)

    def failing(body):
        calls.append(body["variables"])
        return whole(body) if len(calls) <= 3 else (503, {})

    server.answer = failing
    out = tmp_path / "x.parquet"
    with pytest.raises(FetchFailed, match="did not answer after 4 tries: HTTP 503"):
        ask(server, out)
    part = tmp_path / "x.parquet.part"
    with part.open("a") as file:
        file.write('{"id": "0x00')  # a row that was cut off by a crash
    server.answer = whole
    server.asked.clear()
    assert ask(server, out) == 25
    assert len(server.asked) == 1, "neither the block nor the first pages are asked for again"
    assert pq.read_table(out).column("id").to_pylist() == [row["id"] for row in rows]


def test_a_part_of_something_else_is_not_gone_on_with(server, tmp_path):
    (tmp_path / "x.parquet.part").write_text('{"url": "other", "entity": "markets", "block": 1}\n')
    server.answer = subgraph(rows_of(2))
    assert ask(server, tmp_path / "x.parquet") == 2


def test_an_indexer_that_ignores_the_cursor_is_caught(server, tmp_path):
    """Otherwise the same page would be asked for until the end of time."""

    def answer(body):
        if "_meta" in body["query"]:
            return 200, {"data": {"_meta": {"block": {"number": BLOCK}}}}
        return 200, {"data": {"positions": rows_of(10)}}

    server.answer = answer
    with pytest.raises(FetchFailed, match="id_gt has no effect"):
        ask(server, tmp_path / "x.parquet")


def test_the_key_is_sent_and_not_shown(server, tmp_path):
    server.answer = subgraph(rows_of(1))
    arguments = ["fetch", "indexer", "--url", f"{server.url}/subgraph", "--out"]
    done = CliRunner().invoke(
        data,
        [*arguments, str(tmp_path / "x.parquet")],
        env={"TIDEGATE_INDEXER_KEY": "a-key"},
    )
    assert done.exit_code == 0, done.output
    assert {key for _, key in server.asked} == {"Bearer a-key"}
    assert "a-key" not in done.output


def test_an_entity_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(ConfigInvalid, match="must be one of positions, liquidates, markets"):
        fetch_entities("http://127.0.0.1:9", "swaps", tmp_path / "x.parquet")
