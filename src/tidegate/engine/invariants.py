"""What must be true after every step. Each line is numbered in docs/invariants.md.

`check` costs what the step changed; `audit` sums the whole book in unbounded integers, at snapshots
and in tests, so that a wrapped int64 cannot vouch for itself.
"""

from collections.abc import Sequence

import numpy as np

from tidegate.domain.backing import DEPOSITS
from tidegate.domain.book import CLEARING, FIRST_USER, FUND, POOL, row_of
from tidegate.domain.effects import (
    AuctionsOpened,
    Decision,
    LimitsHeld,
    MarkMoved,
    OrdersPlaced,
    PositionsMoved,
    Posted,
    PostedBatch,
)
from tidegate.domain.instrument import CASH
from tidegate.domain.units import MONEY_MAX, unpack
from tidegate.engine.never_worse import check_held
from tidegate.engine.state import State
from tidegate.safeguards.breaker import Rung


def check(state: State, effects: Sequence[Decision]) -> None:
    """Assert what ``effects`` could have broken; a failure is a bug and stops the process."""
    book, m = state.book, state.market
    balance: dict[int, int] = {}
    for effect in effects:
        match effect:
            case PositionsMoved():
                _check_moves(state, effect, balance)
            case PostedBatch() if effect.counter == CLEARING:
                paid = int(unpack(effect.amount).sum())
                balance[effect.asset] = balance.get(effect.asset, 0) - paid
            case Posted() if effect.debit == CLEARING:
                balance[effect.asset] = balance.get(effect.asset, 0) - effect.amount
            case MarkMoved(instrument=i):
                assert 0 < m.low[i] <= m.mark[i] <= m.high[i], "INV-4 a mark lies in its interval"
            case OrdersPlaced() | AuctionsOpened():
                _check_orders(state, effect)
            case LimitsHeld():
                check_held(effect)  # INV-11 no close at its limit makes its account worse
            case _:
                pass
    assert not any(balance.values()), "INV-1 realised profit and cost balance in every asset"
    assert (book.cash[FUND : POOL + 1] >= 0).all(), "INV-6 no tranche owes, nor does the pool"
    if state.backing.used:
        assert book.cash[POOL] == state.backing.pool[DEPOSITS], "INV-6 the pool has its deposits"
    assert Rung.NORMAL <= state.rung <= Rung.HALT, "INV-5 the breaker stands on a rung"


def _check_moves(state: State, effect: PositionsMoved, balance: dict[int, int]) -> None:
    account, instrument = unpack(effect.account), unpack(effect.instrument)
    lots, cost = unpack(effect.lots), unpack(effect.cost)
    facts, book = state.facts, state.book
    net = np.zeros(facts.kind.size, np.int64)
    np.add.at(net, instrument, lots)
    assert not net.any(), "INV-2 every long has a short"
    paid = np.zeros(facts.kind.size + 1, np.int64)  # cash is the last, as CASH counts from the end
    np.add.at(paid, facts.coin[instrument], cost)
    for asset in np.flatnonzero(paid).tolist():
        of = CASH if asset == facts.kind.size else asset
        balance[of] = balance.get(of, 0) + int(paid[asset])
    users = account >= FIRST_USER
    for a, i in zip(account[users][:64].tolist(), instrument[users][:64].tolist(), strict=True):
        row = row_of(book, a, i)
        if row >= 0:
            assert book.lots[row] or not book.cost[row], "INV-3 a closed position owes nothing"


def _check_orders(state: State, effect: OrdersPlaced | AuctionsOpened) -> None:
    account, instrument = unpack(effect.account), unpack(effect.instrument)
    for a, i in zip(account[:64].tolist(), instrument[:64].tolist(), strict=True):
        row = row_of(state.book, a, i)
        held, flying = int(state.book.lots[row]), int(state.book.in_flight[row])
        assert held * flying <= 0, "INV-7 a forced order only reduces"
        assert abs(flying) <= abs(held), "INV-7 no more is in flight than is held"


def audit(state: State) -> None:
    """Assert every invariant over the whole book, in unbounded integers."""
    book, facts = state.book, state.facts
    n, high = book.accounts, book.high
    lots, cost = book.lots[:high].tolist(), book.cost[:high].tolist()
    instrument = book.instrument[:high].tolist()
    account = book.account[:high].tolist()
    cash = book.cash[:n].tolist()
    assert sum(cash) == 0, "INV-8 cash is neither made nor lost"
    net = [0] * facts.kind.size
    long, short = [0] * facts.kind.size, [0] * facts.kind.size
    owed: dict[int, int] = {}
    for a, i, held, paid in zip(account, instrument, lots, cost, strict=True):
        net[i] += held
        if a >= FIRST_USER:
            long[i] += max(held, 0)
            short[i] += max(-held, 0)
            assert held or not paid, "INV-3 a closed position owes nothing"
        asset = int(facts.coin[i])
        owed[asset] = owed.get(asset, 0) + paid
    assert not any(net), "INV-2 every long has a short, every balance a debtor"
    for asset, total in owed.items():
        held = cash[CLEARING] if asset < 0 else _held(state, CLEARING, asset)
        assert total + held == 0, "INV-1 cost and clearing balance in every asset"
    assert long == book.long_open.tolist(), "INV-9 open interest is what is held"
    assert short == book.short_open.tolist(), "INV-9 open interest is what is held"
    live = state.orders.key >= 0
    flying = np.zeros(high, np.int64)
    np.add.at(flying, state.orders.row[live], state.orders.lots[live])
    offered = state.auctions.key >= 0
    np.add.at(flying, state.auctions.row[offered], state.auctions.lots[offered])
    assert flying.tolist() == book.in_flight[:high].tolist(), (
        "INV-7 every flight has its order or auction"
    )
    assert max((abs(c) for c in cash), default=0) <= MONEY_MAX, "INV-10 no balance nears the range"
    assert (state.market.mark >= 0).all(), "INV-4 marks are positive once set"


def _held(state: State, account: int, asset: int) -> int:
    row = row_of(state.book, account, asset)
    return int(state.book.lots[row]) if row >= 0 else 0
