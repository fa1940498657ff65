"""What falls due by itself or was decided elsewhere: funding, interest, recorded closes."""

import numpy as np

from tidegate.domain.book import (
    EXTERNAL,
    FIRST_USER,
    ROUNDING,
    TREASURY,
)
from tidegate.domain.effects import (
    Decision,
    Posted,
    PostedBatch,
)
from tidegate.domain.events import (
    FundingPaid,
    InterestAccrued,
    LiquidationReported,
)
from tidegate.domain.instrument import CASH, Kind
from tidegate.domain.units import PPB, Amount, pack
from tidegate.engine.booking import Trades, book_trades, settlement
from tidegate.engine.ledger import account_refusal, asset_refusal, balance, balance_max, rejected
from tidegate.engine.state import State
from tidegate.kernels.fills import funding_due, interest_due
from tidegate.safeguards.stack import Stack


def on_funding(state: State, event: FundingPaid, stack: Stack) -> list[Decision]:
    """Let longs pay shorts (or the other way): every holder at once, the remainder to ROUNDING."""
    i, rate = event.instrument, event.rate
    if not 0 <= i < len(stack.venue.instruments) or stack.facts.kind[i] == Kind.SPOT:
        return rejected("instrument_unknown", f"funding of instrument {i}")
    if not -PPB <= rate <= PPB:
        return rejected("rate_out_of_range", f"{rate} ppb")
    if not state.mark[i]:
        return rejected("instrument_has_no_mark", f"funding of instrument {i}")
    if rate == 0:
        return []
    n = state.book.high
    account, amount = np.zeros(n, np.int64), np.zeros(n, np.int64)
    used = funding_due(state.book, state.facts, state.mark, i, rate, EXTERNAL, account, amount)
    account, amount = account[:used], amount[:used]
    if not used:
        return []
    asset = settlement(state, i)
    # The payers' sum is at least the receivers': ROUNDING keeps the difference.
    return [
        PostedBatch(
            counter=ROUNDING,
            asset=CASH if asset < 0 else asset,
            account=pack(account),
            amount=pack(amount),
            reason="funding",
        )
    ]


def on_interest(state: State, event: InterestAccrued, stack: Stack) -> list[Decision]:
    """Charge interest on every debt in one asset, rounded up, to the treasury."""
    if refusal := asset_refusal(stack, event.asset):
        return refusal
    if not 0 <= event.rate <= PPB:
        return rejected("rate_out_of_range", f"{event.rate} ppb")
    if event.rate == 0:
        return []
    n = max(state.book.high, state.book.accounts)
    account, amount = np.zeros(n, np.int64), np.zeros(n, np.int64)
    used = interest_due(
        state.book, event.asset, event.rate, FIRST_USER, state.book.accounts, account, amount
    )
    if not used:
        return []
    return [
        PostedBatch(
            counter=TREASURY,
            asset=event.asset,
            account=pack(account[:used]),
            amount=pack(amount[:used]),
            reason="interest",
        )
    ]


def on_reported(state: State, event: LiquidationReported, stack: Stack) -> list[Decision]:
    """Book what a recorded venue did: lots left the account, cash came in, nothing is decided."""
    a, i = event.account, event.instrument
    if refusal := account_refusal(state, a):
        return refusal
    if not 0 <= i < len(stack.venue.instruments):
        return rejected("instrument_unknown", f"instrument {i}")
    after = balance(state, a, i) - event.lots
    cash = int(state.book.cash[a]) + event.cash
    if abs(after) > balance_max(stack, i) or abs(cash) > stack.venue.limits.balance_max:
        return rejected("amount_exceeds_limit", f"liquidation of account {a}")
    one = np.array([a], np.int64)
    effects: list[Decision] = []
    if event.lots:
        trades = Trades(
            account=one,
            instrument=np.array([i], np.int64),
            lots=np.array([-event.lots], np.int64),
            price=state.mark[i : i + 1].copy(),
            paid=np.array([-event.cash], np.int64),
        )
        return book_trades(state, trades, "reported")
    if event.cash:
        effects.append(
            Posted(
                debit=EXTERNAL, credit=a, asset=CASH, amount=Amount(event.cash), reason="reported"
            )
        )
    return effects
