"""The cascade profile of fifty markets over a million accounts, whole and after one price."""

import numba
import numpy as np

from tidegate.domain.book import ACCOUNTS, FIRST_USER, HIGH, Book
from tidegate.domain.units import I64
from tidegate.domain.venue import Limits
from tidegate.drivers.threads import Threads
from tidegate.engine.packed import alone
from tidegate.engine.packed_profile import MovingProfile, profile
from tidegate.kernels.profile import forced_buckets
from tidegate.lab.bench.crowd import HELD, INSTRUMENTS, Crowd, crowd, scaled
from tidegate.lab.bench.result import Result, found
from tidegate.lab.bench.sweep import cpu, packed
from tidegate.lab.bench.timing import timed


NAMES = ("profile_1m",)
WIDTH, BUCKETS = 5_000, 40  # 0.5 % each, 20 % either way
RUNS = 21


def measure(scale: float) -> list[Result]:
    """Time all buckets of all markets from the margins of a sweep, and refreshes of few."""
    people = crowd(scaled(1_000_000, scale))
    book, mark, facts = packed(people), people.mark, people.facts
    health = book.assess(facts, mark=mark, low=mark, high=mark)
    slack = health.equity - health.required
    plain, best = ordinary(people), np.zeros(people.accounts + FIRST_USER, np.int64)
    best[book.packed.account + FIRST_USER] = slack
    grid = {"width": WIDTH, "buckets": BUCKETS}
    with Threads(numba.get_num_threads()) as share:
        ours = profile(book, facts, mark=mark, slack=slack, **grid, share=share)
        assert (ours == one_by_one(plain, people, best)).all(), "another profile than the engine's"
        whole = timed(
            lambda: profile(book, facts, mark=mark, slack=slack, **grid, share=share), runs=RUNS
        )
        single = timed(
            lambda: profile(book, facts, mark=mark, slack=slack, **grid, share=alone), runs=RUNS
        )
        moving = MovingProfile(book, WIDTH, BUCKETS)
        also = {
            "fastest": whole.fastest,
            "one_thread": single.median,
            "cpu": cpu(lambda: profile(book, facts, mark=mark, slack=slack, **grid, share=alone)),
        }
        also |= refreshes(moving, people, share)
        theirs = timed(lambda: one_by_one(plain, people, best)).median
    said = (
        f"{people.accounts:,} accounts x {HELD} positions, {INSTRUMENTS} markets, {BUCKETS} "
        f"buckets a side, from the margins of a sweep; {share.n} threads; the yardstick is the "
        "engine's own kernel, market by market, one thread"
    )
    return [
        found(
            "profile_1m",
            whole.median,
            work=people.accounts,
            conditions=said,
            yardsticks={"numba_per_market": theirs},
            also=also,
        )
    ]


def refreshes(moving: MovingProfile, people: Crowd, share: Threads) -> dict[str, float]:
    """Return what a refresh takes, sweep included, after no price, one and all of them moved."""
    took: dict[str, float] = {}
    here, clock = people.mark, iter(range(1, 10**9))
    for name, which in (
        ("with_sweep", np.arange(INSTRUMENTS)),
        ("one_median_market", np.array([INSTRUMENTS // 2])),
        ("one_smallest_market", np.array([INSTRUMENTS - 1])),
    ):

        def refresh(which: I64 = which) -> None:
            there = here.copy()
            there[which] += next(clock) % 7 - 3
            moving.refresh(people.facts, mark=there, low=there, high=there, share=share)

        took[f"refresh_{name}"] = timed(refresh, runs=RUNS).median
        took[f"refresh_{name}_cpu"] = cpu(refresh)
    fresh = MovingProfile(moving.book, WIDTH, BUCKETS)
    prices = {"mark": here, "low": here, "high": here}
    again = moving.refresh(people.facts, **prices, share=share)
    assert (again == fresh.refresh(people.facts, **prices, share=share)).all()
    return took


def ordinary(people: Crowd) -> Book:
    """Return the crowd's positions as rows of a book, as far as a profile reads them."""
    rows = people.lots.size
    limits = Limits(accounts_max=people.accounts + FIRST_USER, positions_max=rows)
    book = Book.empty(limits, INSTRUMENTS)
    book.counts[[ACCOUNTS, HIGH]] = people.accounts + FIRST_USER, rows
    book.account[:] = people.account + FIRST_USER
    book.instrument[:] = people.instrument
    book.lots[:] = people.lots
    return book


def one_by_one(book: Book, people: Crowd, best: I64) -> I64:
    """Return the profile of every market as the engine computes it."""
    out = np.zeros((2 * INSTRUMENTS, BUCKETS), np.int64)
    for i in range(INSTRUMENTS):
        down, up = out[2 * i], out[2 * i + 1]
        forced_buckets(book, people.facts, people.mark, best, i, WIDTH, down, up)
    return out
