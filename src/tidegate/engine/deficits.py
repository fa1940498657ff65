"""From deficits to who pays: deleveraging of the bankrupt, fund tranches, socialisation."""

from dataclasses import dataclass

import numpy as np

from tidegate.domain.book import FIRST_USER, FUND, TREASURY, Health
from tidegate.domain.effects import Decision, DeficitFound, Deleveraged, Posted, PostedBatch
from tidegate.domain.instrument import CASH
from tidegate.domain.payers import ClaimsMoved
from tidegate.domain.units import I64, PPM, Amount, Money, Ticks, pack, unpack
from tidegate.engine.booking import Trades, book_trades, trades_at
from tidegate.engine.liquidation import capacity
from tidegate.engine.market import View
from tidegate.engine.pace import deficit_for
from tidegate.engine.state import State
from tidegate.engine.turns import Turns, early, market_of, pair_up, settle_pairs
from tidegate.kernels.allocate import largest_remainder
from tidegate.kernels.deleverage import parts_up, pooled, rows_by_instrument, unsold_accounts
from tidegate.kernels.order import distinct, stable_order
from tidegate.kernels.portfolio import open_lots
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.stack import Stack, gate_column
from tidegate.safeguards.waterfall import Closing, Waterfall


@dataclass(frozen=True, slots=True)
class Pool:
    """All bankrupt positions of one instrument and side, deepest account first."""

    instrument: int
    side: int
    row: I64
    lots: I64  # positive
    deficit: I64  # Money, each position's share of what its account lacks


@dataclass(slots=True)
class Purse:
    """The fund as this step draws on it: what each tranche has left, and the losses so far."""

    waterfall: Waterfall
    money: list[int]
    lost: int
    market: str = ""  # whose deficits are paid now; some tranches pay those of one market alone

    @classmethod
    def of(cls, state: State, stack: Stack) -> "Purse":
        """Return the purse at the start of a step."""
        waterfall = stack.declaration.waterfall
        money = [int(state.book.cash[FUND + k]) for k in range(len(waterfall.tranches))]
        return cls(waterfall=waterfall, money=money, lost=state.lost)

    def offer(self, deficit: int) -> list[int]:
        """Return what each tranche would pay of ``deficit``."""
        return self.waterfall.draws(deficit, balance=self.money, lost=self.lost, market=self.market)

    def draw(self, deficit: int) -> list[int]:
        """Take from the tranches what they offer for ``deficit``; return it by tranche."""
        paid = self.offer(deficit)
        self.money = [m - p for m, p in zip(self.money, paid, strict=True)]
        return paid


def settle(
    state: State, view: View, health: Health, rung: int, stack: Stack, now: int = -1
) -> list[Decision]:
    """Pay what bare accounts owe, then deleverage against the bankrupt the fund will not carry.

    ``health.best`` of every account closed here is raised to zero, so that the planner leaves it.
    """
    purse = Purse.of(state, stack)
    effects = _pay_deficits(state, health, purse, stack)
    waterfall = stack.declaration.waterfall
    at_once, turned = early(state, max(now, state.now), stack)
    effects += turned
    if waterfall.deleverage == "none" or rung >= Rung.HALT:
        return effects
    fund = 0 if at_once else sum(purse.money)
    accounts = _to_deleverage(state, view, health, rung, fund, stack)
    if not accounts.size:
        return effects
    return effects + _deleverage(state, view, health, accounts, purse, stack)


def _deleverage(
    state: State, view: View, health: Health, accounts: I64, purse: Purse, stack: Stack
) -> list[Decision]:
    """Close out bankrupt ``accounts`` pool by pool; return receipts, payments and trades."""
    waterfall, effects, closed = stack.declaration.waterfall, list[Decision](), list[Trades]()
    rows: list[I64] = []
    pools, turns = _pools(state, view, health, accounts, stack), Turns.of(state, view, stack)
    keys = [(p.instrument, p.side, int(p.lots.sum()), int(p.deficit.sum())) for p in pools]
    begin, every = rows_by_instrument(state.book, view.mark.size)
    for at, pool in enumerate(pools):
        purse.market = stack.venue.instruments[pool.instrument].symbol
        lack, lots = int(pool.deficit.sum()), int(pool.lots.sum())
        left = lack - sum(purse.offer(lack)) if waterfall.fund_pays_first else lack
        left = left * waterfall.haircut // PPM
        legs = pair_up(turns, health, keys, at) if waterfall.hedges == "paired" else {}
        asked = -(-lots * waterfall.close_share // PPM)
        closing = waterfall.closing(
            state.book,
            state.facts,
            health,
            mark=view.mark,
            instrument=pool.instrument,
            side=pool.side,
            lots=asked,
            deficit=-(-left * asked // lots),
            turn=turns.turn,
            rows=every[begin[pool.instrument] : begin[pool.instrument + 1]],
        )
        if closing.row.size:
            trades, served, receipt, payments = _close(state, view, pool, closing, left, purse)
            closed.append(trades)
            rows += [served, closing.row]
            effects += [receipt, *payments]
            effects += turns.compared(closing, pool.instrument, pool.side)
            settle_pairs(turns, closing, pool.instrument, legs)
            turns.after(closing, pool.instrument, pool.side)
            purse.lost += receipt.deficit if receipt.fund_paid else 0
            health.best[state.book.account[pool.row]] = 0
            np.subtract.at(health.equity, unpack(receipt.account), unpack(receipt.forgone))
    effects += turns.burdens()
    if closed:
        columns = [
            np.concatenate([getattr(t, name) for t in closed])
            for name in ("account", "instrument", "lots", "price", "paid")
        ]
        effects += book_trades(state, Trades(*columns), "deleveraged", np.concatenate(rows))
    return effects


def _pay_deficits(state: State, health: Health, purse: Purse, stack: Stack) -> list[Decision]:
    """Return the payments for accounts that own nothing any more and owe cash."""
    waterfall, book = purse.waterfall, state.book
    effects: list[Decision] = []
    n = book.accounts
    debtors = np.flatnonzero((book.cash[:n] < 0) & (book.head[:n] < 0))
    for account in debtors[debtors >= FIRST_USER].tolist():
        deficit = -int(book.cash[account])
        i, purse.market = market_of(state, account, stack)
        paid = purse.draw(deficit)
        purse.lost += deficit
        crowd = open_lots(book, i, n) if waterfall.socialise == "open_interest" else None
        rest = deficit - sum(paid)
        payers, shares = waterfall.shares(rest, health, book.cash, crowd)
        shared = int(shares.sum())
        effects.append(
            DeficitFound(
                account=account,
                amount=Money(deficit),
                fund=Money(sum(paid)),
                socialised=Money(shared),
                uncovered=Money(rest - shared),
            )
        )
        # What nobody pays the venue itself now owes, and shows it in its own treasury.
        sources = [(FUND + k, m, "fund") for k, m in enumerate(paid)]
        sources.append((TREASURY, rest - shared, "bad_debt"))
        effects += [
            Posted(debit=debit, credit=account, asset=CASH, amount=Amount(amount), reason=reason)
            for debit, amount, reason in sources
            if amount
        ]
        if shared:
            effects.append(_batch(account, payers, -shares, "socialised"))
            if waterfall.claims:
                effects.append(ClaimsMoved(debtor=account, payer=pack(payers), amount=pack(shares)))
            health.equity[payers] -= shares
            health.best[payers] -= shares
    return effects


def _batch(counter: int, account: I64, amount: I64, reason: str) -> PostedBatch:
    return PostedBatch(
        counter=counter, asset=CASH, account=pack(account), amount=pack(amount), reason=reason
    )


def _to_deleverage(
    state: State, view: View, health: Health, rung: int, fund: int, stack: Stack
) -> I64:
    """Return bankrupt accounts that must be closed out now, deepest first.

    The part of the fund that may be at risk stands behind the smallest deficits first, and only
    behind what one window of the throttle can sell: to wait for a market that cannot take it costs
    the fund and saves nobody. With "bankrupt", everybody is closed out.
    """
    bankrupt = np.flatnonzero((health.equity < 0) & (health.best < 0))
    bankrupt = bankrupt[(bankrupt >= FIRST_USER) & (state.book.head[bankrupt] >= 0)]
    order = bankrupt[stable_order(-health.equity[bankrupt])]
    handed = stack.declaration.never_worse.hands_over
    if stack.declaration.waterfall.deleverage_when == "fund_exhausted" and not handed:
        risked = fund * stack.declaration.waterfall.fund_share // PPM
        carried = int((np.cumsum(-health.equity[order]) <= risked).sum())
        unsold = _unsold(state, view, rung, order[:carried], stack, deficit_for(health, stack))
        order = np.concatenate([unsold, order[carried:]])
    return order[::-1].copy()


def _unsold(
    state: State, view: View, rung: int, accounts: I64, stack: Stack, deficit: Money
) -> I64:
    """Return those of ``accounts`` whose positions one window of the throttle could not sell."""
    if not accounts.size:
        return accounts
    room = [
        [capacity(state, view, rung, i, side, stack, deficit) for side in range(2)]
        for i in range(view.mark.size)
    ]
    return unsold_accounts(state.book, accounts, np.array(room, np.int64))


def _pools(state: State, view: View, health: Health, accounts: I64, stack: Stack) -> list[Pool]:
    """Return the positions of ``accounts``, pooled; each carries its share of the deficit."""
    book, n_rows = state.book, min(state.book.high, accounts.size * view.mark.size)
    row, share = np.empty(n_rows, np.int64), np.empty(n_rows, np.int64)
    free = _closable(state, view, stack)
    n = pooled(book, state.facts, view.mark, free, accounts, health.equity, row, share)
    row, share, lots = row[:n], share[:n], book.lots[row[:n]]
    which, place = distinct(2 * book.instrument[row].astype(np.int64) + (lots > 0))
    pools: list[Pool] = []
    for k, key in enumerate(which.tolist()):
        here = place == k
        pools.append(
            Pool(
                instrument=key // 2,
                side=1 if key % 2 else -1,
                row=row[here],
                lots=np.abs(lots[here]),
                deficit=share[here],
            )
        )
    return pools


def _closable(state: State, view: View, stack: Stack) -> I64:
    """Return 1 for each instrument that may be deleveraged in: a good price, its coin's too."""
    worst = stack.declaration.oracle.deleverage_at_worst
    good = gate_column(view.quality, worst) * (view.shut == 0)
    return good * np.where(state.facts.coin >= 0, good[state.facts.coin], 1)


def _close(
    state: State,
    view: View,
    pool: Pool,
    closing: Closing,
    left: int,
    purse: Purse,
) -> tuple[Trades, I64, Deleveraged, list[Decision]]:
    """Return what closes a pool: its trades, the rows of the bankrupt, the receipt, the payments.

    The bankrupt are served deepest first until the winners' lots are used up. Each of them gets the
    mark plus its own deficit for the lots closed (rounded up): from the fund, where that pays
    first, and for the rest from the winners in proportion to their lots, so all at one price.

    ``left`` is what the winners were chosen to give up for the whole pool; for a part of it they
    give up that part. Where the fund, whose layers do not pay in proportion, then falls short, the
    bankrupt keep the difference as debt, and the waterfall meets it when they are bare.
    """
    i, side, book = pool.instrument, pool.side, state.book
    matched = int(closing.lots.sum())
    served = np.minimum(pool.lots, np.maximum(0, matched - (pool.lots.cumsum() - pool.lots)))
    keep = served > 0
    rows, served = pool.row[keep], served[keep]
    bankrupt = book.account[rows].astype(np.int64)
    lack = np.empty(rows.size, np.int64)
    parts_up(pool.deficit[keep], served, pool.lots[keep], lack)
    held = sum(purse.money)
    payments: list[Decision] = []
    paid = 0
    if purse.waterfall.fund_pays_first:
        for k, amount in enumerate(purse.draw(int(lack.sum()))):
            share = np.zeros(lack.size, np.int64)
            largest_remainder(amount, lack, share)
            lack -= share
            paid += amount
            if amount:
                payments.append(_batch(FUND + k, bankrupt, share, "fund"))
    total = min(int(lack.sum()), -(-left * matched // int(pool.lots.sum())))
    largest_remainder(total, lack.copy(), lack)
    forgone = np.zeros(closing.lots.size, np.int64)
    largest_remainder(total, closing.lots, forgone)
    executed = int(view.mark[i]) + side * _ticks(state, view, i, total // max(1, matched))
    account = np.concatenate([bankrupt, book.account[closing.row].astype(np.int64)])
    lots = np.concatenate([-side * served, side * closing.lots])
    trades = _closing_trades(state, view, i, account, lots, lack, forgone, executed)
    receipt = Deleveraged(
        instrument=i,
        bankrupt=pack(bankrupt),
        closed=pack(-side * served),
        price=Ticks(executed),
        mark=Ticks(int(view.mark[i])),
        deficit=Money(paid + total),
        fund=Money(held),
        fund_paid=Money(paid),
        account=pack(book.account[closing.row]),
        lots=pack(side * closing.lots),
        forgone=pack(forgone),
        rank=pack(closing.rank),
        candidates=closing.candidates,
        rule=purse.waterfall.deleverage,
    )
    return trades, rows, receipt, payments


def _closing_trades(
    state: State,
    view: View,
    i: int,
    account: I64,
    lots: I64,
    lack: I64,
    forgone: I64,
    executed: int,
) -> Trades:
    """Return trades at the mark, shifted by what the winners give up and the bankrupt receive."""
    instrument = np.full(lots.size, i, np.int64)
    at_mark = trades_at(state, account, instrument, lots, np.full(lots.size, view.mark[i]))
    extra = np.concatenate([-_settled(state, view, i, lack), _settled(state, view, i, forgone)])
    if state.facts.coin[i] >= 0:
        # Rounded up on both sides; the last winner takes the difference, at most one unit a row.
        extra[-1] -= int(extra.sum())
    return Trades(
        account=account,
        instrument=instrument,
        lots=lots,
        price=np.full(lots.size, executed, np.int64),
        paid=at_mark.paid + extra,
    )


def _settled(state: State, view: View, i: int, money: I64) -> I64:
    """Return Money amounts in the instrument's settlement asset, rounded up."""
    coin = int(state.facts.coin[i])
    if coin < 0:
        return money
    price = int(view.mark[coin]) * int(state.facts.tick_value[coin])
    units = int(state.facts.units[coin])
    out = np.empty_like(money)
    parts_up(money, np.full_like(money, units), np.full_like(money, max(price, 1)), out)
    return out


def _ticks(state: State, view: View, i: int, per_lot: int) -> int:
    """Return Money per lot as ticks of a linear instrument; for readers of receipts."""
    tick_value = int(state.facts.tick_value[i])
    if tick_value:
        return per_lot // tick_value
    face = max(1, int(state.facts.face[i]))
    return int(view.mark[i]) * per_lot // face
