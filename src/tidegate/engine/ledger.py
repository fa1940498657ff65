"""Account events: deposits, withdrawals, trades, transfers, funding and interest.

Each function reads the state and returns effects. A refusal is one `Rejected` with a stable code;
codes are listed in order of precedence in docs/reference/codes.md.
"""

import numpy as np

from tidegate.domain.book import (
    EXTERNAL,
    FIRST_USER,
    row_of,
)
from tidegate.domain.effects import (
    AccountsOpened,
    Decision,
    Posted,
    PostedBatch,
    Rejected,
)
from tidegate.domain.errors import CapacityExceeded
from tidegate.domain.events import (
    AccountOpened,
    BookImported,
    Deposited,
    Traded,
    Transferred,
    Withdrawn,
)
from tidegate.domain.instrument import CASH, Kind
from tidegate.domain.units import Amount, pack, unpack
from tidegate.engine.admission import margin_refusal
from tidegate.engine.booking import book_trades, trades_at
from tidegate.engine.caps import Moved, cap_refusal, moved_caps
from tidegate.engine.restraint import action_refusal, payout_refusal, trade_refusal
from tidegate.engine.state import State
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.oracle import Action
from tidegate.safeguards.stack import Stack


def rejected(code: str, detail: str) -> list[Decision]:
    """Return the one effect of a refused input."""
    return [Rejected(code=code, detail=detail)]


def account_refusal(state: State, account: int) -> list[Decision]:
    """Return a refusal when ``account`` is not a user's row, else nothing."""
    if FIRST_USER <= account < state.book.accounts:
        return []
    return rejected("account_unknown", f"account {account}")


def asset_refusal(stack: Stack, asset: int) -> list[Decision]:
    """Return a refusal when ``asset`` is neither cash nor a spot instrument, else nothing."""
    spot = 0 <= asset < len(stack.venue.instruments) and stack.facts.kind[asset] == Kind.SPOT
    if asset == CASH or spot:
        return []
    return rejected("asset_unknown", f"asset {asset}")


def on_import(state: State, event: BookImported, stack: Stack) -> list[Decision]:
    """Open accounts, then bring cash and positions in from the world outside."""
    facts, first = stack.facts, state.book.accounts
    n = len(event.names)
    if first + n > state.book.cash.size:
        msg = (
            f"accounts_max = {state.book.cash.size:_} cannot hold {first + n:_} accounts (of which "
            f"{FIRST_USER} are the system's); raise limits.accounts_max"
        )
        raise CapacityExceeded(msg)
    if refusal := _import_refusal(event, stack):
        return refusal
    owner, cash = unpack(event.owner), unpack(event.cash)
    account, instrument = unpack(event.account), unpack(event.instrument)
    lots, entry = unpack(event.lots), unpack(event.entry)
    effects: list[Decision] = [AccountsOpened(names=event.names, owner=pack(owner + first))]
    rows = np.arange(first, first + n)
    effects.append(
        PostedBatch(
            counter=EXTERNAL, asset=CASH, account=pack(rows), amount=pack(cash), reason="import"
        )
    )
    spot = facts.kind[instrument] == Kind.SPOT
    for asset in np.unique(instrument[spot]).tolist():
        here = instrument == asset
        effects.append(
            PostedBatch(
                counter=EXTERNAL,
                asset=asset,
                account=pack(account[here] + first),
                amount=pack(lots[here]),
                reason="import",
            )
        )
    held = ~spot & (lots != 0)
    trades = trades_at(state, account[held] + first, instrument[held], lots[held], entry[held])
    return effects + book_trades(state, trades, "import")


def _import_refusal(event: BookImported, stack: Stack) -> list[Decision]:
    facts, n = stack.facts, len(event.names)
    people, positions = (event.owner, event.cash), (event.account, event.instrument, event.lots)
    rows = len(event.entry) // 8
    if any(len(c) != 8 * n for c in people) or any(
        len(c) != 8 * rows for c in (*positions, event.entry)
    ):
        return rejected("columns_differ", f"{n} accounts, {rows} positions")
    owner, cash = unpack(event.owner), unpack(event.cash)
    account, instrument = unpack(event.account), unpack(event.instrument)
    lots, entry = unpack(event.lots), unpack(event.entry)
    bad = (account < 0) | (account >= n) | (instrument < 0) | (instrument >= facts.kind.size)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        return rejected("account_or_instrument_unknown", f"row {at} of the imported positions")
    if ((owner < 0) | (owner >= n)).any():
        return rejected("account_or_instrument_unknown", "an owner of the imported accounts")
    most, rich = facts.lots_max[instrument], stack.venue.limits.balance_max
    over = (lots > most) | (lots < -most) | (entry > facts.price_max[instrument])
    too_low = entry < facts.price_min[instrument]
    over |= too_low & (lots != 0) & (facts.kind[instrument] != Kind.SPOT)
    if over.any() or ((cash > rich) | (cash < -rich)).any():
        return rejected("amount_exceeds_limit", "a balance, position or entry is out of range")
    return []


def on_open(state: State, event: AccountOpened, stack: Stack) -> list[Decision]:
    """Give a new account the next row."""
    row = state.book.accounts
    if row >= state.book.cash.size:
        msg = f"accounts_max = {row:_} accounts are open; raise limits.accounts_max and restart"
        raise CapacityExceeded(msg)
    owner = row if event.owner < 0 else event.owner
    if owner != row and (refusal := account_refusal(state, owner)):
        return refusal
    del stack
    return [AccountsOpened(names=(event.name,), owner=pack(np.array([owner])))]


def balance(state: State, account: int, asset: int) -> int:
    """Return how much of ``asset`` an account holds; negative: owes."""
    if asset == CASH:
        return int(state.book.cash[account])
    row = row_of(state.book, account, asset)
    return int(state.book.lots[row]) if row >= 0 else 0


def balance_max(stack: Stack, asset: int) -> int:
    """Return the largest balance of ``asset`` the range proof allows for."""
    if asset == CASH:
        return stack.venue.limits.balance_max
    return stack.venue.instruments[asset].lots_max


def on_deposit(state: State, event: Deposited, stack: Stack) -> list[Decision]:
    """Credit an account from the world outside; gated by its own flag only: it can only help."""
    a, asset, amount = event.account, event.asset, event.amount
    if refusal := account_refusal(state, a) or asset_refusal(stack, asset):
        return refusal
    if amount <= 0:
        return rejected("amount_must_be_positive", f"deposit of {amount}")
    if refusal := action_refusal(state, asset, "deposit"):
        return refusal
    if balance(state, a, asset) + amount > balance_max(stack, asset):
        return rejected("amount_exceeds_limit", f"deposit of {amount} to account {a}")
    row = row_of(state.book, a, asset) if asset != CASH else -1
    flying = int(state.book.in_flight[row]) if row >= 0 else 0
    if flying > 0 and int(state.book.lots[row]) + amount > -flying:
        # A debt is being bought back: what is on its way would become a position.
        return rejected("liquidation_in_flight", f"account {a}, asset {asset}")
    return [Posted(debit=EXTERNAL, credit=a, asset=asset, amount=amount, reason="deposit")]


def on_withdrawal(state: State, event: Withdrawn, stack: Stack) -> list[Decision]:
    """Pay out, or lend, when the account stays above initial margin at a price we trust."""
    a, asset, amount = event.account, event.asset, event.amount
    if refusal := account_refusal(state, a) or asset_refusal(stack, asset):
        return refusal
    if amount <= 0:
        return rejected("amount_must_be_positive", f"withdrawal of {amount}")
    if balance(state, a, asset) - amount < -balance_max(stack, asset):
        return rejected("amount_exceeds_limit", f"withdrawal of {amount} from account {a}")
    if not event.settled and (refusal := _withdrawal_refusal(state, event, stack)):
        return refusal
    moved = (Moved(a, asset, -amount),)
    if not event.settled and (refusal := cap_refusal(state, moved, event.ts, stack)):
        return refusal
    paid = Posted(debit=a, credit=EXTERNAL, asset=asset, amount=amount, reason="withdraw")
    return [paid, *moved_caps(state, moved, event.ts, stack)]


def _withdrawal_refusal(state: State, event: Withdrawn, stack: Stack) -> list[Decision]:
    account, asset, amount = event.account, event.asset, event.amount
    borrows = balance(state, account, asset) < amount
    for action in ("withdraw", "borrow") if borrows else ("withdraw",):
        if refusal := action_refusal(state, asset, action):
            return refusal
    if asset != CASH:
        row = row_of(state.book, account, asset)
        if row >= 0 and state.book.in_flight[row]:
            return rejected("liquidation_in_flight", f"account {account}, asset {asset}")
    if borrows and not _borrowable(state, asset):
        return rejected("asset_not_borrowable", f"account {account}, {amount} of asset {asset}")
    if refusal := price_refusal(state, account, asset, stack):
        return refusal
    paid = amount if asset == CASH else 0
    why = margin_refusal(state, account, asset, -amount, stack, cash=-paid, taking=True)
    return rejected(why, f"withdrawal of {amount} from account {account}") if why else []


def _debt_refusal(
    state: State, event: Traded, account: int, change: int, stack: Stack
) -> list[Decision]:
    """Refuse a trade that leaves a debt, of the asset or of cash, which the venue does not lend."""
    i = event.instrument
    if stack.facts.kind[i] != Kind.SPOT:
        return []
    one, lots = np.array([i], np.int64), np.array([change], np.int64)
    price = np.array([event.price], np.int64)
    paid = int(trades_at(state, np.array([account], np.int64), one, lots, price).paid[0])
    for asset, moved in ((i, change), (CASH, -paid)):
        after = balance(state, account, asset) + moved
        if moved < 0 and after < 0 and (refusal := action_refusal(state, asset, "borrow")):
            return refusal
        if moved < 0 and after < 0 and not _borrowable(state, asset):
            return rejected("asset_not_borrowable", f"account {account}, {-after} of asset {asset}")
    return []


def _borrowable(state: State, asset: int) -> bool:
    """Return whether the venue lends ``asset``: whether it asks margin for owing it."""
    if asset == CASH:
        return bool(state.facts.cash_debt[1])
    return bool(state.facts.debt_initial[asset])


def _priced_by(state: State, account: int, also: int) -> list[int]:
    """Return the instruments whose marks value an account, and ``also`` with its coin."""
    held = {int(state.book.instrument[row]) for row in account_rows(state, account)}
    held |= {also} - {CASH}
    return sorted(held | {int(state.facts.coin[i]) for i in held} - {CASH})


def payment_refusal(state: State, account: int, amount: int, stack: Stack) -> list[Decision]:
    """Return why an account may not part with cash for a stake, a deposit or a bond, or nothing.

    It is asked for what a withdrawal is: a price that is good enough, and initial margin.
    """
    if refusal := price_refusal(state, account, CASH, stack):
        return refusal
    why = margin_refusal(state, account, CASH, 0, stack, cash=-amount, taking=True)
    return rejected(why, f"{amount} of account {account}") if why else []


def price_refusal(state: State, account: int, asset: int, stack: Stack) -> list[Decision]:
    """Refuse to pay out against any price, the asset's own included, that is not good enough."""
    priced = _priced_by(state, account, asset)
    if refusal := payout_refusal(state, priced):
        return refusal
    for i in priced:
        if not stack.declaration.oracle.admits(Action.WITHDRAW, int(state.quality[i])):
            return rejected("price_not_good_enough", f"account {account} against instrument {i}")
    return []


def account_rows(state: State, account: int) -> list[int]:
    """Return the position rows of one account, newest first."""
    rows: list[int] = []
    row = int(state.book.head[account])
    while row >= 0:
        rows.append(row)
        row = int(state.book.follow[row])
    return rows


def on_transfer(state: State, event: Transferred, stack: Stack) -> list[Decision]:
    """Move cash between two accounts of one owner, when the giver stays above initial margin."""
    source, target, amount = event.source, event.target, event.amount
    if refusal := account_refusal(state, source) or account_refusal(state, target):
        return refusal
    if amount <= 0:
        return rejected("amount_must_be_positive", f"transfer of {amount}")
    if state.book.owner[source] != state.book.owner[target]:
        return rejected("owners_differ", f"accounts {source} and {target}")
    rich = stack.venue.limits.balance_max
    if amount > balance(state, source, CASH) + rich or amount > rich - balance(state, target, CASH):
        return rejected("amount_exceeds_limit", f"transfer of {amount}")
    if refusal := price_refusal(state, source, CASH, stack):
        return refusal
    why = margin_refusal(state, source, CASH, 0, stack, cash=-amount, taking=True)
    if why:
        return rejected(why, f"transfer of {amount} from account {source}")
    moved = (Moved(source, CASH, -amount), Moved(target, CASH, amount))
    if refusal := cap_refusal(state, moved, event.ts, stack):
        return refusal
    return [
        Posted(debit=source, credit=target, asset=CASH, amount=Amount(amount), reason="transfer"),
        *moved_caps(state, moved, event.ts, stack),
    ]


def on_trade(state: State, event: Traded, stack: Stack) -> list[Decision]:
    """Book a trade that both sides are allowed to make; the world outside is always allowed."""
    i, price, lots = event.instrument, event.price, event.lots
    if not 0 <= i < len(stack.venue.instruments):
        return rejected("instrument_unknown", f"instrument {i}")
    sides = ((event.taker, lots), (event.maker, -lots))
    for account, _ in sides:
        if account != EXTERNAL and (refusal := account_refusal(state, account)):
            return refusal
    if event.taker == event.maker:
        if event.taker == EXTERNAL:
            return []  # other traders' flow: the venue model's business
        return rejected("trade_with_itself", f"account {event.taker}")
    if lots == 0:
        return rejected("amount_must_be_positive", "a trade of no lots")
    if not stack.facts.price_min[i] <= price <= stack.facts.price_max[i]:
        return rejected("price_out_of_range", f"{price} on instrument {i}")
    if not state.mark[i]:
        return rejected("instrument_has_no_mark", f"trade in instrument {i}")
    if event.reduces:
        held = balance(state, event.taker, i)
        lots = max(min(lots, -held), 0) if held < 0 else min(max(lots, -held), 0)
        if lots == 0:
            return rejected("nothing_to_reduce", f"account {event.taker} in instrument {i}")
        sides = ((event.taker, lots), (event.maker, -lots))
    for account, change in sides:
        if account != EXTERNAL and (
            refusal := _trade_refusal(state, event, account, change, stack)
        ):
            return refusal
    users = [(a, change) for a, change in sides if a != EXTERNAL]
    trades = trades_at(
        state,
        np.array([a for a, _ in users], np.int64),
        np.full(len(users), i, np.int64),
        np.array([change for _, change in users], np.int64),
        np.full(len(users), price, np.int64),
    )
    moved = [Moved(a, i, change) for a, change in users]
    if stack.facts.kind[i] == Kind.SPOT:
        paid = zip(users, trades.paid.tolist(), strict=True)
        moved += [Moved(a, CASH, -amount) for (a, _), amount in paid]
    if not event.settled and (refusal := cap_refusal(state, moved, event.ts, stack)):
        return refusal
    return [
        *book_trades(state, trades, "trade"),
        *moved_caps(state, moved, event.ts, stack),
    ]


def _trade_refusal(
    state: State, event: Traded, account: int, change: int, stack: Stack
) -> list[Decision]:
    i, declaration = event.instrument, stack.declaration
    row = row_of(state.book, account, i)
    held = int(state.book.lots[row]) if row >= 0 else 0
    after = held + change
    reduces = abs(after) <= abs(held) and held * after >= 0
    if abs(after) > stack.facts.lots_max[i]:
        return rejected("amount_exceeds_limit", f"position of {after} lots in instrument {i}")
    if event.settled:
        return []
    if refusal := trade_refusal(state, i, event.price, event.ts, reduces=reduces):
        return refusal
    if not reduces and not declaration.oracle.admits(Action.OPEN, int(state.quality[i])):
        return rejected("price_not_good_enough", f"opening in instrument {i}")
    if not reduces and (
        unpriced := [j for j in _priced_by(state, account, i) if not state.mark[j]]
    ):
        return rejected("instrument_has_no_mark", f"account {account} holds {unpriced}")
    if not reduces and state.rung >= Rung.REDUCE_ONLY:
        return rejected("breaker_reduce_only", f"rung {Rung(state.rung).name.lower()}")
    flying = int(state.book.in_flight[row]) if row >= 0 else 0
    if flying and (after * flying >= 0 or abs(after) < abs(flying)):
        # What is in flight must still be a reduction when it is filled.
        return rejected("liquidation_in_flight", f"account {account} in instrument {i}")
    if refusal := _debt_refusal(state, event, account, change, stack):
        return refusal
    paid = trades_at(
        state,
        np.array([account]),
        np.array([i]),
        np.array([change]),
        np.array([event.price]),
    ).paid
    spot = stack.facts.kind[i] == Kind.SPOT
    due = int(paid[0])
    cost, cash = (0, -due) if spot else (due, 0)
    why = margin_refusal(state, account, i, change, stack, cost=cost, cash=cash)
    return rejected(why, f"account {account}, {change} lots of instrument {i}") if why else []
