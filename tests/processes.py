"""Real processes of the service for tests: begun, asked, stopped, frozen and killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path

import httpx

from crash_world import ACCOUNTS, TOP, book
from servers import free_port
from service_world import _MADE, KEYS
from tidegate.adapters.journals import open_journal
from tidegate.api import asks
from tidegate.client import Client, Refused, Unreachable
from tidegate.domain.events import Deposited
from tidegate.domain.units import unpack
from tidegate.service.auth import Keys, write_keys


HERE = Path(__file__).parent
PATIENCE = 60.0

VENUE = """
name = "small"
sources = ["index"]
[limits]
accounts_max = 128
positions_max = {positions}
orders_max = 256
[[instruments]]
kind = "linear"
symbol = "BTC-PERP"
tick_size = "0.1"
lot_size = "0.001"
price_max = 4_000_000
lots_max = 100_000
tick_value = 100
[[instruments]]
kind = "linear"
symbol = "ETH-PERP"
tick_size = "0.1"
lot_size = "0.001"
price_max = 4_000_000
lots_max = 100_000
tick_value = 100
"""
STACK = """
name = "small"
{oracle}
[margin.instruments."*"]
tiers = [{{ initial = 100_000, maintenance = 50_000 }}]
[planner]
close_fraction = 400_000
interval_ns = 200_000_000
whole_below = 1_000_000_000
netting = true
[waterfall]
deleverage = "queue"
socialise = "equity"
tranches = [{{ name = "fund", initial = 10_000_000_000 }}]
"""
GUARDED = "[oracle]\nage_max_ns = 1_000_000_000\nstale_band = 50_000\n"


def until(found, within=PATIENCE, every=0.02):
    """Return the first answer of ``found`` that is true; fail after a while."""
    end = time.monotonic() + within
    while not (answer := found()):
        assert time.monotonic() < end, f"not within {within} s: {found}"
        time.sleep(every)
    return answer


class World:
    """Files of one venue, a nursery that forks processes beside it, and their addresses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.born: list[Process] = []
        (folder / "venue.toml").write_text(VENUE.format(positions=512))
        (folder / "tight.toml").write_text(VENUE.format(positions=4))
        (folder / "stack.toml").write_text(STACK.format(oracle=""))
        (folder / "short.toml").write_text("silent_s = 1.0\nqueue_max = 50\n")
        (folder / "hasty.toml").write_text("[streams]\nsend_s = 0.5\n")
        (folder / "guarded.toml").write_text(STACK.format(oracle=GUARDED))
        write_keys(folder / "keys.json", Keys(keys=tuple(key for key, _ in _MADE.values())))
        words = [folder / "stack.toml", folder / "venue.toml"]
        self._nursery = subprocess.Popen(
            [sys.executable, HERE / "serve_child.py", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert json.loads(self._nursery.stdout.readline()) == {"ready": True}

    def asked(self, order: dict):
        self._nursery.stdin.write(json.dumps(order) + "\n")
        self._nursery.stdin.flush()
        return json.loads(self._nursery.stdout.readline())["answer"]

    def begin(self, journal, *more, venue="venue.toml", stack="stack.toml", name="one", limit=None):
        """Begin a process on a journal; it need not have begun when this returns."""
        port = free_port()
        words = [
            "serve", self.folder / venue, "--stack", self.folder / stack,
            "--keys", self.folder / "keys.json", "--journal", journal,
            "--state", self.folder / f"state-{name}", "--listen", f"127.0.0.1:{port}", *more,
        ]  # fmt: skip
        log = self.folder / f"log-{len(self.born)}-{name}"
        order = {"words": [str(w) for w in words], "limit": limit, "log": str(log)}
        process = Process(self, self.asked(order), port, log)
        self.born.append(process)
        return process

    def close(self):
        for process in self.born:
            process.kill()
        self._nursery.stdin.close()
        self._nursery.wait(PATIENCE)
        self._nursery.stdout.close()


class Process:
    """One process of the service."""

    def __init__(self, world: World, pid: int, port: int, log: Path) -> None:
        self._world, self.pid, self.log = world, pid, log
        self.url = f"http://127.0.0.1:{port}"
        self.code: int | None = None

    def client(self, role="feed", patience=30.0) -> Client:
        return Client(self.url, KEYS[role], patience=patience)

    def get(self, path: str) -> httpx.Response | None:
        """Return what a path answers without a key; None where nobody answers."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url + path, timeout=10)
        return None

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def leads(self):
        """Wait until it leads; a price that is missing does not count."""
        until(lambda: '"event":"leading"' in self.said() or self.ended() is not None)
        assert self.code is None, self.said()
        return self

    def waits(self):
        """Wait until it stands by."""
        until(lambda: '"event":"standing by"' in self.said() or self.ended() is not None)
        assert self.code is None, self.said()
        return self

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def ended(self) -> int | None:
        if self.code is None:
            self.code = self._world.asked({"ended": self.pid})
        return self.code

    def wait(self, within=PATIENCE) -> int:
        """Wait for its end; return its exit code."""
        until(lambda: self.ended() is not None, within)
        return self.code

    def stop(self, within=PATIENCE) -> int:
        self.send(signal.SIGTERM)
        return self.wait(within)

    def kill(self) -> None:
        if self.ended() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


def imported() -> asks.Book:
    """Return the book of `crash_world` as a feed tells it."""
    import random  # noqa: PLC0415 (here alone)

    event = book(random.Random(11))
    cash = [f"{int(c) / 1e6:.6f}" for c in unpack(event.cash)]
    columns = (event.account, event.instrument, event.lots)
    rows = zip(*(unpack(c).tolist() for c in columns), strict=True)
    symbols = ("BTC-PERP", "ETH-PERP")
    return asks.Book(
        accounts=[asks.Holding(name=n, cash=c) for n, c in zip(event.names, cash, strict=True)],
        positions=[
            asks.Holds(
                account=event.names[a],
                instrument=symbols[i],
                quantity=f"{lots / 1000:.3f}",
                entry=f"{TOP / 10:.1f}",
            )
            for a, i, lots in rows
        ],
    )


def price(at: float, symbol="BTC-PERP", **more) -> asks.Price:
    return asks.Price(instrument=symbol, source="index", price=f"{at:.1f}", **more)


def deposit(n: int) -> asks.Deposit:
    """Return the n-th deposit of a load: no two are of the same amount."""
    return asks.Deposit(account=f"account {n % ACCOUNTS}", amount=f"0.{n + 1:06d}")


def records(address) -> list:
    with contextlib.closing(open_journal(address, readonly=True)) as journal:
        return list(journal.read())


class Load(threading.Thread):
    """A feed that tells deposits and sinking prices, each under a key, until told to stop."""

    def __init__(self, address, first=0) -> None:
        super().__init__(daemon=True)
        self.acked: dict[int, float] = {}  # number of a deposit: when it was acknowledged
        self.tried = -1
        self.failed: BaseException | None = None
        self._address, self._first, self._ending = address, first, threading.Event()

    def run(self) -> None:
        try:
            with Client(self._address, KEYS["feed"], patience=PATIENCE) as client:
                for n in count(self._first):
                    if self._ending.is_set():
                        return
                    self.tried = n
                    at = max(100_000 * (1 - 0.0007 * n), 80_000)
                    client.tell(deposit(n), price(at), key=f"load-{n}")
                    self.acked[n] = time.monotonic()
        except (Unreachable, Refused) as error:
            self.failed = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.end()

    def end(self) -> None:
        self._ending.set()
        self.join(PATIENCE)

    def reaches(self, n: int) -> None:
        until(lambda: len(self.acked) >= n or self.failed)
        assert self.failed is None, self.failed


def kept(load, found) -> None:
    """Assert that what was acknowledged is in the journal once, and what was tried at most once."""
    assert [r.seq for r in found] == list(range(len(found)))
    told = Counter(r.event.amount for r in found if isinstance(r.event, Deposited))
    assert {n for n in load.acked if told[n + 1] != 1} == set()
    assert {n for n in range(load.tried + 1) if told[n + 1] > 1} == set()
