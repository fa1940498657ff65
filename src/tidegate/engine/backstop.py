"""Who takes over what the market does not: committed providers, asked account by account."""

from dataclasses import dataclass, field

import numpy as np

from tidegate.domain.backing import OFFERS
from tidegate.domain.book import FIRST_USER, FUND, Health, row_of
from tidegate.domain.effects import (
    Decision,
    GuardMoved,
    PostedBatch,
    TakenOver,
    WaitingMoved,
)
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import CASH, Kind
from tidegate.domain.units import I64, PPM, Nanos, pack
from tidegate.engine.admission import margin_refusal
from tidegate.engine.booking import Trades, book_trades, trades_at
from tidegate.engine.commitments import free_margin
from tidegate.engine.deficits import Purse
from tidegate.engine.following import facts_now
from tidegate.engine.ledger import account_rows
from tidegate.engine.market import View
from tidegate.engine.pool import LoanDesk
from tidegate.engine.redistribution import Sharing
from tidegate.engine.state import State
from tidegate.kernels.margin import position_initial
from tidegate.kernels.offers import (
    STAIRS,
    best_offers,
    in_distress,
    loss_rate,
    open_interest,
    rooms,
)
from tidegate.kernels.value import notional
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.oracle import Action
from tidegate.safeguards.stack import Stack


def take_over(
    state: State, view: View, health: Health, rung: int, now: int, stack: Stack
) -> list[Decision]:
    """Return this step's takeovers. Nobody whom they touch is closed otherwise in this step.

    ``health.best`` and ``health.equity`` of accounts given up, and ``health.equity`` of providers,
    become zero: neither the planner nor the waterfall will choose a position that moved already.
    """
    policy = stack.declaration.backstop
    if not policy.on:
        return []
    effects = _waiting(state, health, now)
    if rung >= Rung.HALT:
        return effects
    accounts = _asked(state, health, now, stack)
    if not accounts:
        return effects
    loans = LoanDesk.of(state, view, stack)
    taken = [a for a in accounts if loans.take(a)]
    _leave_alone(health, taken)
    sharing = Sharing(state, view, health, stack)
    if policy.redistribute:
        for account in accounts:
            if health.best[account] < 0:
                sharing.take(account)
    table = Table(state, view, health, stack, now, Purse.of(state, stack))
    table.promised = _bare(state)
    if _has_rows(state, loans):
        for account in accounts:
            if health.best[account] < 0:
                table.offer(account)
    return [*effects, *loans.effects, *sharing.effects, *table.effects()]


def _has_rows(state: State, loans: LoanDesk) -> bool:
    """Return whether every provider that commits could open its position, beside the pool."""
    b = state.backing
    pairs = zip(b.offer_account.tolist(), b.offer_instrument.tolist(), strict=True)
    open_to = (b.offer_long + b.offer_short).tolist()
    used = [one for one, most in zip(pairs, open_to, strict=True) if most]
    fresh = sum(row_of(state.book, a, i) < 0 for a, i in used)
    return fresh + loans.rows <= state.book.rows_left


def _bare(state: State) -> int:
    """Return what those owe who own nothing any more: the fund pays them first, in this step."""
    n = state.book.accounts
    cash, head = state.book.cash[FIRST_USER:n], state.book.head[FIRST_USER:n]
    return -sum(cash[(cash < 0) & (head < 0)].tolist())


def _leave_alone(health: Health, accounts: list[int]) -> None:
    health.best[accounts] = 0
    health.equity[accounts] = 0


def _waiting(state: State, health: Health, now: int) -> list[Decision]:
    """Return who fell below maintenance with this step, and who is no longer below."""
    n = health.best.size
    waits, below = state.backing.since[:n] >= 0, health.best < 0
    below[:FIRST_USER] = False
    begun, over = np.flatnonzero(below & ~waits), np.flatnonzero(waits & ~below)
    if not begun.size and not over.size:
        return []
    return [WaitingMoved(begun=pack(begun), over=pack(over), at=Nanos(now))]


def _asked(state: State, health: Health, now: int, stack: Stack) -> list[int]:
    """Return the accounts to be offered, those with the most equity for their margin first."""
    policy = stack.declaration.backstop
    out = np.zeros(health.best.size, np.int64)
    n = in_distress(
        state.book,
        health.best,
        health.equity,
        health.required,
        state.backing.since,
        now,
        policy.equity_below,
        policy.patience_ns,
        out,
    )

    def place(account: int) -> int:
        return -int(health.equity[account]) * PPM // max(int(health.required[account]), 1)

    return sorted(out[:n].tolist(), key=place)


@dataclass(frozen=True, slots=True)
class Fill:
    """One provider takes lots of one account at one discount."""

    account: int
    provider: int
    instrument: int
    lots: int  # signed change of the account
    discount: int
    forgone: int  # Money, by the account
    fed: int  # Money of it, to the fund


@dataclass(slots=True)
class Table:
    """Where accounts are offered in turn; remembers what this step has already taken."""

    state: State
    view: View
    health: Health
    stack: Stack
    now: int
    purse: Purse
    fills: list[Fill] = field(default_factory=list[Fill])
    held: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    free: dict[int, int] = field(default_factory=dict[int, int])
    market: dict[int, int] = field(default_factory=dict[int, int])  # Money taken in this step
    owner: dict[int, int] = field(default_factory=dict[int, int])
    healthy: dict[tuple[int, int], list[int]] = field(
        default_factory=dict[tuple[int, int], list[int]]
    )
    cheapest: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    dry: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    facts: Facts | None = None  # by which positions are opened now, once asked for
    promised: int = 0  # Money of the fund that bankrupt accounts will need

    def offer(self, account: int) -> None:
        """Offer the contracts of one account; take nothing that would cost others their money.

        An account with equity gives up no more than that; for one without, the fund must be able
        to pay what is missing, the discount included, or the waterfall is left to decide.
        """
        book = self.state.book
        rows = [
            row
            for row in account_rows(self.state, account)
            if book.lots[row] and self.state.facts.kind[book.instrument[row]] != Kind.SPOT
        ]
        sizes = [self._size(int(book.instrument[row]), int(book.lots[row])) for row in rows]
        total, equity = sum(sizes), int(self.health.equity[account])
        if equity < 0 and not self.stack.declaration.backstop.fund_bears:
            return
        limit = self.stack.declaration.backstop.discount_max
        if equity >= 0:
            limit = min(limit, int(loss_rate(equity, total)))
        before = (dict(self.held), dict(self.free), dict(self.market), dict(self.owner))
        fills: list[Fill] = []
        left = equity
        for row in rows:
            for fill in self._fills(account, row, limit):
                forgone = min(fill.forgone, left) if equity >= 0 else fill.forgone
                left -= forgone
                fills.append(self._split(fill, forgone))
        if equity < 0 and fills:
            taken = sum(self._size(f.instrument, f.lots) for f in fills)
            lack = -(equity * taken // total) + sum(f.forgone for f in fills)
            if sum(self.purse.offer(self.promised + lack)) < self.promised + lack:
                self.held, self.free, self.market, self.owner = before
                return
            self.promised += lack
        if fills:
            self.fills += fills
            _leave_alone(self.health, [account])
            self.health.equity[[f.provider for f in fills]] = 0

    def _size(self, i: int, lots: int) -> int:
        return int(notional(self.state.facts, i, lots, int(self.view.mark[i])))

    def _split(self, fill: Fill, forgone: int) -> Fill:
        """Return the fill with what the account gives up, and the fund's part of it."""
        share = self.stack.declaration.backstop.provider_share
        part = forgone * share // PPM
        fed = forgone - part if self.stack.declaration.waterfall.tranches else 0
        return Fill(
            account=fill.account,
            provider=fill.provider,
            instrument=fill.instrument,
            lots=fill.lots,
            discount=fill.discount,
            forgone=part + fed,
            fed=fed,
        )

    def _fills(self, account: int, row: int, limit: int) -> list[Fill]:
        """Return what providers take of one position, and remember it."""
        book, backing = self.state.book, self.state.backing
        i, lots = int(book.instrument[row]), int(book.lots[row])
        side = 1 if lots > 0 else -1
        want = min(abs(lots), self._guarded(account, i))
        if want <= 0 or (i, side) in self.dry or not self._good(i):
            return []
        offers = self._offers(account, i, side, limit)
        if not offers:
            return []
        slot = np.array(offers, np.int64)
        most = (backing.offer_long if side > 0 else backing.offer_short)[slot]
        provider = backing.offer_account[slot].tolist()
        held = np.array([self._held(p, i) for p in provider], np.int64)
        free = np.array([self._free(p) for p in provider], np.int64)
        room, mark = np.zeros(slot.size, np.int64), int(self.view.mark[i])
        crowd = int(open_interest(book, i))
        rooms(self._facts(), i, held, side, most, mark, crowd, free, room)
        if not room.any():
            if slot.size == len(self._healthy(i, side)):
                self.dry.add((i, side))
            return []
        held *= side
        out = [np.zeros((STAIRS + 1) * slot.size, np.int64) for _ in range(3)]
        discount, slope = backing.offer_discount[slot], backing.offer_slope[slot]
        n = best_offers(want, limit, held, most, room, discount, slope, *out)
        fills: list[Fill] = []
        for k, size, price in zip(*(column[:n].tolist() for column in out), strict=True):
            if not self._bears(provider[k], i, side * size):
                continue
            self._remember(account, provider[k], i, side * size)
            fills.append(
                Fill(
                    account=account,
                    provider=provider[k],
                    instrument=i,
                    lots=-side * size,
                    discount=price,
                    forgone=self._size(i, size) * price // PPM,
                    fed=0,
                )
            )
        return fills

    def _facts(self) -> Facts:
        """Return the facts by which a position is opened now, computed once."""
        if self.facts is None:
            self.facts = facts_now(self.state, self.stack)
        return self.facts

    def _bears(self, provider: int, i: int, change: int) -> bool:
        """Return whether margin lets a provider take this, where lots alone do not tell.

        Tiers of a whole owner, stable prices and the price of waiting are asked for account by
        account: such a provider takes one position in a step.
        """
        declaration = self.stack.declaration
        stable, wait = declaration.oracle.stable.growth, declaration.wait.active
        if not (declaration.margin.group_tiers or stable or wait):
            return True
        if any(who == provider for who, _ in self.held):
            return False
        columns = (np.array([n], np.int64) for n in (provider, i, change, int(self.view.mark[i])))
        cost = int(trades_at(self.state, *columns).paid[0])
        mark = self.view.mark
        return not margin_refusal(self.state, provider, i, change, self.stack, cost=cost, mark=mark)

    def _good(self, i: int) -> bool:
        oracle, coin = self.stack.declaration.oracle, int(self.state.facts.coin[i])
        prices = {i, coin} - {CASH}
        return all(
            self.view.mark[p]
            and self.view.free(p)
            and oracle.admits(Action.DELEVERAGE, int(self.view.quality[p]))
            for p in prices
        )

    def _healthy(self, i: int, side: int) -> list[int]:
        """Return the slots of offers in ``i`` whose providers are healthy and idle in it.

        Who has committed nothing on a side, or nothing any more, is not asked to reduce there.
        """
        key = (i, side)
        if key not in self.healthy:
            backing = self.state.backing
            used = int(backing.counts[OFFERS])
            most = (backing.offer_long if side > 0 else backing.offer_short)[:used]
            here = (backing.offer_instrument[:used] == i) & (most > 0)
            self.healthy[key] = [
                slot
                for slot in np.flatnonzero(here).tolist()
                if self.health.best[backing.offer_account[slot]] >= 0
                and not self._flying(int(backing.offer_account[slot]), i)
            ]
            asked = backing.offer_discount[self.healthy[key]]
            self.cheapest[key] = int(asked.min(initial=PPM + 1))
        return self.healthy[key]

    def _flying(self, account: int, i: int) -> bool:
        row = row_of(self.state.book, account, i)
        return row >= 0 and bool(self.state.book.in_flight[row])

    def _offers(self, account: int, i: int, side: int, limit: int) -> list[int]:
        """Return the slots of offers that may take from ``account``; none where all ask more."""
        book, backing = self.state.book, self.state.backing
        owner, healthy = book.owner[account], self._healthy(i, side)
        if limit < self.cheapest[i, side]:
            return []
        return [k for k in healthy if book.owner[backing.offer_account[k]] != owner]

    def _held(self, provider: int, i: int) -> int:
        if (provider, i) in self.held:
            return self.held[provider, i]
        row = row_of(self.state.book, provider, i)
        return int(self.state.book.lots[row]) if row >= 0 else 0

    def _free(self, provider: int) -> int:
        if provider not in self.free:
            self.free[provider] = free_margin(self.state, self.view.mark, provider, self._facts())
        return self.free[provider]

    def _remember(self, account: int, provider: int, i: int, change: int) -> None:
        before, mark = self._held(provider, i), int(self.view.mark[i])
        crowd = int(open_interest(self.state.book, i))
        dues = [
            int(position_initial(self._facts(), i, lots, mark, crowd))
            for lots in (before, before + change)
        ]
        self.free[provider] = self._free(provider) - (dues[1] - dues[0]) - 2  # two roundings
        self.held[provider, i] = before + change
        size, owner = self._size(i, change), int(self.state.book.owner[account])
        self.market[i] = self.market.get(i, 0) + size
        self.owner[owner] = self.owner.get(owner, 0) + size

    def _guarded(self, account: int, i: int) -> int:
        """Return the lots that the guards of the market and of the owner let pass."""
        lot = max(1, self._size(i, 1))
        owner = int(self.state.book.owner[account])
        room = min(
            self._bucket(i)[0] - self.market.get(i, 0),
            self._owner_bucket(owner)[0] - self.owner.get(owner, 0),
        )
        return max(0, room) // lot

    def _bucket(self, i: int) -> tuple[int, int]:
        policy, backing = self.stack.declaration.backstop, self.state.backing
        elapsed = self.now - int(backing.market_at[i])
        return policy.room(
            most=policy.market_max, spent=int(backing.market_spent[i]), elapsed=elapsed
        )

    def _owner_bucket(self, owner: int) -> tuple[int, int]:
        policy, backing = self.stack.declaration.backstop, self.state.backing
        elapsed = self.now - int(backing.owner_at[owner])
        return policy.room(
            most=policy.account_max, spent=int(backing.owner_spent[owner]), elapsed=elapsed
        )

    def effects(self) -> list[Decision]:
        """Return everything that was taken: receipt, trades, the fund's part, and the guards."""
        if not self.fills:
            return []
        columns = {
            name: np.array([getattr(f, name) for f in self.fills], np.int64)
            for name in Fill.__slots__
        }
        account, fed, i = columns["account"], columns["fed"], columns["instrument"]
        receipt = TakenOver(
            **{name: pack(column) for name, column in columns.items()}, mark=pack(self.view.mark[i])
        )
        effects: list[Decision] = [receipt]
        effects += book_trades(self.state, self._trades(columns), "backstop")
        symbols = tuple(one.symbol for one in self.stack.venue.instruments)
        tranche = np.array(self.stack.declaration.waterfall.fed(symbols), np.int64)[i]
        effects += [
            PostedBatch(
                counter=FUND + k,
                asset=CASH,
                account=pack(account[here]),
                amount=pack(-fed[here]),
                reason="penalty",
            )
            for k in np.unique(tranche[fed > 0]).tolist()
            for here in ((fed > 0) & (tranche == k),)
        ]
        return [*effects, *self._guards()]

    def _trades(self, columns: dict[str, I64]) -> Trades:
        """Return both sides at the mark, moved by what the provider is given."""
        i, lots = columns["instrument"], columns["lots"]
        both, mark = np.concatenate([i, i]), self.view.mark[i]
        who = np.concatenate([columns["account"], columns["provider"]])
        signed = np.concatenate([lots, -lots])
        at_mark = trades_at(self.state, who, both, signed, self.view.mark[both])
        given = (columns["forgone"] - columns["fed"]).tolist()
        up = [self._settled(k, m, up=True) for k, m in zip(i.tolist(), given, strict=True)]
        down = [self._settled(k, m, up=False) for k, m in zip(i.tolist(), given, strict=True)]
        shift = np.sign(lots) * (mark * columns["discount"] // PPM)
        return Trades(
            account=who,
            instrument=both,
            lots=signed,
            price=np.concatenate([mark + shift, mark + shift]),
            paid=at_mark.paid + np.array(up + [-m for m in down], np.int64),
        )

    def _settled(self, i: int, money: int, *, up: bool) -> int:
        """Return Money in the instrument's settlement asset, rounded up or down."""
        coin = int(self.state.facts.coin[i])
        if coin < 0:
            return money
        price = max(1, int(self.view.mark[coin]) * int(self.state.facts.tick_value[coin]))
        units = money * int(self.state.facts.units[coin])
        return -(-units // price) if up else units // price

    def _guards(self) -> list[Decision]:
        policy = self.stack.declaration.backstop
        if not policy.market_max and not policy.account_max:
            return []
        markets = sorted(self.market) if policy.market_max else []
        owners = sorted(self.owner) if policy.account_max else []
        spent = [self._bucket(i)[1] + self.market[i] for i in markets]
        owned = [self._owner_bucket(a)[1] + self.owner[a] for a in owners]
        return [
            GuardMoved(
                instrument=pack(np.array(markets, np.int64)),
                market_spent=pack(np.array(spent, np.int64)),
                owner=pack(np.array(owners, np.int64)),
                owner_spent=pack(np.array(owned, np.int64)),
                at=Nanos(self.now),
            )
        ]
