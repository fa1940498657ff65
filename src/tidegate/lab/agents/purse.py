"""What one adversary paid, took and holds: strict accounts, marked to the weather's fair price.

Money is counted where it crosses a border. What goes into the venue is paid, what comes out is
received, both as the engine's ledger says; what is left inside counts at the fair price of the last
step, and an account below zero counts nothing, because its owner walks away from it. Every trade on
a book pays a fee. So no capital is forgotten, and no profit is a number on a screen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tidegate.domain.book import EXTERNAL
from tidegate.domain.events import AccountOpened, Deposited, Input, Traded, Withdrawn
from tidegate.domain.instrument import Kind
from tidegate.domain.units import I64, PPM, Amount, Lots, Nanos, Ticks
from tidegate.engine.commitments import free_margin
from tidegate.engine.following import facts_now
from tidegate.engine.market import worth_of_lot
from tidegate.kernels.margin import assess_account
from tidegate.lab.agents.columns import lots_of, trade_on_book
from tidegate.lab.population import Desk
from tidegate.safeguards.margin import open_after


FEE: Final = 250  # ppm of every trade on a book, assumed: a taker's usual 2.5 basis points
CHUNK: Final = 50_000  # ppm of a market's usual depth that is traded in one go
CHUNKS: Final = 8  # of these at most in one step
SHARES: Final = (990, 700, 400, 150)  # per mille of what seems free, tried in this order


@dataclass(slots=True)
class Purse:
    """One adversary's money: outside cash and inventory, and the accounts that it controls."""

    desk: Desk
    fee: int = FEE
    accounts: list[int] = field(default_factory=list[int])
    cash: int = 0  # Money outside since the beginning: what was paid is below zero
    weather: int = 0  # Money that the fair price's own moves gave to what was held
    capital: int = 0  # Money, the most that was ever paid in and not yet received back
    inventory: I64 = field(init=False)  # [instruments] signed lots held outside

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.inventory = np.zeros(len(self.desk.stack.venue.instruments), np.int64)

    # -- looking ------------------------------------------------------------------------------

    def value(self, i: int, lots: int, ticks: int) -> int:
        """Return signed lots of a derivative or coin at a price, in Money, rounded down."""
        facts = self.desk.stack.facts
        return lots * ticks * int(facts.tick_value[i]) // int(facts.units[i])

    def held(self, account: int, i: int) -> int:
        """Return the signed lots of an account."""
        return lots_of(self.desk, account, i)

    def mark(self, i: int) -> int:
        """Return the venue's mark in ticks."""
        return int(self.desk.state.mark[i])

    def lots_worth(self, i: int, money: float) -> int:
        """Return how many lots are worth ``money`` at the mark, within what may be held."""
        lots = int(money) // worth_of_lot(self.desk.stack, i, self.mark(i))
        return min(lots, int(self.desk.stack.facts.lots_max[i]))

    def depth(self, i: int) -> int:
        """Return the Money that usually rests on one side of a market."""
        venue = self.desk.stack.venue
        return next(m.depth for m in venue.markets if m.symbol == venue.instruments[i].symbol)

    def equity(self, account: int, ticks: I64) -> int:
        """Return an account's equity in Money were ``ticks`` the marks; below zero it counts 0."""
        out = np.zeros(3, np.int64)
        state = self.desk.state
        assess_account(state.book, state.facts, ticks, account, -1, 0, 0, 0, 0, out)
        return max(0, int(out[0]))

    def profit(self) -> int:
        """Return Money gained since the beginning, at the fair price of the last step."""
        fair = self.desk.fair(self.desk.weather.steps)
        outside = sum(self.value(i, int(n), int(fair[i])) for i, n in enumerate(self.inventory))
        return self.cash + outside + sum(self.equity(a, fair) for a in self.accounts)

    def pass_on(self, step: int) -> None:
        """Count what the fair price's move into ``step`` gives to all that is held now."""
        self.capital = max(self.capital, -self.cash)
        before, after = self.desk.fair(step - 1), self.desk.fair(step)
        for i in np.flatnonzero(after != before).tolist():
            lots = int(self.inventory[i]) + sum(self.held(a, i) for a in self.accounts)
            self.weather += self.value(i, lots, int(after[i]) - int(before[i]))

    # -- paying in and out --------------------------------------------------------------------

    def open(self, name: str) -> Iterator[Input]:
        """Open an account of one's own; it is the last of `accounts` afterwards."""
        row = self.desk.state.book.accounts
        yield AccountOpened(ts=Nanos(0), name=name)
        assert self.desk.state.book.accounts == row + 1, "an account was opened"
        self.accounts.append(row)

    def pay_in(self, account: int, amount: int) -> Iterator[Input]:
        """Deposit, and count what the venue took."""
        yield from self._counted(Deposited(ts=Nanos(0), account=account, amount=Amount(amount)))

    def take_out(self, account: int) -> Iterator[Input]:
        """Withdraw as much as the venue lets go: all that is free, or a part of it."""
        state, stack = self.desk.state, self.desk.stack
        free = free_margin(state, state.mark, account, facts_now(state, stack))
        if not state.facts.cash_debt[1]:
            free = min(free, int(state.book.cash[account]))  # nothing is lent
        for share in SHARES if free > 0 else ():
            before = self.cash
            amount = Amount(max(1, free * share // 1_000))
            yield from self._counted(Withdrawn(ts=Nanos(0), account=account, amount=amount))
            if self.cash != before:
                return

    def _counted(self, event: Input) -> Iterator[Input]:
        cash = self.desk.state.book.cash
        before = int(cash[EXTERNAL])
        yield event
        # A deposit comes out of the world outside, a withdrawal goes back to it.
        self.cash += int(cash[EXTERNAL]) - before

    # -- trading ------------------------------------------------------------------------------

    def outside(self, i: int, lots: int, now: Nanos) -> int:
        """Trade as an outsider on the simulated market; return the signed lots that were done."""
        got, price = self.desk.market.outside(i, lots, now, trade=True)
        self._paid(i, got, price)
        return got

    def elsewhere(self, i: int, lots: int, ticks: int, cost: int) -> None:
        """Trade on a second venue that takes any size at ``ticks``, ``cost`` ppm worse."""
        self.cash -= abs(self.value(i, lots, ticks)) * cost // PPM
        self._paid(i, lots, ticks)

    def _paid(self, i: int, lots: int, ticks: int) -> None:
        self.inventory[i] += lots
        self.cash -= self.value(i, lots, ticks) + self._fee(i, lots, ticks)

    def _fee(self, i: int, lots: int, ticks: int) -> int:
        return -(-abs(self.value(i, lots, ticks)) * self.fee // PPM)

    def trade(self, account: int, i: int, lots: int, now: Nanos) -> Iterator[Input]:
        """Trade on the venue's own book for an account, at what the book asks, if margin allows."""
        moved, price = yield from trade_on_book(self.desk, account, i, lots, now)
        self.cash -= self._fee(i, moved, price)

    def cross(self, taker: int, maker: int, i: int, lots: int, now: Nanos) -> Iterator[Input]:
        """Let two accounts trade with each other at the mark; both pay the fee outside."""
        before, price = self.held(taker, i), self.mark(i)
        yield Traded(
            ts=now, instrument=i, taker=taker, maker=maker, lots=Lots(lots), price=Ticks(price)
        )
        self.cash -= 2 * self._fee(i, self.held(taker, i) - before, price)

    def meet(self, maker: int, i: int, lots: int, price: int, now: Nanos) -> Iterator[Input]:
        """Let the first account take a quote of somebody else's account."""
        taker = self.accounts[0]
        before = self.held(taker, i)
        yield Traded(
            ts=now, instrument=i, taker=taker, maker=maker, lots=Lots(lots), price=Ticks(price)
        )
        self.cash -= self._fee(i, self.held(taker, i) - before, price)

    def margin_for(self, account: int, i: int, lots: int) -> int:
        """Return the Money that opening ``lots`` at the mark asks of an empty account."""
        state, stack = self.desk.state, self.desk.stack
        out = np.zeros(3, np.int64)
        cost = self.value(i, lots, self.mark(i))
        crowd = open_after(state.book, i, lots)
        facts = facts_now(state, stack)
        assess_account(state.book, facts, state.mark, account, i, lots, cost, 0, crowd, out)
        scale = stack.declaration.breaker.at(state.rung).initial_scale
        return -(-int(out[2]) * scale // PPM) + 1

    def while_better(self, i: int, lots: int, limit: float, now: Nanos) -> int:
        """Trade outside in small pieces while the price is better than ``limit`` ticks."""
        done = 0
        for piece in self.pieces(i, lots):
            got, price = self.desk.market.outside(i, piece, now, trade=False)
            if not got or (price > limit if lots > 0 else price < limit):
                break
            done += self.outside(i, piece, now)
        return done

    def pieces(self, i: int, lots: int) -> list[int]:
        """Return a trade cut into pieces that a book can take in one step, the rest left out."""
        size = max(1, self.lots_worth(i, self.depth(i) * CHUNK / PPM))
        sign, left = (1 if lots > 0 else -1), abs(lots)
        count = min(CHUNKS, -(-left // size))
        return [sign * min(size, left - n * size) for n in range(count)]


def most_crowded(desk: Desk) -> int:
    """Return the perpetual with the largest open interest for what its market shows."""
    stack, book = desk.stack, desk.state.book
    depth = {m.symbol: m.depth for m in stack.venue.markets}
    found: list[tuple[float, int]] = []
    for i, instrument in enumerate(stack.venue.instruments):
        if stack.facts.kind[i] == Kind.LINEAR and instrument.symbol in depth:
            lots = max(int(book.long_open[i]), int(book.short_open[i]))
            size = lots * worth_of_lot(stack, i, int(desk.state.mark[i]))
            found.append((size / max(1, depth[instrument.symbol]), -i))
    assert found, "an adversary needs a perpetual that has a market"
    return -max(found)[1]
