"""The last resort for loans: what one owes and owns is shared among the others."""

from dataclasses import dataclass, field

import numpy as np

from tidegate.domain.book import FIRST_USER, Health, row_of
from tidegate.domain.effects import Decision, PostedBatch
from tidegate.domain.instrument import CASH, Kind
from tidegate.domain.units import I64, PPM, muldiv_up, pack
from tidegate.engine.ledger import account_rows
from tidegate.engine.market import View
from tidegate.engine.state import State
from tidegate.kernels.allocate import largest_remainder
from tidegate.kernels.margin import assess_account
from tidegate.kernels.value import worth
from tidegate.safeguards.oracle import Action
from tidegate.safeguards.stack import Stack


@dataclass(slots=True)
class Sharing:
    """Shares loans among those that owe against the same asset; remembers this step's shares."""

    state: State
    view: View
    health: Health
    stack: Stack
    owed: dict[int, int] = field(default_factory=dict[int, int])  # Money taken on in this step
    gained: dict[int, int] = field(default_factory=dict[int, int])  # and units of the asset
    asset: dict[int, int] = field(default_factory=dict[int, int])  # which one it was
    effects: list[Decision] = field(default_factory=list[Decision])

    def take(self, account: int) -> bool:
        """Share one loan; say whether it was.

        It owes cash against one asset, and nothing else. The others who owe against that asset take
        the debt in proportion to the collateral they have now, and with it collateral worth the
        debt and the penalty, or all there is. Whoever would fall below maintenance takes none.
        """
        row = account_rows(self.state, account)
        debt = -int(self.state.book.cash[account])
        if len(row) != 1 or debt <= 0:
            return False
        i, lots = int(self.state.book.instrument[row[0]]), int(self.state.book.lots[row[0]])
        good = self.stack.declaration.oracle.admits(Action.DELEVERAGE, int(self.view.quality[i]))
        good = good and self.view.free(i)
        if self.state.facts.kind[i] != Kind.SPOT or lots <= 0 or not good or not self.view.mark[i]:
            return False
        mark = int(self.view.mark[i])
        value = int(worth(self.state.facts, self.view.mark, i, lots, 0, mark))
        due = debt + debt * self.stack.declaration.backstop.pool.penalty // PPM
        given = lots if due >= value else int(muldiv_up(lots, due, value))
        who, held = self._others(account, i)
        while who.size:
            debts, units = np.zeros(who.size, np.int64), np.zeros(who.size, np.int64)
            largest_remainder(debt, held, debts)
            largest_remainder(given, held, units)
            able = np.array(
                [
                    self._bears(*row)
                    for row in zip(
                        who.tolist(), [i] * who.size, debts.tolist(), units.tolist(), strict=True
                    )
                ],
                np.bool_,
            )
            if able.all():
                self._book(account, i, who, debts, units)
                return True
            who, held = who[able], held[able]
        return False

    def _others(self, account: int, i: int) -> tuple[I64, I64]:
        """Return the accounts that owe cash and own ``i``, and how much of it they have by now."""
        book = self.state.book
        rows = np.flatnonzero((book.instrument[: book.high] == i) & (book.lots[: book.high] > 0))
        rows = rows[book.in_flight[rows] == 0]
        who = book.account[rows].astype(np.int64)
        fit = (who >= FIRST_USER) & (who != account) & (book.cash[who] < 0)
        fit &= self.health.best[who] >= 0
        fit &= np.array([self.asset.get(a, i) == i for a in who.tolist()], np.bool_)
        who, rows = who[fit], rows[fit]
        more = [self.gained.get(a, 0) for a in who.tolist()]
        return who, book.lots[rows] + np.array(more, np.int64)

    def _bears(self, account: int, i: int, debt: int, units: int) -> bool:
        """Return whether an account stays at or above maintenance, and in range, with a share."""
        after = np.zeros(3, np.int64)
        owed, gained = self.owed.get(account, 0) + debt, self.gained.get(account, 0) + units
        book, limits = self.state.book, self.stack.venue.limits
        row = row_of(book, account, i)
        most = self.stack.venue.instruments[i].lots_max
        if owed - int(book.cash[account]) > limits.balance_max or book.lots[row] + gained > most:
            return False
        assess_account(
            book, self.state.facts, self.view.mark, account, i, gained, 0, -owed, 0, after
        )
        return after[0] >= after[1]

    def _book(self, account: int, i: int, who: I64, debts: I64, units: I64) -> None:
        for a, debt, gain in zip(who.tolist(), debts.tolist(), units.tolist(), strict=True):
            self.owed[a] = self.owed.get(a, 0) + debt
            self.gained[a] = self.gained.get(a, 0) + gain
            self.asset[a] = i
        self.effects += [
            PostedBatch(
                counter=account,
                asset=asset,
                account=pack(who),
                amount=pack(amount),
                reason="redistributed",
            )
            for asset, amount in ((CASH, -debts), (i, units))
        ]
        self.health.best[account] = self.health.equity[account] = 0
