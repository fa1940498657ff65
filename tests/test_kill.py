"""`kill -9` at any moment loses nothing acknowledged and doubles nothing.

One process lives a whole day undisturbed; its journal and the exchange's book of orders are the
reference. Others live the same day and are killed again and again, at random visits of chosen
places and at random times, each life going on from the files the one before it left. Whatever the
kills, journal, orders and final state must come out the same, record by record, order by order.

A kill leaves the operating system's memory as it was, so this proves the order of writes and the
recovery, and takes SQLite's word that an fsync reaches the disk.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest

from exchange import Line, accepted
from tidegate.adapters.journal import SqliteJournal
from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.units import unpack


CHILD = Path(__file__).with_name("kill_child.py")
SEED = int(os.environ.get("KILL_SEED", "20251010"))

# Site, and how many visits of it one life may see before it is killed at the next.
PLACES = {
    "fsync": (("before_commit", 4), ("during_commit", 4), ("after_commit", 4)),
    "mid-batch": (("mid_batch", 40),),
    "between commit and submit": (("before_submit", 3), ("between_orders", 40)),
    "elsewhere": (
        ("any_time", 1),
        ("before_snapshot", 1),
        ("after_snapshot", 1),
        ("after_submit", 4),
    ),
}
DELAY_US = {"during_commit": (50, 400, 3_000), "any_time": (60_000,)}  # an fsync, a life


class Server:
    """The process that forks the victims."""

    def __init__(self, undisturbed: Path, seed: int) -> None:
        self.undisturbed, self.seed = undisturbed, seed
        self.inside = 0  # kills that fell between the beginning and the end of a commit
        self.process = subprocess.Popen(
            [sys.executable, CHILD, undisturbed, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if not self.process.stdout.readline():
            self.close()
            pytest.fail("the undisturbed day failed; its traceback is above")

    def live(self, folder: Path, site: str, visit: int, delay_us: int, *, check: bool) -> int:
        """Let one child live; return the signal that ended it, 0 when it reached the end."""
        order = {
            "folder": str(folder),
            "site": site,
            "visit": visit,
            "delay_us": delay_us,
            "seed": self.seed,
            "check": check,
        }
        print(json.dumps(order), file=self.process.stdin, flush=True)
        ended = json.loads(self.process.stdout.readline())
        assert ended["signal"] in {0, signal.SIGKILL}, f"died of signal {ended['signal']}"
        assert ended["signal"] or not ended["status"], "a child failed; its traceback is above"
        self.inside += ended["inside"]
        return ended["signal"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


class Outcome(NamedTuple):
    """Everything that two days must have in common."""

    result: dict
    orders: list[Line]
    records: list


def outcome(folder: Path) -> Outcome:
    with closing(SqliteJournal(folder / "journal", readonly=True)) as journal:
        records = list(journal.read())
    return Outcome(
        json.loads((folder / "result").read_text()), accepted(folder / "orders"), records
    )


def same(found: list, expected: list, what: str) -> None:
    """Fail at the first line that differs, and only print that one."""
    pairs = enumerate(zip_longest(found, expected))
    first = next(((n, a, b) for n, (a, b) in pairs if a != b), None)
    if first:
        pytest.fail(f"{what} {first[0]} is {first[1]}\nundisturbed it is {first[2]}", pytrace=False)


def same_day(folder: Path, reference: Outcome) -> None:
    """Assert that a day with kills came out as the one without."""
    found = outcome(folder)
    same(found.orders, reference.orders, "order")
    same(found.records, reference.records, "record")
    assert found.result == reference.result


def ordered(records) -> list[tuple[int, ...]]:
    """Return (id, account, instrument, lots, limit) of every order that was decided."""
    rows = []
    for record in records:
        for e in record.effects:
            if isinstance(e, OrdersPlaced):
                columns = (unpack(c).tolist() for c in (e.account, e.instrument, e.lots, e.limit))
                rows += [(e.first + k, *row) for k, row in enumerate(zip(*columns, strict=True))]
    return rows


def check_remains(folder: Path, reference: Outcome) -> None:
    """Assert what must hold of the files right after a kill, before anybody repairs anything."""
    acks = (folder / "acks").read_text().split() if (folder / "acks").exists() else []
    if not (folder / "journal").exists():
        assert not acks
        assert not accepted(folder / "orders")
        return
    with closing(SqliteJournal(folder / "journal", readonly=True)) as journal:
        records = list(journal.read())
    assert len(records) > max(map(int, acks), default=-1), "an acknowledged record was lost"
    same(records, reference.records[: len(records)], "record")
    sent = accepted(folder / "orders")
    assert len({line.order for line in sent}) == len(sent), "an order was accepted twice"
    decided = {row[0]: row for row in ordered(records)}
    for line in sent:
        assert decided.get(line.order) == line[:5], "an order left before it was durable"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("undisturbed"), SEED)
    yield server
    server.close()


@pytest.fixture(scope="module")
def reference(server):
    found = outcome(server.undisturbed)
    assert found.result["in_flight"] == 0
    assert found.result["taken"] == 1_200
    assert [line[:5] for line in found.orders] == ordered(found.records)
    assert len(found.orders) > 500, "a day on which little is liquidated proves little"
    return found


def campaign(server: Server, reference: Outcome, folders, *, seed: int, kills: int) -> Counter:
    """Kill until every named place has its share of ``kills``; return the kills by site."""
    draw, by_site = random.Random(seed), Counter()
    share = dict.fromkeys(PLACES, kills // 3) | {"elsewhere": kills // 10}
    folder, lives = folders(), 0
    while any(share.values()):
        place = draw.choice([place for place, left in share.items() if left > 0])
        site, most = PLACES[place][share[place] % len(PLACES[place])]
        visit, delay = (
            draw.randrange(most) + 1,
            draw.randrange(draw.choice(DELAY_US.get(site, (1,)))),
        )
        check = draw.random() < 0.1
        lives += 1
        reproduce = (
            f"life {lives}: {site} visit {visit}, {delay} us, in {folder}\n"
            f"reproduce: KILL_SEED={SEED} pytest tests/test_kill.py"
        )
        try:
            killed = server.live(folder, site, visit, delay, check=check)
            if killed:
                by_site[site] += 1
                share[place] -= 1
                check_remains(folder, reference)
            else:
                same_day(folder, reference)
                folder = folders()
        except (AssertionError, pytest.fail.Exception) as error:
            msg = f"{error}\n{reproduce}"
            raise AssertionError(msg) from error
    while server.live(folder, "never", 0, 0, check=True):
        pass
    same_day(folder, reference)
    return by_site


@pytest.fixture
def folders(tmp_path):
    """Return a function that makes the next empty folder; a finished day begins another."""
    made = []

    def next_folder() -> Path:
        made.append(tmp_path / f"day{len(made)}")
        made[-1].mkdir()
        return made[-1]

    return next_folder


def test_two_hundred_kills_change_nothing(server, reference, folders, record_property):
    by_site = campaign(server, reference, folders, seed=SEED, kills=210)
    assert sum(by_site.values()) >= 200
    assert sum(by_site[site] for site, _ in PLACES["fsync"]) >= 70
    assert by_site["mid_batch"] >= 70
    assert sum(by_site[site] for site, _ in PLACES["between commit and submit"]) >= 70
    assert all(by_site[site] for place in PLACES.values() for site, _ in place), by_site
    record_property("kills_inside_a_commit", server.inside)  # how many depends on the disk


@pytest.mark.soak
@pytest.mark.parametrize("round_", range(5))
def test_a_thousand_kills_change_nothing(server, reference, folders, round_):
    by_site = campaign(server, reference, folders, seed=SEED + 1 + round_, kills=1_000)
    assert sum(by_site.values()) >= 1_000


def test_a_process_of_its_own_is_killed_and_goes_on(reference, tmp_path):
    """No fork, no shared warm-up: an interpreter started from nothing, killed at random times."""
    draw = random.Random(SEED)
    for _ in range(2):
        victim = subprocess.Popen([sys.executable, CHILD, tmp_path, str(SEED)])
        with victim:
            try:
                victim.wait(timeout=draw.uniform(1.0, 2.5))
            except subprocess.TimeoutExpired:
                victim.kill()
        check_remains(tmp_path, reference)
    subprocess.run(
        [sys.executable, CHILD, tmp_path, str(SEED)], check=True, stdin=subprocess.DEVNULL
    )
    same_day(tmp_path, reference)
