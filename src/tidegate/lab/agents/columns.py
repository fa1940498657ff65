"""Many agents in one object: their draws, and what of their orders reaches the market.

Every column comes from a stream of its own, `population.column`, drawn agent by agent. So one agent
more is one row more at the end: whoever was there before draws what it drew before.
"""

from collections.abc import Generator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.book import EXTERNAL, FIRST_USER, row_of
from tidegate.domain.events import Input, Traded
from tidegate.domain.units import I64, Lots, Nanos, Ticks
from tidegate.drivers.streams import Streams
from tidegate.engine.market import worth_of_lot
from tidegate.lab.population import Desk
from tidegate.lab.weather import F64


Mask: TypeAlias = NDArray[np.bool_]


def uniform(streams: Streams, name: str, count: int, low: float, high: float) -> F64:
    """Return one number for each agent, even between ``low`` and ``high``."""
    return low + (high - low) * streams[name].random(count)


def lognormal(streams: Streams, name: str, count: int, typical: float, spread: float) -> F64:
    """Return one number for each agent: the median is ``typical``, ``spread`` that of the log."""
    return typical * np.exp(spread * streams[name].standard_normal(count))


def choices(streams: Streams, name: str, count: int, of: int) -> I64:
    """Return one whole number below ``of`` for each agent."""
    return np.floor(of * streams[name].random(count)).astype(np.int64)


def price_now(desk: Desk, i: int, now: Nanos) -> float:
    """Return the price in ticks that traders see: the market's mid, or the mark without one."""
    return desk.market.mid(i, now) or float(desk.state.mark[i])


def worth_now(desk: Desk, i: int, ticks: float) -> float:
    """Return the Money of one lot at a price."""
    return float(worth_of_lot(desk.stack, i, max(1, round(ticks))))


def netted(desk: Desk, i: int, wanted: F64, now: Nanos) -> F64:
    """Trade what agents want (signed lots) and return what each got.

    Buyers and sellers meet first; what is left over goes to the market in one order and moves it.
    Who is on the side that is left over shares what the market gave, in proportion. Whole lots
    leave; agents keep fractions of them, as many do who trade through one broker.
    """
    bought, sold = float(wanted[wanted > 0].sum()), -float(wanted[wanted < 0].sum())
    net = round(bought - sold)
    got, _ = desk.market.outside(i, net, now, trade=True)
    more, fewer = max(bought, sold), min(bought, sold)
    if not more:
        return np.zeros_like(wanted)
    share = min(1.0, (fewer + abs(got)) / more)
    scarce = wanted > 0 if bought > sold else wanted < 0
    return np.where(scarce, wanted * share, wanted)


def holdings(desk: Desk, i: int) -> tuple[I64, I64]:
    """Return accounts that hold instrument ``i`` and their signed lots, in the order of rows."""
    book = desk.state.book
    rows = np.flatnonzero(book.instrument[: book.high] == i)
    rows = rows[(book.account[rows] >= FIRST_USER) & (book.lots[rows] != 0)]
    order = np.argsort(book.account[rows], kind="stable")
    return book.account[rows][order].astype(np.int64), book.lots[rows][order]


def lots_of(desk: Desk, account: int, i: int) -> int:
    """Return the signed lots of an account."""
    row = row_of(desk.state.book, account, i)
    return int(desk.state.book.lots[row]) if row >= 0 else 0


def trade_on_book(
    desk: Desk, account: int, i: int, lots: int, now: Nanos
) -> Generator[Input, None, tuple[int, int]]:
    """Let an account trade on the venue's book at what it asks; nothing moves if it is refused.

    Return the signed lots that moved, and their price in ticks.
    """
    got, price = desk.market.outside(i, lots, now, trade=False)
    if not got:
        return 0, price
    before = lots_of(desk, account, i)
    yield Traded(
        ts=now, instrument=i, taker=account, maker=EXTERNAL, lots=Lots(got), price=Ticks(price)
    )
    moved = lots_of(desk, account, i) - before
    if moved:
        desk.market.outside(i, moved, now, trade=True)
    return moved, price
