"""From trades to effects: positions move, profit is realised, the remainder is named."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tidegate.domain.book import CLEARING, EXTERNAL, ROUNDING, rows_of
from tidegate.domain.effects import Decision, PositionsMoved, Posted, PostedBatch
from tidegate.domain.instrument import CASH
from tidegate.domain.units import I64, Amount, pack
from tidegate.engine.state import State
from tidegate.kernels.fills import apply_paid, paid_at


@dataclass(frozen=True, slots=True)
class Trades:
    """Executions, one row each; the sum of lots need not be zero, the world outside takes it."""

    account: I64
    instrument: I64
    lots: I64  # signed
    price: I64  # Ticks
    paid: I64  # settlement asset, signed as a cost


def trades_at(state: State, account: I64, instrument: I64, lots: I64, price: I64) -> Trades:
    """Return trades at these prices; what is paid is rounded against whoever trades."""
    paid = np.zeros(lots.size, np.int64)
    paid_at(state.facts, instrument, lots, price, paid)
    return Trades(account=account, instrument=instrument, lots=lots, price=price, paid=paid)


def settlement(state: State, instrument: int) -> int:
    """Return the asset in which ``instrument`` pays: CASH, or the column of its coin."""
    return int(state.facts.coin[instrument])


def book_trades(
    state: State, trades: Trades, reason: str, row: I64 | None = None
) -> list[Decision]:
    """Return the effects of ``trades``: lots and cost, realised profit, and the rounding remainder.

    Where lots do not sum to zero in an instrument, the world outside takes the other side at the
    same payment. Profit is paid by CLEARING, whose balance is minus the sum of all costs
    afterwards; what rounding left over between the two sides goes to ROUNDING. Imported positions
    were opened at different prices: what is left over there was earned outside, not by rounding.
    ``row`` are the rows of the positions, where they are known to be open.
    """
    left_to, left_as = (EXTERNAL, "import") if reason == "import" else (ROUNDING, "rounding")
    if not trades.lots.size:
        return []
    if row is None:
        row = rows_of(state.book, trades.account, trades.instrument)
    # A position that is not open yet needs a number of its own, the same for the same position.
    keys = trades.account << 32 | trades.instrument
    fresh = row < 0
    if fresh.any():
        row[fresh] = -2 - np.unique(keys[fresh], return_inverse=True)[1].reshape(-1)
    cost, realised = np.zeros(row.size, np.int64), np.zeros(row.size, np.int64)
    apply_paid(
        state.book, state.facts, row, trades.instrument, trades.lots, trades.paid, cost, realised
    )
    account, instrument, lots, price = (
        trades.account,
        trades.instrument,
        trades.lots,
        trades.price,
    )
    effects: list[Decision] = []
    remainder: dict[int, int] = {}
    outside: list[tuple[int, int, int, int]] = []
    for i, net, paid, last in _totals(state, trades):
        if net:
            outside.append((i, -net, -paid, last))
        elif paid:
            # Two sides rounded against themselves: more was paid than received.
            asset = settlement(state, i)
            remainder[asset] = remainder.get(asset, 0) + paid
    if outside:
        more = np.array(outside, np.int64)
        account = np.concatenate([account, np.full(len(outside), EXTERNAL, np.int64)])
        instrument = np.concatenate([instrument, more[:, 0]])
        lots = np.concatenate([lots, more[:, 1]])
        cost = np.concatenate([cost, more[:, 2]])
        price = np.concatenate([price, more[:, 3]])
    effects.append(
        PositionsMoved(
            account=pack(account),
            instrument=pack(instrument),
            lots=pack(lots),
            cost=pack(cost),
            price=pack(price),
            reason=reason,
        )
    )
    effects += realise_effects(state, trades.account, trades.instrument, realised)
    effects += [
        Posted(debit=CLEARING, credit=left_to, asset=asset, amount=Amount(amount), reason=left_as)
        for asset, amount in sorted(remainder.items())
        if amount
    ]
    return effects


def _totals(state: State, trades: Trades) -> Iterator[tuple[int, int, int, int]]:
    """Yield of each traded instrument: itself, net lots, what is paid, and the last price."""
    lots, paid, last = (np.zeros(state.facts.kind.size, np.int64) for _ in range(3))
    np.add.at(lots, trades.instrument, trades.lots)
    np.add.at(paid, trades.instrument, trades.paid)
    last[trades.instrument] = trades.price  # of several, numpy keeps the last
    for i in np.flatnonzero(np.bincount(trades.instrument)).tolist():
        yield i, int(lots[i]), int(paid[i]), int(last[i])


def realise_effects(state: State, account: I64, instrument: I64, realised: I64) -> list[Decision]:
    """Return the postings of realised profit, one batch an asset, paid by CLEARING."""
    asset = state.facts.coin[instrument]
    effects: list[Decision] = []
    for one in (np.flatnonzero(np.bincount(asset[realised != 0] + 1)) - 1).tolist():
        here = (asset == one) & (realised != 0)
        effects.append(
            PostedBatch(
                counter=CLEARING,
                asset=CASH if one < 0 else int(one),
                account=pack(account[here]),
                amount=pack(realised[here]),
                reason="realised",
            )
        )
    return effects
