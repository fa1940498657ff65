"""The bad debt of a whole book in many scenarios: its distribution, its tail, its bearers."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import ceil
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64
from tidegate.kernels.margin import sweep
from tidegate.kernels.value import LINEAR
from tidegate.lab.kernels.scenarios import (
    BLOCK,
    F64,
    FACTORS_MAX,
    U8,
    UNROLLED,
    add_losses_1,
    add_losses_2,
    add_losses_3,
    add_losses_any,
    mean_losses,
)
from tidegate.lab.workers import Progress, in_threads


LOOPS = {1: add_losses_1, 2: add_losses_2, 3: add_losses_3}
CHUNKS = 16  # parts into which accounts are cut for threads


@dataclass(frozen=True, slots=True)
class Exposures:
    """What a book loses per unit return of each factor: one row an account, positions in a row."""

    equity: F64  # [accounts]
    start: I64  # [accounts + 1] first position of each account
    slot: U8  # [positions] factor that moves the position
    value: F64  # [positions] signed worth

    @classmethod
    def of(cls, book: Book, facts: Facts, mark: I64) -> Self:
        """Return the users' exposures at ``mark``, in Money; each instrument is a factor.

        Linear instruments only: what is not linear in a return needs scenarios of its own values.
        """
        if (facts.kind != LINEAR).any() or facts.kind.size > FACTORS_MAX:
            raise ConfigInvalid(
                where="exposures",
                what=f"needs linear instruments, at most {FACTORS_MAX}",
                found=f"{facts.kind.size} instruments of kinds {sorted(set(facts.kind.tolist()))}",
            )
        n, used = book.accounts, np.flatnonzero(book.lots[: book.high])
        equity, required, best = (np.zeros(n, np.int64) for _ in range(3))
        sweep(book, facts, mark, mark, mark, equity, required, best)
        used = used[book.account[used] >= FIRST_USER]
        used = used[np.argsort(book.account[used], kind="stable")]
        instrument = book.instrument[used]
        start = np.searchsorted(book.account[used], np.arange(FIRST_USER, n + 1))
        return cls(
            equity=equity[FIRST_USER:].astype(np.float64),
            start=start.astype(np.int64),
            slot=instrument.astype(np.uint8),
            value=(book.lots[used] * mark[instrument] * facts.tick_value[instrument]).astype(float),
        )


@dataclass(frozen=True, slots=True)
class _Group:
    """Accounts with the same number of positions, padded to an even number of accounts."""

    equity: F64
    slot: U8  # [accounts, positions]
    value: F64


def _groups(book: Exposures) -> list[_Group]:
    count = np.diff(book.start)
    groups: list[_Group] = []
    kinds: list[int] = np.unique(count).tolist()
    for k in kinds:
        account = np.flatnonzero(count == k)
        rows: I64 = book.start[account][:, None] + np.arange(k)
        odd = int(account.size % 2 and 1 <= k <= UNROLLED)
        groups.append(
            _Group(
                equity=np.concatenate([book.equity[account], np.zeros(odd)]),
                slot=np.concatenate([book.slot[rows], np.zeros((odd, k), np.uint8)]),
                value=np.concatenate([book.value[rows], np.zeros((odd, k))]),
            )
        )
    return groups


def scenario_losses(
    book: Exposures,
    returns: F64,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> F64:
    """Return the bad debt of each scenario: what all accounts lose beyond their equity, summed.

    ``returns`` is [scenarios, factors]. In one pass without the matrix of accounts and scenarios. A
    scenario's sum runs over accounts by their number of positions, then in their order, whatever
    the threads: the answer is the same to the last bit.
    """
    scenarios = returns.shape[0]
    blocks = -(-scenarios // BLOCK)
    padded = np.zeros((blocks * BLOCK, returns.shape[1]))
    padded[:scenarios] = returns
    move = np.ascontiguousarray(padded.reshape(blocks, BLOCK, -1).transpose(0, 2, 1))
    loss, groups = np.zeros((blocks, BLOCK)), _groups(book)

    def work(block: int) -> None:
        for group in groups:
            loop = LOOPS.get(group.slot.shape[1], add_losses_any)
            loop(group.equity, group.slot, group.value, move[block], loss[block])

    in_threads(work, range(blocks), threads, progress)
    return loss.reshape(-1)[:scenarios]


@dataclass(frozen=True, slots=True)
class Tail:
    """The worst scenarios of a distribution of losses."""

    level: float
    var: float  # the smallest loss of the tail
    shortfall: float  # their mean
    scenarios: NDArray[np.intp]  # the tail itself, worst first, ties in the order of scenarios


def tail_of(losses: F64, level: float) -> Tail:
    """Return value at risk and expected shortfall: of the ``ceil(n (1 - level))`` worst losses."""
    # The subtraction's rounding must not add a scenario: 1 - 0.99 is a little more than 0.01.
    many = max(1, ceil(round(losses.size * (1 - level), 9)))
    order = np.argsort(-losses, kind="stable")[:many]
    return Tail(level, float(losses[order[-1]]), float(losses[order].mean()), order)


def tail_shares(book: Exposures, returns: F64, tail: Tail, *, threads: int | None = None) -> F64:
    """Return each account's mean loss in the tail: its Euler share of the expected shortfall.

    The shares sum to the shortfall (up to rounding), because a mean of sums is a sum of means. One
    pass over the tail's scenarios alone.
    """
    move = np.ascontiguousarray(returns[tail.scenarios].T)
    out = np.zeros(book.equity.size)
    cuts = np.linspace(0, out.size, CHUNKS + 1).astype(int).tolist()

    def work(begin: int, end: int) -> None:
        start = book.start[begin : end + 1]
        mean_losses(book.equity[begin:end], start, book.slot, book.value, move, out[begin:end])

    chunks = [partial(work, a, b) for a, b in pairwise(cuts)]
    in_threads(lambda chunk: chunk(), chunks, threads)
    return out
