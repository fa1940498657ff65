"""Liquidity providers who run: out of a pool that repays loans, and out of the fund's tranches."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tidegate.domain.book import FIRST_USER, FUND
from tidegate.domain.events import (
    FundStaked,
    Input,
    PoolJoined,
    PoolLeft,
    Unstaked,
    UnstakeRequested,
)
from tidegate.domain.units import I64, Money, Nanos
from tidegate.engine.pool import value_of
from tidegate.engine.state import State
from tidegate.lab.agents.bystander import Bystander
from tidegate.lab.agents.columns import uniform
from tidegate.lab.weather import F64


@dataclass(slots=True, kw_only=True)
class _Runners(Bystander):
    """Accounts of the book with spare cash that stand behind others, until they are afraid.

    Of the ``count`` accounts with the most cash and no position each puts in ``share`` of its cash;
    it runs once what all have put in has lost more than its fear, even between ``fear``.
    """

    count: int = 10
    share: float = 0.5
    fear: tuple[float, float] = (0.0, 0.3)
    accounts: I64 = field(init=False)
    put: I64 = field(init=False)  # Money each put in; 0: refused
    gone: I64 = field(init=False)  # step at which each ran; 0: it has not
    _fear: F64 = field(init=False)

    def choose(self) -> None:
        """Choose the accounts, by row, and draw their fears by account."""
        book = self.desk.state.book
        cash = book.cash[: book.accounts].copy()
        cash[:FIRST_USER] = 0
        cash[book.head[: book.accounts] >= 0] = 0
        rich = np.argsort(-cash, kind="stable")[: self.count]
        self.accounts = np.sort(rich[cash[rich] > 0]).astype(np.int64)
        fear = uniform(self.desk.streams, self.stream("fear"), book.accounts, *self.fear)
        self._fear = fear[self.accounts]
        self.put = np.floor(self.share * cash[self.accounts]).astype(np.int64)
        self.gone = np.zeros(self.accounts.size, np.int64)

    def afraid(self, lost: float, step: int) -> list[int]:
        """Return who runs now, having seen ``lost`` (a share), and remember it."""
        runs = (self.gone == 0) & (self.put > 0) & (lost > self._fear)
        self.gone[runs] = step
        return np.flatnonzero(runs).tolist()


@dataclass(slots=True, kw_only=True)
class PoolRunners(_Runners):
    """Depositors of the pool that repays liquidated loans; they leave with all they have."""

    def gather(self) -> Iterator[Input]:
        """Join."""
        self.choose()
        for n, account in enumerate(self.accounts.tolist()):
            before = int(self.desk.state.book.cash[account])
            yield PoolJoined(ts=Nanos(0), account=account, amount=Money(int(self.put[n])))
            self.put[n] = before - int(self.desk.state.book.cash[account])

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """Leave, one after the other, when the pool has paid for others' loans."""
        inside = (self.gone == 0) & (self.put > 0)
        before = int(self.put[inside].sum())
        held = sum(deposit_of(self.desk.state, a) for a in self.accounts[inside].tolist())
        for n in self.afraid(1 - held / before if before else 0.0, step):
            yield PoolLeft(ts=now, account=int(self.accounts[n]), amount=Money(int(self.put[n])))


@dataclass(slots=True, kw_only=True)
class StakeRunners(_Runners):
    """Stakers of one tranche of the fund; they ask back at the first fright, and wait the delay."""

    tranche: int = 0
    _first: int = field(init=False, default=0)  # Money in the tranche when all had staked
    _due: dict[int, int] = field(init=False, default_factory=dict[int, int])  # place: ns

    def gather(self) -> Iterator[Input]:
        """Stake."""
        self.choose()
        for n, account in enumerate(self.accounts.tolist()):
            before = int(self.desk.state.book.cash[account])
            amount = Money(int(self.put[n]))
            yield FundStaked(ts=Nanos(0), account=account, tranche=self.tranche, amount=amount)
            self.put[n] = before - int(self.desk.state.book.cash[account])
        self._first = self._vault()

    def _vault(self) -> int:
        return int(self.desk.state.book.cash[FUND + self.tranche])

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """Ask for everything back when the tranche has paid; collect what is due."""
        paying, k = self.desk.state.paying, self.tranche
        lost = 1 - self._vault() / self._first if self._first else 0.0
        for n in self.afraid(lost, step):
            account = int(self.accounts[n])
            shares = paying.stake(account, k).shares
            yield UnstakeRequested(ts=now, account=account, tranche=k, shares=shares)
            delay = self.desk.stack.declaration.waterfall.tranches[k].unstake_ns
            self._due[n] = now + delay
        for n in [n for n, due in self._due.items() if due <= now]:
            del self._due[n]
            yield Unstaked(ts=now, account=int(self.accounts[n]), tranche=k)


def deposit_of(state: State, account: int) -> int:
    """Return what is left of an account's deposit in the pool, in Money."""
    slots = np.flatnonzero(state.backing.deposit_account == account)
    return sum(value_of(state, int(slot)) for slot in slots[:1])
