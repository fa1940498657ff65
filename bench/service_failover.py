"""How long nothing is acknowledged when a leader is killed: a standby takes over, under load.

`python bench/service_failover.py` starts a leader and a standby on one journal, tells them events
one after the other, kills the leader with SIGKILL, and measures until the first event that the
other one acknowledges; then the dead one is started again as the standby, and so on. `--journal
postgresql://...` measures a server; left out, a SQLite file. `--accounts` is the size of the book.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import msgspec

from tidegate.api import asks
from tidegate.lab.bench.timing import Load
from tidegate.service.auth import Keys, new_key, write_keys


PATIENCE_S = 300.0  # kernels may have to be compiled first
PAUSE_S = 0.005  # between two tries
BEFORE = 200  # events acknowledged before each kill
PAGE = 10_000  # accounts told in one request
VENUE = """
name = "failover"
[limits]
accounts_max = {room}
positions_max = {room}
[[instruments]]
kind = "linear"
symbol = "BTC-PERP"
tick_size = "0.1"
lot_size = "0.001"
price_max = 4_000_000
lots_max = 100_000
tick_value = 100
"""


class Process:
    """One `tidegate serve`, in a folder of its own."""

    def __init__(self, folder: Path, journal: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        words = [
            *("serve", str(folder / "venue.toml"), "--stack", "bare", "--standby"),
            *("--keys", str(folder / "keys.json"), "--journal", journal),
            *("--state", str(folder / f"state-{port}"), "--listen", f"127.0.0.1:{port}"),
        ]
        self.log = (folder / f"log-{port}").open("ab")
        self.child = subprocess.Popen(  # noqa: S603 - our own interpreter and package
            [sys.executable, "-m", "tidegate.cli", *words], stdout=self.log, stderr=self.log
        )

    def answers(self, path: str) -> int:
        """Return the status with which a path is answered; 0 where nobody listens."""
        with suppress(httpx.TransportError):
            return httpx.get(self.url + path, timeout=5).status_code
        return 0

    def until(self, path: str, statuses: Sequence[int]) -> None:
        """Wait for an answer of these."""
        end = time.monotonic() + PATIENCE_S
        while self.answers(path) not in statuses:
            if time.monotonic() > end or self.child.poll() is not None:
                msg = f"{self.url}{path} did not answer; see {self.log.name}"
                raise SystemExit(msg)
            time.sleep(0.05)

    def end(self) -> None:
        """Kill it as a crash would."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self.log.close()


class Teller:
    """Tells events under keys, again and again until somebody acknowledges each."""

    def __init__(self, token: str) -> None:
        self._http, self._n = httpx.Client(timeout=30), 0
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def tell(self, urls: Sequence[str], *events: asks.FEED_ASKS) -> float:
        """Return when it was acknowledged."""
        self._n += 1
        body = msgspec.json.encode(asks.Events(events=list(events)))
        headers = self._headers | {"Idempotency-Key": str(self._n)}
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for url in urls:
                with suppress(httpx.TransportError):
                    answer = self._http.post(f"{url}/v1/events", content=body, headers=headers)
                    if answer.is_success:
                        return time.perf_counter()
                    if answer.status_code < 500:
                        raise SystemExit(answer.text)
            time.sleep(PAUSE_S)
        msg = "nobody acknowledges"
        raise SystemExit(msg)


def price(n: int) -> asks.Price:
    """Return an observation that differs from the one before."""
    at = f"{100_000 + n % 7}.0"
    return asks.Price(instrument="BTC-PERP", source="index", price=at)


def opening(accounts: int) -> Iterator[list[asks.FEED_ASKS]]:
    """Yield requests that open a book: half long, half short."""
    for first in range(0, accounts, PAGE):
        some = range(first, min(first + PAGE, accounts))
        yield [
            asks.Book(
                accounts=[asks.Holding(name=f"account {k}", cash="1000") for k in some],
                positions=[
                    asks.Holds(
                        account=f"account {k}",
                        instrument="BTC-PERP",
                        quantity="-0.001" if k % 2 else "0.001",
                        entry="100000",
                    )
                    for k in some
                ],
            )
        ]


@contextmanager
def pair(folder: Path, journal: str, ports: Sequence[int]) -> Iterator[list[Process]]:
    """Yield a leader and its standby."""
    running = [Process(folder, journal, ports[0])]
    try:
        running[0].until("/v1/venue", [401])  # the gate stands only before a leader
        running.append(Process(folder, journal, ports[1]))
        running[1].until("/readyz", [503])
        yield running
    finally:
        for process in running:
            process.end()


def measured(folder: Path, journal: str, kills: int, accounts: int) -> list[float]:
    """Return the seconds after each kill for which nothing was acknowledged."""
    key, token = new_key("load", ["feed"], now=time.time())
    write_keys(folder / "keys.json", Keys(keys=(key,)))
    (folder / "venue.toml").write_text(VENUE.format(room=accounts + 1_000))
    ports = [int(os.environ.get("PORT", "18700")) + k for k in range(kills + 2)]
    teller, took = Teller(token.reveal()), list[float]()
    with pair(folder, journal, ports) as running:
        for request in opening(accounts):
            teller.tell([running[0].url], *request)
        for kill in range(kills):
            leader, standby = running
            for n in range(BEFORE):
                teller.tell([leader.url], price(n))
            time.sleep(1)  # the standby has looked
            teller.tell([leader.url], price(kill))
            begun = time.perf_counter()
            leader.child.send_signal(signal.SIGKILL)
            took.append(teller.tell([standby.url], price(kill + 1)) - begun)
            leader.end()
            running[:] = [standby, Process(folder, journal, ports[kill + 2])]
            running[1].until("/readyz", [503])
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--journal", default="")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--accounts", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as there, Load() as load:
        folder = Path(there)
        journal = asked.journal or str(folder / "journal.db")
        took = measured(folder, journal, asked.kills, asked.accounts)
    kind = "postgresql" if journal.startswith("postgres") else "sqlite"
    low, middle, high = min(took), statistics.median(took), max(took)
    print(
        f"{kind}, {asked.accounts:,} accounts, {len(took)} kills: nothing acknowledged for "
        f"min {low:.3f} s, median {middle:.3f} s, max {high:.3f} s"
    )
    print(load.words)


if __name__ == "__main__":
    main()
