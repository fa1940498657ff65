"""Withdrawals while somebody owes more than they have, and deposits of those who do."""

import numpy as np

from tidegate.domain.book import FIRST_USER
from tidegate.domain.effects import Decision, DeficitFound, HealthMoved, PostedBatch, Rejected
from tidegate.domain.events import Deposited, Withdrawn
from tidegate.domain.instrument import CASH, Kind
from tidegate.domain.payers import CapacityMoved, ClaimsMoved, DeficitWatched
from tidegate.domain.units import I64, PPM, Money, Nanos, pack
from tidegate.engine.ledger import account_rows, on_deposit, on_withdrawal, rejected
from tidegate.engine.paying import CAPACITY, CAPACITY_AT, DEFICIT_AT, OPEN
from tidegate.engine.state import State
from tidegate.kernels.allocate import largest_remainder
from tidegate.kernels.value import worth
from tidegate.safeguards.stack import Stack


def deficit_watched(state: State, seen: list[Decision], now: int, stack: Stack) -> list[Decision]:
    """Return what the gate's clock learns of this step: a deficit is open, or no longer is."""
    if not stack.declaration.withdrawals.watches:
        return []
    bankrupt = any(isinstance(e, HealthMoved) and e.bankrupt for e in seen)
    if bankrupt or any(isinstance(e, DeficitFound) for e in seen):
        return [DeficitWatched(at=Nanos(now), open=1)]
    last = int(state.paying.moment[DEFICIT_AT])
    return [DeficitWatched(at=Nanos(last), open=0)] if state.paying.moment[OPEN] else []


def on_gated_withdrawal(state: State, event: Withdrawn, stack: Stack) -> list[Decision]:
    """Pay out what margin allows and no gate holds back."""
    effects = on_withdrawal(state, event, stack)
    gate = stack.declaration.withdrawals
    if event.settled or any(isinstance(e, Rejected) for e in effects):
        return effects
    seen, still = int(state.paying.moment[DEFICIT_AT]), bool(state.paying.moment[OPEN])
    closed = gate.closed(now=event.ts, seen=seen, still=still)
    if closed and gate.deficit == "refuse":
        return rejected("withdrawals_closed", f"a deficit was seen {event.ts - seen} ns ago")
    if gate.hold_profit and (refusal := _profit_refusal(state, event, stack)):
        return refusal
    if event.asset != CASH or not (gate.limit == "always" or closed):
        return effects
    capacity = gate.capacity(
        value=max(0, int(state.book.cash[FIRST_USER : state.book.accounts].sum())),
        held=int(state.paying.moment[CAPACITY]),
        since=int(state.paying.moment[CAPACITY_AT]),
        now=event.ts,
    )
    if event.amount > capacity:
        detail = f"withdrawal of {event.amount}, {capacity} may leave now"
        return rejected("withdrawal_capacity_reached", detail)
    left = Money(capacity - event.amount)
    return [*effects, CapacityMoved(capacity=left, at=event.ts)]


def _profit_refusal(state: State, event: Withdrawn, stack: Stack) -> list[Decision]:
    """Refuse what only unrealised profit would pay for."""
    held = unrealised(state, event.account) * stack.declaration.withdrawals.hold_profit // PPM
    if held <= 0:
        return []
    cash = event.amount if event.asset == CASH else 0
    why = stack.declaration.margin.allows(
        state.book,
        state.facts,
        mark=state.mark,
        account=event.account,
        instrument=event.asset,
        lots=0 if event.asset == CASH else -event.amount,
        cost=0,
        cash=-cash - held,
        taking=True,
        scale=stack.declaration.breaker.at(state.rung).initial_scale,
    )
    if not why:
        return []
    return rejected("profit_is_held", f"{held} of account {event.account} is not realised yet")


def unrealised(state: State, account: int) -> int:
    """Return the net unrealised profit of an account's derivatives in Money, rounded down."""
    book, facts = state.book, state.facts
    total = 0
    for row in account_rows(state, account):
        i = int(book.instrument[row])
        if facts.kind[i] != Kind.SPOT:
            lots, cost = int(book.lots[row]), int(book.cost[row])
            total += int(worth(facts, state.mark, i, lots, cost, int(state.mark[i])))
    return total


def on_claimed_deposit(state: State, event: Deposited, stack: Stack) -> list[Decision]:
    """Credit a deposit, and pay from it what the account owes to those who bore its deficit."""
    effects = on_deposit(state, event, stack)
    if event.asset != CASH or any(isinstance(e, Rejected) for e in effects):
        return effects
    payer, owed = state.paying.owed_by(event.account)
    have = int(state.book.cash[event.account]) + event.amount
    due = min(event.amount, int(owed.sum()), have)
    if due <= 0:
        return effects
    share: I64 = np.zeros(payer.size, np.int64)
    largest_remainder(due, owed, share)
    return [
        *effects,
        PostedBatch(
            counter=event.account,
            asset=CASH,
            account=pack(payer),
            amount=pack(share),
            reason="repaid",
        ),
        ClaimsMoved(debtor=event.account, payer=pack(payer), amount=pack(-share)),
    ]
