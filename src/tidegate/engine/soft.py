"""Soft liquidation: who is laid into bands, who is spared, who leaves, and what bands offer."""

import numpy as np

from tidegate.domain.banded import NOTHING
from tidegate.domain.book import FIRST_USER, Health, rows_of
from tidegate.domain.effects import (
    BandsBelieved,
    BandsLaid,
    BandsLeft,
    BandsMoved,
    BandsOffered,
    Decision,
    Rejected,
)
from tidegate.domain.events import BandsTaken
from tidegate.domain.instrument import Kind
from tidegate.domain.units import I64, PPM, Money, Nanos, Ppm, pack
from tidegate.engine.booking import Trades, book_trades
from tidegate.engine.market import View
from tidegate.engine.restraint import forced_refusal
from tidegate.engine.state import State
from tidegate.kernels.allocate import largest_remainder
from tidegate.kernels.bands_book import ABOVE, CELL, LOTS, PAID, convert, offered, worths
from tidegate.kernels.depth import executable
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.soft import SoftBands
from tidegate.safeguards.stack import Stack


def tend_bands(state: State, view: View, health: Health, now: int, stack: Stack) -> list[Decision]:
    """Believe the oracle anew, let go who must go, spare the others, lay who comes near, offer.

    ``health.best`` of every account that its bands still carry is raised to what they leave over,
    so that nobody liquidates it meanwhile. Nothing at all without soft liquidation.
    """
    if not stack.declaration.soft.bands:
        return []
    effects, price, fee = believe(state, view, now, stack)
    sound, left = spare(state, health, price, stack)
    laid = lay(state, view, health, price, stack)
    return [*effects, *left, *laid, *offer(state, view, sound, price, fee, stack)]


def believe(state: State, view: View, now: int, stack: Stack) -> tuple[list[Decision], I64, I64]:
    """Return the oracle prices and fees that bands believe now, and the effects that say so.

    Judged anew when the mark moves, and with time while a fee fades or the mark is not reached.
    """
    soft, b, facts = stack.declaration.soft, state.banded, stack.facts
    price, fee = b.price.copy(), b.fee.copy()
    out = np.zeros(2, np.int64)
    effects: list[Decision] = []
    for i in np.flatnonzero((facts.kind == Kind.SPOT) & (view.mark > 0)).tolist():
        mark = int(view.mark[i]) * int(facts.tick_value[i])
        if mark == price[i] and not fee[i]:
            continue
        elapsed = now - int(b.at[i])
        price[i], fee[i] = soft.believed(
            last=int(price[i]), price=mark, elapsed=elapsed, fee=Ppm(int(fee[i])), out=out
        )
        effects.append(
            BandsBelieved(instrument=i, price=int(price[i]), fee=Ppm(int(fee[i])), at=Nanos(now))
        )
    return effects, price, fee


def in_step(state: State, accounts: I64) -> I64:
    """Return which of these accounts in bands still hold exactly the collateral that they laid."""
    b, book = state.banded, state.book
    row = rows_of(book, accounts, b.asset[accounts])
    return np.where(row >= 0, book.lots[row], 0) == b.y[accounts].sum(axis=1)


def slacks(state: State, accounts: I64, price: I64, stack: Stack) -> I64:
    """Return what the bands of each account leave over its debt; below 0 they do not carry it."""
    soft, b = stack.declaration.soft, state.banded
    worth = np.zeros(accounts.size, np.int64)
    worths(b, stack.facts, accounts, price, soft.amp, soft.root, worth)
    debt = b.x[accounts].sum(axis=1) - state.book.cash[accounts]
    return soft.slack(worth=worth, debt=debt)


def spare(state: State, health: Health, price: I64, stack: Stack) -> tuple[I64, list[Decision]]:
    """Return the accounts whose bands may trade, and why others leave theirs.

    Bands that no longer carry a debt are no reason alone: only with the margin gone as well does
    the planner have the account; until then they rest. What bands have received has paid the debt
    already: who received enough owes nothing, and cannot be liquidated.
    """
    soft, b = stack.declaration.soft, state.banded
    accounts = np.flatnonzero(b.asset != NOTHING)
    if not accounts.size:
        return accounts, []
    slack, own = slacks(state, accounts, price, stack), in_step(state, accounts)
    required = health.required[accounts]
    least = required // PPM * soft.equity_min + required % PPM * soft.equity_min // PPM
    sound = np.zeros(accounts.size, np.bool_)
    effects: list[Decision] = []
    for n, a in enumerate(accounts.tolist()):
        got, reason = int(b.x[a].sum()), ""
        if not own[n]:
            reason = "changed"
        elif state.book.cash[a] <= 0 and not b.y[a].any():
            reason = "spent"
        elif health.best[a] < 0 and (slack[n] < 0 or health.equity[a] < least[n]):
            reason = "short"
        elif safe(health, a, got, int(price[b.asset[a]]), int(b.top[a]), soft):
            reason = "recovered"
        if reason:
            effects.append(BandsLeft(account=a, reason=reason))
            continue
        sound[n] = slack[n] >= 0
        health.best[a] = max(int(health.best[a]), int(slack[n]))
    return accounts[sound], effects


def safe(health: Health, a: int, got: int, price: int, top: int, soft: SoftBands) -> bool:
    """Return whether an account has no more use for its bands: twice as far from the line as near.

    It must have bought back what it sold, to one Money a band. Far above its bands nobody needs
    them either, whatever is left in them.
    """
    required = int(health.required[a])
    ample = (int(health.equity[a]) - required) * PPM > 2 * soft.near * required
    return price > ABOVE * top or (got <= soft.bands and ample)


def lay(state: State, view: View, health: Health, price: I64, stack: Stack) -> list[Decision]:
    """Return who is laid into bands: loans near the line that are not yet beyond it."""
    soft, b, book = stack.declaration.soft, state.banded, state.book
    n = book.accounts
    required, equity = health.required[:n], health.equity[:n]
    close = required // PPM * soft.near + required % PPM * soft.near // PPM
    near = (health.best[:n] >= 0) & (equity > 0) & (equity - required < close)
    near &= (b.asset[:n] == NOTHING) & (book.cash[:n] < 0) & (book.head[:n] >= 0)
    near[:FIRST_USER] = False
    worst = stack.declaration.oracle.liquidate_at_worst
    effects: list[Decision] = []
    for a in np.flatnonzero(near).tolist():
        row = int(book.head[a])
        i, held = int(book.instrument[row]), int(book.lots[row])
        alone = book.follow[row] < 0 and not book.in_flight[row] and held > 0
        if not alone or stack.facts.kind[i] != Kind.SPOT or view.quality[i] > worst:
            continue
        debt, unit = Money(-int(book.cash[a])), int(stack.facts.units[i])
        top = soft.place(collateral=held, debt=debt, oracle=int(price[i]), unit=unit)
        y = soft.parts(held)
        if top and soft.carries(y=y, debt=debt, top=top, oracle=int(price[i]), unit=unit):
            effects.append(BandsLaid(account=a, instrument=i, top=top, y=pack(y), debt=debt))
    return effects


def quoted(
    state: State, accounts: I64, price: I64, fee: I64, mark: I64, stack: Stack
) -> tuple[I64, I64]:
    """Return the lots and the payment that each of these accounts would trade now."""
    soft, facts = stack.declaration.soft, stack.facts
    lots, paid = np.zeros(accounts.size, np.int64), np.zeros(accounts.size, np.int64)
    offered(
        state.banded,
        facts,
        accounts,
        price,
        np.maximum(fee, soft.fee),
        mark * facts.tick_value,
        soft.give,
        soft.amp,
        soft.far,
        lots,
        paid,
    )
    return lots, paid


def offer(
    state: State, view: View, accounts: I64, price: I64, fee: I64, stack: Stack
) -> list[Decision]:
    """Return what the bands of each instrument offer now, one side at a time, within depth."""
    if not accounts.size or state.rung >= Rung.HALT:
        return []
    lots, paid = quoted(state, accounts, price, fee, view.mark, stack)
    asset = state.banded.asset[accounts]
    worst = stack.declaration.oracle.liquidate_at_worst
    effects: list[Decision] = []
    for i in np.unique(asset[lots != 0]).tolist():
        for side, sign in ((0, -1), (1, 1)):
            here = (asset == i) & (lots * sign > 0)
            total = int(np.abs(lots[here]).sum())
            most = min(total, within_depth(state, view, i, side, stack))
            if most <= 0 or view.quality[i] > worst or view.closed[i]:
                continue
            value = int(paid[here].sum()) * most // total
            effects.append(
                BandsOffered(
                    instrument=i, lots=sign * most, paid=Money(value), accounts=int(here.sum())
                )
            )
    return effects


def within_depth(state: State, view: View, i: int, side: int, stack: Stack) -> int:
    """Return the lots that the measured book could absorb of a taker: bids (0) or asks (1)."""
    soft, m = stack.declaration.soft, state.market
    if not soft.depth_share:
        return 2**62
    depth = executable(
        m.depth_price[i, side],
        m.depth_lots[i, side],
        int(m.levels[i, side]),
        int(view.mark[i]),
        soft.depth_reach,
    )
    return int(depth) * soft.depth_share // PPM


def on_taken(state: State, event: BandsTaken, stack: Stack) -> list[Decision]:
    """Trade with the bands of one instrument at their own prices, as far as they still want to."""
    soft, i = stack.declaration.soft, event.instrument
    if not 0 <= i < len(stack.venue.instruments):
        return [Rejected(code="instrument_unknown", detail=f"bands in instrument {i}")]
    if event.lots == 0 or event.limit < 0:
        return [Rejected(code="amount_must_be_positive", detail=f"{event.lots} lots of bands")]
    if not soft.bands:
        return [Rejected(code="nothing_offered", detail=f"bands in instrument {i}")]
    if state.quality[i] > stack.declaration.oracle.liquidate_at_worst:
        return [Rejected(code="price_not_good_enough", detail=f"bands in instrument {i}")]
    if refusal := forced_refusal(state, i):
        return refusal
    b, view = state.banded, View.of(state)
    accounts = np.flatnonzero(b.asset == i)
    if accounts.size:
        sound = slacks(state, accounts, b.price, stack) >= 0
        accounts = accounts[sound & in_step(state, accounts)]
    lots, _ = quoted(state, accounts, b.price, b.fee, state.mark, stack)
    side, sign = (0, -1) if event.lots < 0 else (1, 1)
    wants = lots * sign > 0
    accounts, lots = accounts[wants], np.abs(lots[wants])
    most = min(abs(event.lots), int(lots.sum()), within_depth(state, view, i, side, stack))
    if most <= 0 or state.rung >= Rung.HALT:
        return [Rejected(code="nothing_offered", detail=f"{event.lots} lots in instrument {i}")]
    share = np.zeros_like(lots)
    largest_remainder(most, lots, share)
    taken = share > 0
    done, moved = converted_by(state, i, accounts[taken], share[taken] * sign, stack)
    money, total = abs(int(done.paid.sum())), abs(int(done.lots.sum()))
    # Compared by cross-multiplication: the limit is for all that was asked for.
    over = money * abs(event.lots) - event.limit * total
    if not total or over * sign < 0:
        detail = f"{total} lots for {money}, the limit being {event.limit} for {abs(event.lots)}"
        return [Rejected(code="bands_price_moved", detail=detail)]
    return [moved, *book_trades(state, done, "bands")]


def converted_by(
    state: State, i: int, accounts: I64, lots: I64, stack: Stack
) -> tuple[Trades, BandsMoved]:
    """Return the trades of accounts with whoever takes, and what their bands hold afterwards."""
    soft, b, facts = stack.declaration.soft, state.banded, stack.facts
    n = accounts.size
    x, y = b.x[accounts], b.y[accounts]
    done = np.zeros((n, 3), np.int64)
    fee, mark = max(int(b.fee[i]), soft.fee), int(state.mark[i]) * int(facts.tick_value[i])
    for k in range(n):
        convert(
            b, facts, int(accounts[k]), int(lots[k]), int(b.price[i]), fee, mark, soft.give,
            soft.amp, soft.far, x[k], y[k], done[k],
        )  # fmt: skip
    moved = BandsMoved(
        account=pack(accounts),
        active=pack(done[:, CELL]),
        x=pack(x.reshape(-1)),
        y=pack(y.reshape(-1)),
    )
    some = done[:, LOTS] != 0
    lots, paid = done[some, LOTS], done[some, PAID]
    # For readers: the price in ticks, rounded down.
    price = [
        p * int(facts.units[i]) // (q * int(facts.tick_value[i]))
        for p, q in zip(paid.tolist(), lots.tolist(), strict=True)
    ]
    trades = Trades(
        account=accounts[some],
        instrument=np.full(lots.size, i, np.int64),
        lots=lots,
        price=np.array(price, np.int64),
        paid=paid,
    )
    return trades, moved
