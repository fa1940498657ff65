"""The shared pool: deposits that repay liquidated loans, and get their collateral for it."""

from dataclasses import dataclass, field

import numpy as np

from tidegate.domain.backing import (
    DEPOSITORS,
    DEPOSITS,
    PRODUCT,
    SCALE,
    SCALES_MAX,
)
from tidegate.domain.book import POOL, row_of
from tidegate.domain.effects import Decision, DepositMoved, PoolMoved, Posted
from tidegate.domain.events import PoolJoined, PoolLeft
from tidegate.domain.instrument import CASH, Kind
from tidegate.domain.units import I64, PPM, Amount, Money, muldiv_up, pack
from tidegate.engine.ledger import account_refusal, account_rows, payment_refusal, rejected
from tidegate.engine.market import View
from tidegate.engine.state import State
from tidegate.kernels.stability import (
    KEPT,
    ONE,
    SCALES,
    SPAN,
    STEP,
    SUM,
    SUM_MAX,
    deposit_now,
    gain_now,
    take_gain,
    take_loss,
)
from tidegate.kernels.stability import PRODUCT as PRODUCT_CELL
from tidegate.kernels.value import worth
from tidegate.safeguards.oracle import Action
from tidegate.safeguards.stack import Stack


@dataclass(slots=True)
class LoanDesk:
    """The pool as this step draws on it."""

    state: State
    view: View
    stack: Stack
    deposits: int
    product: int
    scale: int
    sums: I64
    kept: I64
    rows: int  # that the pool has yet to open, one an asset
    effects: list[Decision] = field(default_factory=list[Decision])

    @classmethod
    def of(cls, state: State, view: View, stack: Stack) -> "LoanDesk":
        """Return the pool at the beginning of a step."""
        deposits, product, scale = state.backing.pool.tolist()
        return cls(
            state=state,
            view=view,
            stack=stack,
            deposits=deposits,
            product=product,
            scale=scale,
            sums=state.backing.pool_sum.copy(),
            kept=state.backing.pool_kept.copy(),
            rows=_unopened(state),
        )

    def take(self, account: int) -> bool:
        """Repay what a loan owes, as far as the pool reaches, for collateral; say whether it did.

        A loan is an account that owes cash and owns balances, and nothing else. Collateral goes in
        proportion from all balances, worth the debt and the penalty, or all of it if that is less:
        then the depositors bear what is missing.
        """
        policy = self.stack.declaration.backstop.pool
        debt = -int(self.state.book.cash[account])
        paid = min(debt, self.deposits - policy.left_min)
        held = self._collateral(account)
        value = sum(size for _, _, size in held)
        if paid <= 0 or value <= 0 or self.rows > self.state.book.rows_left:
            return False
        due = min(paid + paid * policy.penalty // PPM, value * paid // debt)
        lots = [int(muldiv_up(lots, due, value)) for _, lots, _ in held]
        return self._book(account, paid, [i for i, _, _ in held], lots)

    def _collateral(self, account: int) -> list[tuple[int, int, int]]:
        """Return (asset, units, Money) of a loan's balances; nothing where it is more than that.

        Nor where one of them has no price that is good enough: it would be left to the borrower,
        free of debt, while the depositors bear what the others lack.
        """
        book, facts, oracle = self.state.book, self.state.facts, self.stack.declaration.oracle
        found: list[tuple[int, int, int]] = []
        for row in account_rows(self.state, account):
            i, lots = int(book.instrument[row]), int(book.lots[row])
            if facts.kind[i] != Kind.SPOT or lots < 0:
                return []
            if not lots:
                continue
            mark = int(self.view.mark[i])
            good = oracle.admits(Action.DELEVERAGE, int(self.view.quality[i]))
            if not (mark and good and self.view.free(i)):
                return []
            found.append((i, lots, int(worth(facts, self.view.mark, i, lots, 0, mark))))
        return found

    def _book(self, account: int, paid: int, asset: list[int], lots: list[int]) -> bool:
        """Write one takeover down, unless a number of the pool would leave its range."""
        loss = np.zeros(4, np.int64)
        take_loss(self.deposits, paid, self.product, ONE, STEP, loss)
        scale = self.scale + int(loss[SCALES])
        sums: list[int] = []
        kept: list[int] = []
        for i, units in zip(asset, lots, strict=True):
            gain = units + int(self.kept[i])
            if gain >= self.deposits * 2:
                return False  # its sum would leave the range that is proved
            out = np.zeros(4, np.int64)
            take_gain(self.deposits, gain, self.product, out)
            sums.append(int(self.sums[i, self.scale]) + int(out[SUM]))
            kept.append(int(out[KEPT]))
        if scale >= SCALES_MAX or max(sums) > SUM_MAX:
            return False
        self.sums[asset, self.scale] = sums
        self.kept[asset] = kept
        self.deposits -= paid
        self.effects += [
            PoolMoved(
                account=account,
                debt=Money(paid),
                asset=pack(np.array(asset, np.int64)),
                lots=pack(np.array(lots, np.int64)),
                deposits=Money(self.deposits),
                product=int(loss[PRODUCT_CELL]),
                scale=scale,
                at_scale=self.scale,
                sums=pack(np.array(sums, np.int64)),
                kept=pack(np.array(kept, np.int64)),
            ),
            _posted(POOL, account, CASH, paid),
            *(_posted(account, POOL, i, n) for i, n in zip(asset, lots, strict=True) if n),
        ]
        self.product, self.scale = int(loss[PRODUCT_CELL]), scale
        return True


def _unopened(state: State) -> int:
    if not state.backing.pool[DEPOSITS]:
        return 0
    assets = np.flatnonzero(state.facts.kind == Kind.SPOT).tolist()
    return sum(row_of(state.book, POOL, i) < 0 for i in assets)


def _posted(debit: int, credit: int, asset: int, amount: int) -> Posted:
    return Posted(debit=debit, credit=credit, asset=asset, amount=Amount(amount), reason="pool")


def on_join(state: State, event: PoolJoined, stack: Stack) -> list[Decision]:
    """Take a deposit from cash that the account owns and does not need for its margin."""
    if not stack.declaration.backstop.pool.depositors_max:
        return []
    a, amount, backing = event.account, event.amount, state.backing
    if refusal := account_refusal(state, a):
        return refusal
    if amount <= 0:
        return rejected("amount_must_be_positive", f"{amount} for the pool")
    if int(backing.pool[DEPOSITS]) + amount > stack.venue.limits.balance_max:
        return rejected("amount_exceeds_limit", f"{amount} for the pool")
    slot = _slot(state, a)
    if slot == backing.deposit.size:
        return rejected("pool_is_full", f"all {slot} slots are taken")
    begun = slot < int(backing.counts[DEPOSITORS]) and backing.deposit[slot] > 0
    least = stack.declaration.backstop.pool.left_min
    if not begun and amount < least:
        return rejected("deposit_too_small", f"{amount}, and a first deposit is at least {least}")
    if int(state.book.cash[a]) < amount:
        return rejected("asset_not_borrowable", f"account {a}, {amount} for the pool")
    if refusal := payment_refusal(state, a, amount, stack):
        return refusal
    return [_posted(a, POOL, CASH, amount), *_touched(state, slot, a, amount)]


def on_leave(state: State, event: PoolLeft, stack: Stack) -> list[Decision]:
    """Pay out cash, at most what is left of the deposit, and everything it has gained.

    What would be left below ``left_min`` goes along.
    """
    if not stack.declaration.backstop.pool.depositors_max:
        return []
    a, amount = event.account, event.amount
    if refusal := account_refusal(state, a):
        return refusal
    if amount <= 0:
        return rejected("amount_must_be_positive", f"{amount} from the pool")
    slot = _slot(state, a)
    if slot >= int(state.backing.counts[DEPOSITORS]) or state.backing.deposit_account[slot] != a:
        return rejected("no_deposit", f"account {a}")
    held = value_of(state, slot)
    dust = held - amount < stack.declaration.backstop.pool.left_min  # which keeps no slot
    paid = held if dust else amount
    out = [_posted(POOL, a, CASH, paid)] if paid else []
    return [*out, *_touched(state, slot, a, -paid)]


def value_of(state: State, slot: int) -> int:
    """Return what is left of a deposit, in Money, rounded down."""
    b = state.backing
    risen = int(b.pool[SCALE]) - int(b.deposit_scale[slot])
    at, now = int(b.deposit_product[slot]), int(b.pool[PRODUCT])
    return int(deposit_now(int(b.deposit[slot]), at, now, risen, STEP)) if at else 0


def gains_of(state: State, slot: int) -> list[int]:
    """Return what a deposit has gained of every instrument, in its units, rounded down."""
    b = state.backing
    at, scale = int(b.deposit_product[slot]), int(b.deposit_scale[slot])
    if not at:
        return [0] * b.pool_kept.size
    return [
        int(
            gain_now(
                int(b.deposit[slot]),
                at,
                int(b.deposit_sum[slot, i]),
                b.pool_sum[i, scale : scale + SPAN + 1],
                STEP,
            )
        )
        for i in range(b.pool_kept.size)
    ]


def _slot(state: State, account: int) -> int:
    """Return the account's slot, or else the first that is free: emptied, or never used."""
    b = state.backing
    used = int(b.counts[DEPOSITORS])
    mine = np.flatnonzero(b.deposit_account[:used] == account)
    if mine.size:
        return int(mine[0])
    empty = np.flatnonzero(b.deposit[:used] == 0)
    return int(empty[0]) if empty.size else used


def _touched(state: State, slot: int, account: int, change: int) -> list[Decision]:
    """Return a deposit as it is after a change, begun anew, and the payment of its gains."""
    b = state.backing
    mine = slot < int(b.counts[DEPOSITORS]) and b.deposit_account[slot] == account
    left = (value_of(state, slot) if mine else 0) + change
    gains = gains_of(state, slot) if mine else []
    scale = int(b.pool[SCALE])
    moved = DepositMoved(
        slot=slot,
        account=account,
        deposit=Money(left),
        product=int(b.pool[PRODUCT]),
        scale=scale,
        sums=pack(b.pool_sum[:, scale]),
        deposits=Money(int(b.pool[DEPOSITS]) + change),
    )
    return [moved, *(_posted(POOL, account, i, n) for i, n in enumerate(gains) if n)]
