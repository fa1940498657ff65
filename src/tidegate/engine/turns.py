"""What a deleveraging must know of whole accounts, and what is remembered of it afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tidegate.domain.book import FIRST_USER, Health, row_of
from tidegate.domain.effects import Decision, PositionsMoved
from tidegate.domain.payers import (
    BurdenMoved,
    DeleveragingCompared,
    EarlyMoved,
    LastMarketKept,
)
from tidegate.domain.units import I64, PPM, Money, Ppm, pack, unpack
from tidegate.engine.market import View
from tidegate.engine.paying import EARLY
from tidegate.engine.state import State
from tidegate.kernels import portfolio
from tidegate.kernels.deleverage import candidates, rows_by_instrument
from tidegate.kernels.insurance import fall_of, kept_on
from tidegate.kernels.value import notional
from tidegate.safeguards.stack import Stack
from tidegate.safeguards.waterfall import BURDEN_MIN, Closing, Turn


FORCED = ("fill", "netted", "deleveraged", "auctioned", "backstop", "bands", "reported")


@dataclass(slots=True)
class Turns:
    """The turns of one step: net exposures and weights as they change from pool to pool."""

    state: State
    view: View
    stack: Stack
    turn: Turn
    lighter: dict[int, int] = field(default_factory=dict[int, int])  # account: new weight

    @classmethod
    def of(cls, state: State, view: View, stack: Stack) -> "Turns":
        """Return the turns at the start of a step."""
        waterfall, n = stack.declaration.waterfall, state.book.accounts
        exposure = np.zeros(n, np.int64)
        beta = waterfall.beta(tuple(i.symbol for i in stack.venue.instruments))
        if waterfall.looks_at_portfolios:
            portfolio.exposures(state.book, state.facts, view.mark, beta, exposure)
        turn = Turn(
            seed=(waterfall.seed * 1_000_003 + state.seq) % portfolio.CHANCE_PRIME,
            exposure=exposure,
            beta=beta,
            burden=state.paying.burden[:n].copy(),
            freed={},
            due={},
        )
        return cls(state=state, view=view, stack=stack, turn=turn)

    def after(self, closing: Closing, i: int, side: int) -> None:
        """Take note of one pool's closing: exposures shrink, and who gave weighs less."""
        waterfall, account = self.stack.declaration.waterfall, self._accounts(closing)
        if waterfall.looks_at_portfolios:
            for a, lots in zip(account.tolist(), closing.lots.tolist(), strict=True):
                size = int(notional(self.state.facts, i, lots, int(self.view.mark[i])))
                self.turn.exposure[a] += side * (size * int(self.turn.beta[i]) // PPM)
        if waterfall.deleverage == "mirror":
            new = np.zeros(account.size, np.int64)
            portfolio.lighter(
                self.turn.burden[account],
                closing.lots,
                closing.whole,
                waterfall.burden_rate,
                BURDEN_MIN,
                new,
            )
            self.turn.burden[account] = new
            self.lighter |= dict(zip(account.tolist(), new.tolist(), strict=True))

    def burdens(self) -> list[Decision]:
        """Return the new weights of all who gave in this step."""
        if not self.lighter:
            return []
        account, weight = zip(*sorted(self.lighter.items()), strict=True)
        return [BurdenMoved(account=pack(np.array(account)), weight=pack(np.array(weight)))]

    def compared(self, closing: Closing, i: int, side: int) -> list[Decision]:
        """Return what the neutral rule would have done, where receipts are full."""
        if self.stack.declaration.waterfall.receipts != "full":
            return []
        book, following = self.state.book, closing.next_row
        return [
            DeleveragingCompared(
                instrument=i,
                account=pack(self._accounts(closing)),
                neutral=pack(side * closing.neutral),
                hedged=pack(closing.hedged),
                neutral_accounts=closing.neutral_accounts,
                spared=closing.spared,
                next_account=int(book.account[following]) if following >= 0 else -1,
                next_rank=closing.next_rank,
            )
        ]

    def _accounts(self, closing: Closing) -> I64:
        return self.state.book.account[closing.row].astype(np.int64)


def early(state: State, now: int, stack: Stack) -> tuple[bool, list[Decision]]:
    """Return whether the fund's fall asks for deleveraging at once, and what changed about it."""
    waterfall = stack.declaration.waterfall
    if not waterfall.drawdown_start:
        return False, []
    was = bool(state.paying.moment[EARLY])
    fund, peak = waterfall.fund(state.book), state.fund_peak
    if now - state.fund_peak_at > waterfall.drawdown_window_ns:
        peak = fund
    fall = int(fall_of(fund, peak, peak, PPM))
    start, stop = waterfall.drawdown_start, waterfall.drawdown_stop
    on = bool(kept_on(was, fall, start, stop)) and (was or fund > waterfall.drawdown_floor)
    if on == was:
        return on, []
    return on, [EarlyMoved(active=int(on), fall=Ppm(fall), fund=Money(fund))]


def last_markets(effects: Sequence[Decision], stack: Stack) -> list[Decision]:
    """Return which instruments accounts left by force, where deficits are kept by market."""
    if not stack.declaration.waterfall.keeps_markets:
        return []
    last: dict[int, int] = {}
    for effect in effects:
        if isinstance(effect, PositionsMoved) and effect.reason in FORCED:
            account, instrument = unpack(effect.account), unpack(effect.instrument)
            last |= {
                a: i
                for a, i in zip(account.tolist(), instrument.tolist(), strict=True)
                if a >= FIRST_USER
            }
    if not last:
        return []
    rows = sorted(last.items())
    account, instrument = (np.array(column) for column in zip(*rows, strict=True))
    return [LastMarketKept(account=pack(account), instrument=pack(instrument))]


def market_of(state: State, account: int, stack: Stack) -> tuple[int, str]:
    """Return the instrument an account's deficit belongs to, and its symbol; -1: unknown."""
    i = int(state.paying.market[account])
    return i, stack.venue.instruments[i].symbol if i >= 0 else ""


def pair_up(
    turns: Turns, health: Health, pools: Sequence[tuple[int, int, int, int]], at: int
) -> dict[int, tuple[int, int]]:
    """Free those hedges of pool ``at`` whose other leg a later pool of this step can take.

    ``pools`` are (instrument, side, lots, deficit). Return for each freed row of this pool the row
    of the other leg and the lots it may give; `settle_pairs` says how many of them are then due.
    """
    i, side, _, _ = pools[at]
    state, mark, turn = turns.state, turns.view.mark, turns.turn
    book, facts = state.book, state.facts
    turn.freed.clear()
    legs: dict[int, tuple[int, int]] = {}
    begin, every = rows_by_instrument(book, mark.size)
    for j, other, lots, deficit in pools[at + 1 :]:
        if other != -side or j == i or not turn.beta[j] or not turn.beta[i]:
            continue
        room = lots - sum(n for row, n in turn.due.items() if book.instrument[row] == j)
        rows = every[begin[j] : begin[j + 1]]
        found, _, cap = candidates(
            book, facts, health.equity, health.best, mark, rows, other, deficit, lots, 0
        )
        for row_j, most in zip(found.tolist(), cap.tolist(), strict=True):
            row_i = int(row_of(book, int(book.account[row_j]), i))
            if row_i < 0 or row_i in legs or int(book.lots[row_i]) * side >= 0:
                continue
            give = min(most, room)
            worth_j = int(notional(facts, j, give, int(mark[j]))) * int(turn.beta[j])
            each_i = int(notional(facts, i, 1, int(mark[i]))) * int(turn.beta[i])
            free = min(abs(int(book.lots[row_i])), worth_j // max(1, each_i))
            if free:
                turn.freed[row_i], legs[row_i] = free, (row_j, give)
                room -= give
    return legs


def settle_pairs(turns: Turns, closing: Closing, i: int, legs: dict[int, tuple[int, int]]) -> None:
    """Make the other legs due of those whose hedged lots were closed."""
    if not legs:
        return
    book, facts, mark = turns.state.book, turns.state.facts, turns.view.mark
    beta = turns.turn.beta
    for row, hedged in zip(closing.row.tolist(), closing.hedged.tolist(), strict=True):
        if row not in legs or not hedged:
            continue
        row_j, give = legs[row]
        j = int(book.instrument[row_j])
        size = int(notional(facts, i, hedged, int(mark[i]))) * int(beta[i])
        each = max(1, int(notional(facts, j, 1, int(mark[j]))) * int(beta[j]))
        turns.turn.due[row_j] = min(give, -(-size // each))
