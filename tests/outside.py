"""The books kept a second time, from outside: what effects say, in dictionaries of unbounded ints.

Nothing here calls a kernel or reads a column that the engine computed; only `differs` compares.
"""

from dataclasses import dataclass, field
from itertools import product
from math import isqrt

import numpy as np

from tidegate.domain.book import EXTERNAL, FIRST_USER, row_of
from tidegate.domain.effects import (
    AccountsOpened,
    Decision,
    OrdersPlaced,
    OrdersReduced,
    PositionsMoved,
    Posted,
    PostedBatch,
)
from tidegate.domain.instrument import CASH, Kind
from tidegate.domain.units import PPM, unpack
from tidegate.engine.state import State


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass
class Ledger:
    """Cash, positions and flights as the effects tell them."""

    cash: dict[int, int] = field(default_factory=dict)
    lots: dict[tuple[int, int], int] = field(default_factory=dict)
    cost: dict[tuple[int, int], int] = field(default_factory=dict)
    orders: dict[int, tuple[int, int, int]] = field(default_factory=dict)  # account, of, lots
    names: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, state: State) -> "Ledger":
        """Return the ledger of a state before its first event."""
        cash = {a: int(c) for a, c in enumerate(state.book.cash[:FIRST_USER].tolist()) if c}
        return cls(cash=cash)

    def _pay(self, account: int, asset: int, amount: int) -> None:
        if asset == CASH:
            self.cash[account] = self.cash.get(account, 0) + amount
        else:
            self.lots[account, asset] = self.lots.get((account, asset), 0) + amount

    def take(self, effects: list[Decision]) -> None:
        for effect in effects:
            match effect:
                case Posted():
                    self._pay(effect.debit, effect.asset, -effect.amount)
                    self._pay(effect.credit, effect.asset, effect.amount)
                case PostedBatch():
                    account, amount = unpack(effect.account), unpack(effect.amount)
                    for a, m in zip(account.tolist(), amount.tolist(), strict=True):
                        self._pay(effect.counter, effect.asset, -m)
                        self._pay(a, effect.asset, m)
                case PositionsMoved():
                    columns = (effect.account, effect.instrument, effect.lots, effect.cost)
                    for a, i, lots, cost in zip(
                        *(unpack(c).tolist() for c in columns), strict=True
                    ):
                        self.lots[a, i] = self.lots.get((a, i), 0) + lots
                        self.cost[a, i] = self.cost.get((a, i), 0) + cost
                case OrdersPlaced():
                    columns = (effect.account, effect.instrument, effect.lots)
                    rows = zip(*(unpack(c).tolist() for c in columns), strict=True)
                    for k, (a, i, lots) in enumerate(rows):
                        assert effect.first + k not in self.orders
                        self.orders[effect.first + k] = a, i, lots
                case OrdersReduced():
                    self._reduce(effect)
                case AccountsOpened():
                    self.names.extend(effect.names)
                case _:
                    pass

    def _reduce(self, effect: OrdersReduced) -> None:
        columns = (effect.order, effect.lots, effect.closed)
        for order, lots, closed in zip(*(unpack(c).tolist() for c in columns), strict=True):
            a, i, left = self.orders[order]
            assert left * lots > 0
            assert abs(lots) <= abs(left)
            assert closed == (left == lots)
            if closed:
                del self.orders[order]
            else:
                self.orders[order] = a, i, left - lots

    def flying(self, account: int, instrument: int) -> int:
        return sum(n for a, i, n in self.orders.values() if (a, i) == (account, instrument))

    def differs(self, state: State) -> str:
        """Return where the engine's columns disagree with these books, or an empty string."""
        book = state.book
        cash = {a: c for a, c in enumerate(book.cash[: book.accounts].tolist()) if c}
        if cash != {a: c for a, c in self.cash.items() if c}:
            return f"cash {cash} is not {self.cash}"
        held: dict[tuple[int, int], tuple[int, int, int]] = {}
        reached = set()
        for account in range(book.accounts):
            row = int(book.head[account])
            while row >= 0:
                i = int(book.instrument[row])
                if int(book.account[row]) != account or row_of(book, account, i) != row:
                    return f"row {row} is not where it is looked for"
                held[account, i] = tuple(
                    int(c[row]) for c in (book.lots, book.cost, book.in_flight)
                )
                reached.add(row)
                row = int(book.follow[row])
        mine = {}
        for key in {*self.lots, *self.cost, *((a, i) for a, i, _ in self.orders.values())}:
            now = (self.lots.get(key, 0), self.cost.get(key, 0), self.flying(*key))
            if any(now):
                mine[key] = now
        if held != mine:
            return f"positions differ in {set(held.items()) ^ set(mine.items())}"
        freed = book.free[: int(book.counts[2])].tolist()
        if len(set(freed)) != len(freed) or reached | set(freed) != set(range(book.high)):
            return "a row is neither used nor free, or both"
        if len(reached) != int(book.counts[3]) or state.names != self.names:
            return "the counts of rows or names differ"
        return ""

    def sums(self, kinds: list[int], coins: list[int]) -> str:
        """Return which asset was made or lost (INV-1, INV-2, INV-8), or an empty string."""
        if sum(self.cash.values()):
            return "cash"
        for i, _ in enumerate(kinds):
            if sum(n for (_, j), n in self.lots.items() if j == i):
                return f"lots of {i}"
        for asset in {CASH, *coins}:
            cost = sum(c for (_, i), c in self.cost.items() if coins[i] == asset)
            cleared = self.cash.get(1, 0) if asset == CASH else self.lots.get((1, asset), 0)
            if cost + cleared:
                return f"cost and clearing of asset {asset}"
        return ""


@dataclass
class Margin:
    """Equity and maintenance of accounts at any prices, in unbounded ints, from facts alone."""

    state: State

    def __post_init__(self) -> None:
        facts = self.state.facts
        for name in facts._fields:
            setattr(self, name, getattr(facts, name).tolist())

    def notional(self, i: int, lots: int, price: int) -> int:
        if self.kind[i] == Kind.INVERSE:
            return abs(lots) * self.face[i]
        return ceil_div(abs(lots) * price * self.tick_value[i], self.units[i])

    def worth(self, i: int, lots: int, cost: int, price: int, marks: list[int]) -> int:
        if self.kind[i] == Kind.INVERSE:
            coins = (-lots * self.contract[i] // price if price else 0) - cost
            coin = self.coin[i]
            return coins * marks[coin] * self.tick_value[coin] // self.units[coin]
        return lots * price * self.tick_value[i] // self.units[i] - cost

    def maintenance(self, i: int, lots: int, price: int) -> int:
        size = self.notional(i, lots, price)
        if self.kind[i] == Kind.SPOT and lots < 0:
            return ceil_div(size * self.debt_maintenance[i], PPM)
        start, end = self.tier_start[i], self.tier_start[i + 1]
        tier = max(t for t in range(start, end) if t == start or size >= self.tier_floor[t])
        due = ceil_div(size * self.tier_maintenance[tier], PPM) - self.tier_maintenance_cum[tier]
        if self.premium[i]:
            square = abs(lots) * self.premium[i] ** 2
            root = isqrt(square - 1) + 1 if square else 0  # rounded up
            rate = ceil_div(self.tier_maintenance[start] * 800 + root, 1_000)
            due = max(due, ceil_div(size * min(rate, PPM), PPM))
        return due

    def held(self, account: int) -> list[tuple[int, int, int]]:
        """Return (instrument, lots, cost) of an account."""
        book, out = self.state.book, []
        row = int(book.head[account])
        while row >= 0:
            out.append(tuple(int(c[row]) for c in (book.instrument, book.lots, book.cost)))
            row = int(book.follow[row])
        return out

    def totals(self, account: int, marks: list[int], prices: dict[int, int] | None = None):
        """Return (equity, maintenance); ``prices`` replaces the own price of some positions."""
        cash = int(self.state.book.cash[account])
        equity = cash
        required = ceil_div(-cash * self.cash_debt[0], PPM) if cash < 0 else 0
        for i, lots, cost in self.held(account):
            price = (prices or {}).get(i, marks[i])
            equity += self.worth(i, lots, cost, price, marks)
            required += self.maintenance(i, lots, price)
        return equity, required

    def unsafe_throughout(self, account: int, marks, low, high) -> bool:
        """Return whether the account is below maintenance at every corner of its intervals."""
        held = [i for i, lots, _ in self.held(account) if lots]
        corners = product(*({low[i], marks[i], high[i]} for i in held))
        for prices in corners:
            equity, required = self.totals(account, marks, dict(zip(held, prices, strict=True)))
            if equity >= required:
                return False
        return True


def users(state: State) -> range:
    return range(FIRST_USER, state.book.accounts)


def positions(state: State) -> list[tuple[int, int, int, int]]:
    """Return (account, instrument, lots, in flight) of every user's position."""
    book = state.book
    rows = np.flatnonzero(book.lots[: book.high]).tolist()
    return [
        tuple(int(c[r]) for c in (book.account, book.instrument, book.lots, book.in_flight))
        for r in rows
        if int(book.account[r]) >= FIRST_USER
    ]


__all__ = ["EXTERNAL", "Ledger", "Margin", "ceil_div", "positions", "users"]
