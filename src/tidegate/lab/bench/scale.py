"""One price over a sharded book: one worker against two, and a model for more.

The model is fitted to what was measured and says nothing that was not in it: see docs/concepts/
scale-out.md for its terms and for what it leaves out.
"""

import tempfile
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tidegate.engine.state import State
from tidegate.lab.bench.result import Result, found
from tidegate.lab.bench.timing import repeated, timed
from tidegate.lab.bench.world import HELD, world
from tidegate.lab.sharded import Answer, ShardedBook
from tidegate.lab.shards import Plain, totals
from tidegate.safeguards.stack import Stack


NAMES = ("scale",)
SHARDS: Final = 8
TINY: Final = 64  # accounts: a tick over so few is all message
MODELLED: Final = (4, 8, 16, 64)  # workers
CALLS: Final = 3
RUNS: Final = 11


class Model(NamedTuple):
    """Seconds of one price, ``account * accounts * crowding / workers + message * workers``.

    ``crowding`` is what a worker loses to others on the same memory; each worker is sent one
    message, and they go out one by one.
    """

    account: float  # seconds of one account in one process, its totals included
    crowding: float  # 1: two workers on this machine do not hinder one another
    message: float  # seconds of one question and its answer

    @classmethod
    def fitted(cls, accounts: int, *, one: float, two: float, tiny: float) -> "Model":
        """Return the model through three points: one process, two workers, two with no accounts."""
        return cls(one / accounts, max(0.0, two - tiny) * 2 / one, tiny / 2)

    def seconds(self, accounts: int, workers: int) -> float:
        """Return what a price should take."""
        if workers == 1:
            return self.account * accounts
        return self.account * accounts * self.crowding / workers + self.message * workers

    def workers_max(self, accounts: int) -> float:
        """Return how many workers make a price fastest; beyond, their messages cost more."""
        return (self.account * accounts * self.crowding / self.message) ** 0.5


class Taken(NamedTuple):
    """One price over a sharded book."""

    seconds: float
    sent: int  # bytes of one price's questions
    received: int  # and of its answers


def measure(scale: float) -> list[Result]:
    """Time the same book on one and two workers, a book of half the size on one, and a tiny one.

    What two workers and what the uncut book say is compared before anything is timed.
    """
    accounts = max(2 * TINY, round(1_000_000 * scale))
    whole = world(accounts)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        one = _taken(whole, folder, workers=1)
        two = _taken(whole, folder, workers=2)
        weak = _taken(world(accounts // 2), folder, workers=1)
        tiny = _taken(world(TINY), folder, workers=2)
    uncut = timed(lambda: _uncut(*whole)).median
    model = Model.fitted(accounts, one=one.seconds, two=two.seconds, tiny=tiny.seconds)
    also = {
        "strong_1_ms": 1e3 * one.seconds,
        "strong_2_ms": 1e3 * two.seconds,
        "strong_efficiency": one.seconds / (2 * two.seconds),
        "weak_1_ms": 1e3 * weak.seconds,
        "weak_2_ms": 1e3 * two.seconds,
        "weak_efficiency": weak.seconds / two.seconds,
        "bytes_out_a_price": two.sent,
        "bytes_back_a_price": two.received,
        "account_ns": 1e9 * model.account,
        "crowding": model.crowding,
        "message_us": 1e6 * model.message,
        "workers_at_most": model.workers_max(accounts),
    }
    for workers in MODELLED:
        also[f"modelled_{workers}_workers_ms"] = 1e3 * model.seconds(accounts, workers)
    said = f"{accounts:,} accounts, {HELD * accounts:,} positions, {SHARDS} shards, 2 worker"
    said += " processes, every account assessed by the plain sweep; work is an account"
    yardsticks = {"uncut, one process": uncut, "sharded, one process": one.seconds}
    return [
        found(
            "scale", two.seconds, work=accounts, conditions=said, yardsticks=yardsticks, also=also
        )
    ]


def _uncut(state: State, stack: Stack) -> Answer:
    """Return what the book says as it lies: the same sums and the same accounts."""
    mark, margin = state.mark, stack.declaration.margin
    health = margin.assess(state.book, stack.facts, mark=mark, low=mark, high=mark)
    rows = health.liquidatable
    return Answer(
        totals(health), rows, health.equity[rows], health.required[rows], health.best[rows]
    )


def _taken(venue: tuple[State, Stack], folder: Path, *, workers: int) -> Taken:
    """Return what a price takes once the workers have loaded their shards, and its bytes."""
    state, stack = venue
    layout = Plain(stack.declaration.margin)
    with ShardedBook(
        state.book, stack.facts, layout, shards=SHARDS, folder=folder, workers=workers
    ) as book:

        def one() -> Answer:
            return book.assess(mark=state.mark, low=state.mark, high=state.mark)

        said, wanted = one(), _uncut(*venue)
        same = said.totals == wanted.totals and all(map(np.array_equal, said[1:], wanted[1:]))
        assert same, f"{workers} workers differ from the uncut book"
        sent, received = book.sent, book.received
        one()
        sent, received = book.sent - sent, book.received - received
        return Taken(repeated(one, times=CALLS, runs=RUNS).median, sent, received)
