"""The numbers of one moment: what metrics show and alerts judge, taken between two batches.

Nothing here looks at every account: a look costs tens of microseconds in a book of a million.
"""

import time
from typing import Final, NamedTuple

import numpy as np

from tidegate.domain.book import FIRST_USER, FUND, LIVE
from tidegate.domain.units import PPM, SECOND
from tidegate.ports import Clock
from tidegate.safeguards.oracle import Quality
from tidegate.service.reading import Reading


MONEY: Final = 1e-6  # of the numeraire
WIDTH_SOURCES: Final = 2_000  # ages of sources shown; a venue with more shows the oldest


class Age(NamedTuple):
    """How long ago a source last published a price of an instrument."""

    instrument: str
    source: str
    seconds: float


class Sight(NamedTuple):
    """One moment; money as floats of the numeraire, for people."""

    at: float  # `time.monotonic`, when it was taken
    now: int  # venue time of the last event
    head: int
    epoch: int
    mode: str
    leader: bool
    waiting: int
    rung: int
    near: tuple[float, ...]  # branching ratio of each instrument
    quality: tuple[int, ...]
    held: tuple[bool, ...]  # whether anybody has a position in it
    tranches: tuple[float, ...]
    fund: float
    peak: float
    lost: float
    in_flight: int
    oldest: float  # seconds for which the oldest order is unanswered
    ages: tuple[Age, ...]
    accounts: int
    used: dict[str, float]  # share of each limited table


def sight_of(reading: Reading, clock: Clock) -> Sight:
    """Return what is to be seen; ages are by ``clock``, which is the engine's own."""
    state, stack = reading.state, reading.stack
    market, book, orders = state.market, state.book, state.orders
    now, limits = clock.now(), stack.venue.limits
    flying = int(orders.counts[1])
    oldest = 0.0
    if flying:
        oldest = max(0, now - int(orders.placed[orders.key >= 0].min())) / SECOND
    users = book.accounts - FIRST_USER
    count = len(stack.declaration.waterfall.tranches)
    return Sight(
        at=time.monotonic(),
        now=int(state.now),
        head=reading.head,
        epoch=reading.epoch,
        mode=reading.mode,
        leader=reading.leader,
        waiting=reading.waiting,
        rung=state.rung,
        near=tuple((market.near / PPM).tolist()),
        quality=tuple(market.quality.tolist()),
        held=tuple(((book.long_open > 0) | (book.short_open > 0)).tolist()),
        tranches=tuple((book.cash[FUND : FUND + count] * MONEY).tolist()),
        fund=stack.declaration.waterfall.fund(book) * MONEY,
        peak=state.fund_peak * MONEY,
        lost=state.lost * MONEY,
        in_flight=flying,
        oldest=oldest,
        ages=_ages(reading, now),
        accounts=users,
        used={
            "accounts": book.accounts / limits.accounts_max,
            "positions": int(book.counts[LIVE]) / limits.positions_max,
            "orders": flying / limits.orders_max,
        },
    )


def _ages(reading: Reading, now: int) -> tuple[Age, ...]:
    venue, market = reading.stack.venue, reading.state.market
    rows, columns = np.nonzero(market.seen_price)
    seen = market.seen_at[rows, columns]
    if rows.size > WIDTH_SOURCES:
        some = np.argpartition(seen, WIDTH_SOURCES)[:WIDTH_SOURCES]
        rows, columns, seen = rows[some], columns[some], seen[some]
    return tuple(
        Age(venue.instruments[i].symbol, venue.sources[k], max(0, now - at) / SECOND)
        for i, k, at in zip(rows.tolist(), columns.tolist(), seen.tolist(), strict=True)
    )


def quality_name(quality: int) -> str:
    """Return how good a mark is, in one word."""
    return Quality(quality).name.lower()
