"""Account holders who pay in when they come close to the line, and those who do not look."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.events import Deposited, Input
from tidegate.domain.units import Amount, Nanos
from tidegate.lab.agents.bystander import Bystander
from tidegate.lab.agents.columns import Mask, uniform
from tidegate.lab.weather import F64


@dataclass(slots=True, kw_only=True)
class Savers(Bystander):
    """Every account of the opening book, borrower or trader, as one row.

    A share ``attentive`` of them looks at each step. Who looks and finds equity below its own
    trigger, a multiple of maintenance between ``trigger``, pays in what brings it back to
    ``target`` times maintenance, as long as it has money outside: up to ``spare`` of its opening
    equity, drawn evenly from nothing.
    """

    attentive: float = 0.5
    trigger: tuple[float, float] = (1.05, 1.5)
    target: float = 2.0
    spare: float = 1.0
    paid: F64 = field(init=False)  # [accounts] Money paid in so far
    _looks: Mask = field(init=False)
    _trigger: F64 = field(init=False)
    _left: F64 = field(init=False)  # [accounts] Money outside

    def gather(self) -> Iterator[Input]:
        """Draw who looks, from where on, and what each has outside."""
        streams, n = self.desk.streams, self.desk.state.book.accounts
        self._looks = uniform(streams, self.stream("looks"), n, 0.0, 1.0) < self.attentive
        self._trigger = uniform(streams, self.stream("trigger"), n, *self.trigger)
        equity, _ = self._health()
        share = uniform(streams, self.stream("spare"), n, 0.0, self.spare)
        self._left = np.maximum(equity, 0.0) * share
        self._left[:FIRST_USER] = 0.0
        self.paid = np.zeros(n)
        yield from ()

    def _health(self) -> tuple[F64, F64]:
        state = self.desk.state
        health = self.desk.stack.declaration.margin.assess(
            state.book, state.facts, mark=state.mark, low=state.low, high=state.high
        )
        return health.equity.astype(np.float64), health.required.astype(np.float64)

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """Let everybody who looks, is close, and has something, pay in."""
        del step
        n = self._left.size
        equity, required = (column[:n] for column in self._health())
        close = self._looks & (required > 0) & (equity < self._trigger * required)
        amount = np.where(close, np.minimum(self.target * required - equity, self._left), 0.0)
        for account in np.flatnonzero(amount >= 1.0).tolist():
            money = Amount(int(amount[account]))
            before = int(self.desk.state.book.cash[account])
            yield Deposited(ts=now, account=account, amount=money)
            if int(self.desk.state.book.cash[account]) != before:
                self._left[account] -= money
                self.paid[account] += money
