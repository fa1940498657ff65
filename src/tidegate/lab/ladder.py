"""One market, whole liquidations, very many paths: the single-market cascade as a ladder."""

import zlib
from dataclasses import dataclass
from typing import Self

import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.instrument import Kind
from tidegate.domain.units import I64, MONEY_MAX, PPM
from tidegate.engine.state import State
from tidegate.lab.kernels import ladder as k
from tidegate.lab.path_model import LAWS, Law, beyond
from tidegate.lab.paths import Prices, Walks
from tidegate.lab.workers import Progress, in_threads


@dataclass(frozen=True, slots=True)
class LadderTotals:
    """What each path came to; [paths]."""

    bad_debt: I64  # Money
    forced: I64  # Money, notional at the marks at which accounts fell
    liquidated: I64  # accounts
    rounds: I64  # batches of orders
    lowest: I64  # Ticks
    last: I64  # Ticks

    @classmethod
    def of(cls, totals: I64) -> Self:
        """Return the columns of [paths, TOTALS] by name."""
        return cls(*np.ascontiguousarray(totals.T))


@dataclass(frozen=True, slots=True)
class Ladder:
    """The accounts of one market by liquidation price, and how that market takes their orders."""

    longs: k.Side
    shorts: k.Side
    market: k.Market
    account: tuple[I64, I64]  # rows of longs and of shorts, in the order in which they fall

    @classmethod
    def of(cls, state: State, law: Law) -> Self:
        """Return the ladder of a venue with one linear instrument, in which all are healthy.

        No stack is asked for: the ladder follows the neutral one, which closes whole accounts at
        once and lets nobody pay for what they leave.
        """
        facts, book, mark = state.facts, state.book, int(state.mark[0])
        if facts.kind.size != 1 or facts.kind[0] != Kind.LINEAR or facts.premium[0] or not mark:
            raise beyond(where="venue.instruments", what="one priced linear instrument, no premium")
        if facts.penalty[0]:
            raise beyond(where="margin.instruments.penalty", what="0 on a ladder")
        rows = np.flatnonzero(book.lots[: book.high])
        rows = rows[book.account[rows] >= FIRST_USER]
        account, lots, cost = book.account[rows], book.lots[rows], book.cost[rows]
        cash = book.cash[account]
        owed = -(np.minimum(cash, 0) * int(facts.cash_debt[0]) // PPM)
        tiers = (facts.tier_floor, facts.tier_maintenance, facts.tier_maintenance_cum)
        unit, most, key = int(facts.tick_value[0]), int(facts.price_max[0]), np.empty_like(lots)
        k.lines(lots, cost, cash, owed, unit, most, np.stack(tiers, axis=1), key)
        fallen = key <= np.where(lots > 0, -mark, mark)
        if fallen.any():
            name = state.names[int(account[np.argmax(fallen)]) - FIRST_USER]
            raise ConfigInvalid(
                where=f"account.{name}", what="must be healthy at the start", found="below its line"
            )
        sides = [
            _side(s, key[h], np.abs(lots[h]), cost[h] - cash[h], unit, account[h].astype(np.int64))
            for s, h in ((-1, lots > 0), (1, lots < 0))
        ]
        return cls(
            longs=sides[0][0],
            shorts=sides[1][0],
            market=k.Market(
                tick_value=unit,
                price_max=most,
                first=mark,
                law=LAWS[law.law],
                depth=law.depth,
                move=law.move,
                most=law.most,
                keep=law.keep,
            ),
            account=(sides[0][1], sides[1][1]),
        )


def _side(sign: int, key: I64, lots: I64, owed: I64, unit: int, account: I64) -> tuple[k.Side, I64]:
    """Return one side in the order in which it falls, and its accounts in that order.

    A close at ``fill`` leaves ``owed + sign * lots * fill * unit`` to be paid if that is above 0.
    """
    # The first key at which that is so: floor(-owed / (lots * unit)) + 1 for either sign.
    broke = -owed // (lots * unit) + 1
    order = np.lexsort((broke, key))
    key, lots, owed, broke = key[order], lots[order], owed[order], broke[order]
    if sum(np.abs(owed).tolist()) > MONEY_MAX:
        raise ConfigInvalid(
            where="book", what=f"all costs must sum to <= {MONEY_MAX:_}", found="more"
        )
    side = k.Side(
        sign=sign,
        key=np.append(key, MONEY_MAX),
        broke=broke,
        lots=np.concatenate([[0], lots.cumsum()]),
        owed=np.concatenate([[0], owed.cumsum()]),
        ordered=int((np.diff(broke) >= 0).all()),
    )
    return side, account[order]


def run_ladder(
    ladder: Ladder,
    prices: Prices,
    *,
    threads: int | None = None,
    chunk: int = 256,
    progress: Progress | None = None,
) -> LadderTotals:
    """Run every path from the ladder's mark; see `lab.paths.run_paths` for prices and threads."""
    drawn = isinstance(prices, Walks)
    paths = prices.paths if isinstance(prices, Walks) else prices.shape[0]
    if drawn and prices.load.shape != (1, 1):
        raise ConfigInvalid(
            where="prices.load", what="must be one factor of one instrument", found="more"
        )
    total = np.zeros((paths, k.TOTALS), np.int64)
    none = np.zeros((0, k.TRAIL_WIDTH), np.int64)

    def work(first: int) -> None:
        out = total[first : first + chunk]
        if isinstance(prices, Walks):
            _walk(ladder, prices, first, out)
        else:
            given = np.ascontiguousarray(prices[first : first + chunk].reshape(len(out), -1))
            k.run_given(ladder.longs, ladder.shorts, ladder.market, given, out, none)

    in_threads(work, range(0, paths, chunk), threads, progress)
    return LadderTotals.of(total)


def _walk(ladder: Ladder, walks: Walks, first: int, out: I64) -> None:
    k.run_walks(
        ladder.longs,
        ladder.shorts,
        ladder.market,
        walks.root,
        walks.begin + first,
        zlib.crc32(walks.stream.encode()),
        int(walks.first[0]),
        float(walks.drift[0]),
        float(walks.load[0, 0]),
        walks.steps,
        out,
    )


def rounds_of(ladder: Ladder, price: I64) -> I64:
    """Return every round of one path of [steps] prices; see `kernels.ladder.TRAIL_WIDTH`."""
    trail = np.zeros((ladder.account[0].size + ladder.account[1].size, k.TRAIL_WIDTH), np.int64)
    total = np.zeros((1, k.TOTALS), np.int64)
    k.run_given(ladder.longs, ladder.shorts, ladder.market, price.reshape(1, -1), total, trail)
    return trail[: int(total[0, k.ROUNDS])]
