"""Auctions from opening to end: what is offered, taken, priced anew, called off or left over."""

from dataclasses import dataclass

import numpy as np

from tidegate.domain.auctions import auction_slot
from tidegate.domain.book import EXTERNAL, FIRST_USER, FUND, Health, row_of
from tidegate.domain.effects import (
    AuctionsOpened,
    AuctionsReduced,
    AuctionsReset,
    Decision,
    OrdersPlaced,
    Posted,
    PostedBatch,
)
from tidegate.domain.events import AuctionTaken
from tidegate.domain.instrument import CASH, Kind
from tidegate.domain.units import I64, MONEY_MAX, PPM, Amount, Nanos, Ppm, Ticks, pack, unpack
from tidegate.engine.admission import margin_refusal
from tidegate.engine.bonds import answered
from tidegate.engine.booking import book_trades, trades_at
from tidegate.engine.ledger import rejected
from tidegate.engine.market import View, sellable, worth_of_lot
from tidegate.engine.never_worse import hold
from tidegate.engine.penalties import penalised
from tidegate.engine.restraint import forced_refusal
from tidegate.engine.state import SHIFT, State
from tidegate.kernels.auction import owed, put_up, room, taken
from tidegate.safeguards.auctions import AnySale
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.planner import Plan
from tidegate.safeguards.stack import Stack


APART = 1 << (SHIFT - 1)  # auctions count from here within a step, orders from 0 ...
LEFT = 1 << (SHIFT - 2)  # ... and the orders for what nobody took from here


@dataclass(frozen=True, slots=True)
class Offer:
    """One open auction as a bidder sees it."""

    auction: int
    account: int
    instrument: int
    lots: int  # signed: the account's trade, no more than it still holds
    whole: int  # the same, as it was offered
    base: int
    limit: int
    elapsed: int  # ns since the price was set
    price: Ticks
    stale: str  # why it must be priced anew, or nothing

    @property
    def selling(self) -> bool:
        """Whether the account sells, so that the bidder buys."""
        return self.whole < 0


def offer_of(state: State, slot: int, now: int, mark: int, route: AnySale) -> Offer:
    """Return the auction in ``slot`` as it stands at ``now``."""
    a = state.auctions
    row, whole = int(a.row[slot]), int(a.lots[slot])
    base, limit, elapsed = int(a.base[slot]), int(a.limit[slot]), now - int(a.began[slot])
    selling = whole < 0
    at = {"base": base, "limit": limit, "elapsed": elapsed, "mark": mark}
    return Offer(
        auction=int(a.key[slot]),
        account=int(state.book.account[row]),
        instrument=int(state.book.instrument[row]),
        lots=_backed(state, row, whole),
        whole=whole,
        base=base,
        limit=limit,
        elapsed=elapsed,
        price=route.price(**at, selling=selling),
        stale=route.stale(**at, selling=selling),
    )


def _backed(state: State, row: int, lots: int) -> int:
    """Return how many lots of an auction its position still holds beside what else is in flight.

    Fewer than were offered where a recorded venue changed the position under us.
    """
    held, other = int(state.book.lots[row]), int(state.book.in_flight[row]) - lots
    free = -held - other  # signed as the close is
    return max(lots, min(free, 0)) if lots < 0 else min(lots, max(free, 0))


def slot_of(state: State, auction: int) -> int:
    """Return the slot of an open auction, or -1: for any number that somebody may say."""
    return int(auction_slot(state.auctions, auction)) if 0 <= auction < MONEY_MAX else -1


def offers(state: State, now: int, stack: Stack) -> list[Offer]:
    """Return every open auction by slot; none where nothing is sold by auction."""
    route = stack.auctions
    if route is None or not state.auctions.counts[1]:
        return []
    return [
        offer_of(state, slot, now, int(state.mark[_instrument(state, slot)]), route)
        for slot in np.flatnonzero(state.auctions.key >= 0).tolist()
    ]


def _instrument(state: State, slot: int) -> int:
    return int(state.book.instrument[state.auctions.row[slot]])


def fit(state: State, view: View, plan: Plan, stack: Stack) -> Plan | None:
    """Return the plan with what the budget on open auctions and the free slots allow."""
    ordered, late = fitted(state, view, plan.row, plan.ordered, stack)
    return plan.carried(ordered, late)


def fitted(state: State, view: View, row: I64, asked: I64, stack: Stack) -> tuple[I64, int]:
    """Return how many of the lots asked for may be offered, in order, and how many rows get less.

    What does not fit waits; a part is offered unless it, or what it leaves, would be dust.
    """
    route = stack.auctions
    assert route is not None
    total = _outstanding(state, view, stack)
    slots, late = int(state.auctions.counts[0]), 0
    out = np.zeros(asked.size, np.int64)
    for n in np.flatnonzero(asked).tolist():
        i, lots = int(state.book.instrument[row[n]]), int(asked[n])
        rate = int(worth_of_lot(stack, i, int(view.mark[i])))
        chop = PPM + int(state.facts.penalty[i])
        space = room(
            route.in_flight_max or MONEY_MAX,
            sum(total),
            route.market_max or MONEY_MAX,
            total[i],
        )
        part = int(put_up(abs(lots), rate, chop, space, route.dust, PPM)) if slots else 0
        part = max(0, part)
        slots -= part > 0
        late += part < abs(lots)
        total[i] += owed(part, rate, chop, PPM)
        out[n] = part if lots > 0 else -part
    return out, late


def _outstanding(state: State, view: View, stack: Stack) -> list[int]:
    """Return what is offered now in each instrument at the mark, penalties included, in Money."""
    out = [0] * view.mark.size
    for slot in np.flatnonzero(state.auctions.key >= 0).tolist():
        i = _instrument(state, slot)
        rate = int(worth_of_lot(stack, i, int(view.mark[i])))
        lots, chop = abs(int(state.auctions.lots[slot])), PPM + int(state.facts.penalty[i])
        out[i] += owed(lots, rate, chop, PPM)
    return out


def kept_within(
    state: State,
    view: View,
    plan: Plan | None,
    health: Health,
    row: I64,
    lots: I64,
    limit: I64,
    first: int,
    stack: Stack,
) -> tuple[I64, list[Decision]]:
    """Return limits within the bands, which bind what is forced too, and never worse."""
    i = state.book.instrument[row]
    floor, ceiling = view.floor[i], view.ceiling[i]
    limit = np.where((lots < 0) & (floor > 0), np.maximum(limit, floor), limit)
    limit = np.where((lots > 0) & (ceiling > 0), np.minimum(limit, ceiling), limit)
    if not stack.declaration.never_worse.limits:
        return limit, []
    limit, receipt = hold(state, view, plan, health, row, lots, limit, first)
    return limit, [receipt]


def worst(
    state: State,
    view: View,
    health: Health,
    row: I64,
    lots: I64,
    band: Ppm,
    first: int,
    stack: Stack,
) -> tuple[I64, I64, list[Decision]]:
    """Return base and limit of auctions that are set now, and what was found of the limits."""
    route = stack.auctions
    assert route is not None
    i = state.book.instrument[row].astype(np.int64)
    base, top = view.mark[i], stack.facts.price_max[i].tolist()
    limit = [
        route.limit(mark=mark, selling=lot < 0, band=band, price_max=most)
        for mark, lot, most in zip(base.tolist(), lots.tolist(), top, strict=True)
    ]
    limits = np.array(limit, np.int64)
    kept, held = kept_within(state, view, None, health, row, lots, limits, first, stack)
    return base, kept, held


def offered(
    state: State,
    view: View,
    health: Health,
    row: I64,
    lots: I64,
    share: I64,
    band: Ppm,
    now: int,
    stack: Stack,
) -> list[Decision]:
    """Return the auctions of a plan that has a slot for each of them."""
    route = stack.auctions
    assert route is not None
    first = (state.seq << SHIFT) + APART
    base, limit, held = worst(state, view, health, row, lots, band, first, stack)
    return [
        AuctionsOpened(
            first=first,
            route=route.name,
            account=pack(state.book.account[row]),
            instrument=pack(state.book.instrument[row]),
            lots=pack(lots),
            base=pack(base),
            limit=pack(limit),
            share=pack(share),
            at=Nanos(now),
        ),
        *held,
    ]


def tend(
    state: State,
    view: View,
    health: Health,
    rung: int,
    now: int,
    stack: Stack,
    cleared: list[Decision],
) -> list[Decision]:
    """Look after the open auctions: call off, send on to the order book, or price anew.

    Those that were ``cleared`` in this very step are left alone.

    Nothing is touched on the halt rung, in a pause, or while the price is not good enough to
    liquidate at. On the auction rung the order book is left alone: what nobody took is priced anew.
    """
    route = stack.auctions
    if route is None or rung >= Rung.HALT or not state.auctions.counts[1]:
        return []
    gate = sellable(view, stack)
    recovered: list[Offer] = []
    gone: list[Offer] = []
    unsold: list[Offer] = []
    again: dict[str, list[Offer]] = {}
    spare = int(state.orders.counts[0])
    busy = {a for e in cleared if isinstance(e, AuctionsReset) for a in unpack(e.auction).tolist()}
    busy |= {
        a for e in cleared if isinstance(e, AuctionsReduced) for a in unpack(e.auction).tolist()
    }
    for slot in np.flatnonzero(state.auctions.key >= 0).tolist():
        i = _instrument(state, slot)
        if not gate[i] or int(state.auctions.key[slot]) in busy:
            continue
        one = offer_of(state, slot, now, int(view.mark[i]), route)
        if not one.lots:
            gone.append(one)
        elif route.recovered(int(health.equity[one.account]), int(health.required[one.account])):
            recovered.append(one)
        elif now - int(state.auctions.opened[slot]) <= route.life_ns:
            if one.stale:
                again.setdefault(one.stale, []).append(one)
        elif state.bids.of(one.auction).size:
            continue  # who has bid is answered first
        elif rung < Rung.AUCTION_ONLY and len(unsold) < spare:
            unsold.append(one)
        elif one.stale:
            again.setdefault(one.stale, []).append(one)
    band = stack.declaration.breaker.at(rung).band
    effects = _ended(state, gone, "closed") + _ended(state, recovered, "recovered")
    effects += _ended(state, unsold, "unsold")
    if unsold:
        effects += _to_book(state, view, health, unsold, band, now, stack)
    for reason in sorted(again):
        effects.append(anew(state, view, health, again[reason], reason, band, now, stack))
    return effects


def _ended(state: State, over: list[Offer], reason: str) -> list[Decision]:
    if not over:
        return []
    none = np.zeros(len(over), np.int64)
    bids = np.concatenate([state.bids.of(o.auction) for o in over])
    return [
        *answered(state, bids, np.zeros_like(bids), np.zeros_like(bids), reason),
        AuctionsReduced(
            auction=pack(np.array([o.auction for o in over], np.int64)),
            lots=pack(np.array([o.whole for o in over], np.int64)),
            penalty=pack(none),
            closed=pack(none + 1),
            reason=reason,
        ),
    ]


def _rows(state: State, some: list[Offer]) -> tuple[I64, I64]:
    """Return the position rows and the lots of auctions."""
    row = [row_of(state.book, o.account, o.instrument) for o in some]
    return np.array(row, np.int64), np.array([o.lots for o in some], np.int64)


def _to_book(
    state: State,
    view: View,
    health: Health,
    unsold: list[Offer],
    band: Ppm,
    now: int,
    stack: Stack,
) -> list[Decision]:
    """Return the orders for what nobody took, limited at the fillable price."""
    route, first = stack.auctions, (state.seq << SHIFT) + LEFT
    assert route is not None
    row, lots = _rows(state, unsold)
    limit = route.limits(
        state.book, state.facts, health, mark=view.mark, row=row, ordered=lots, band=band
    )
    limit, kept = kept_within(state, view, None, health, row, lots, limit, first, stack)
    held = np.abs(state.book.lots[row])
    share = [int(n) * PPM // max(1, int(h)) for n, h in zip(np.abs(lots), held, strict=True)]
    return [
        OrdersPlaced(
            first=first,
            route=route.name,
            account=pack(state.book.account[row]),
            instrument=pack(state.book.instrument[row]),
            lots=pack(lots),
            limit=pack(limit),
            share=pack(np.array(share, np.int64)),
            at=Nanos(now),
        ),
        *kept,
    ]


def anew(
    state: State,
    view: View,
    health: Health,
    again: list[Offer],
    reason: str,
    band: Ppm,
    now: int,
    stack: Stack,
) -> AuctionsReset:
    """Return auctions that begin anew at the mark, within what binds their prices now."""
    base, limit, _ = worst(state, view, health, *_rows(state, again), band, 0, stack)
    return AuctionsReset(
        auction=pack(np.array([o.auction for o in again], np.int64)),
        base=pack(base),
        limit=pack(limit),
        at=Nanos(now),
        reason=reason,
    )


def on_take(state: State, event: AuctionTaken, stack: Stack) -> list[Decision]:
    """Sell to a bidder what the auction's price of this very moment allows, or refuse."""
    route, slot = stack.auctions, slot_of(state, event.auction)
    who = f"auction {event.auction} by account {event.bidder}"
    if route is None or slot < 0:
        return rejected("auction_unknown", who)
    if stack.batches is not None:
        return rejected("auction_takes_bids_only", who)
    if event.bidder != EXTERNAL and not FIRST_USER <= event.bidder < state.book.accounts:
        return rejected("account_unknown", who)
    if event.lots <= 0:
        return rejected("amount_must_be_positive", who)
    i = _instrument(state, slot)
    one = offer_of(state, slot, event.ts, int(state.mark[i]), route)
    if state.book.owner[event.bidder] == state.book.owner[one.account]:
        return rejected("trade_with_itself", who)
    if not one.lots:
        return rejected("auction_unknown", who)  # its position is gone
    if state.rung >= Rung.HALT:
        return rejected("auction_halted", who)
    if state.quality[i] > stack.declaration.oracle.liquidate_at_worst:
        return rejected("price_not_good_enough", who)
    if refusal := forced_refusal(state, i, one.price):
        return refusal
    if one.stale:
        return rejected("auction_needs_reset", who)
    if (one.price > event.limit) if one.selling else (one.price < event.limit):
        return rejected("auction_price_beyond_limit", who)
    lot = abs(one.lots)
    money = int(worth_of_lot(stack, i, one.price))
    part = int(taken(lot, lot * money, money, min(lot, event.lots), route.dust))
    if part <= 0:  # `ALL_OR_NOTHING`, or less than one lot could go before dust is left
        return rejected("auction_leaves_dust", who)
    lots = -part if one.selling else part
    if event.bidder != EXTERNAL and (
        code := bidder_refusal(state, event.bidder, one, -lots, one.price, stack)
    ):
        return rejected(code, who)
    return _sold(state, one, lots, event.bidder, stack)


def bidder_refusal(
    state: State,
    bidder: int,
    one: Offer,
    change: int,
    price: int,
    stack: Stack,
    mark: I64 | None = None,
) -> str:
    """Return why a user may not take the other side, or nothing: margin as for any trade.

    Who takes on risk that somebody must give up is let in while the breaker only lets reduce.
    """
    i = one.instrument
    row = row_of(state.book, bidder, i)
    held = int(state.book.lots[row]) if row >= 0 else 0
    flying = int(state.book.in_flight[row]) if row >= 0 else 0
    after = held + change
    if abs(after) > stack.facts.lots_max[i]:
        return "amount_exceeds_limit"
    if flying and (after * flying >= 0 or abs(after) < abs(flying)):
        return "liquidation_in_flight"
    columns = (np.array([n], np.int64) for n in (bidder, i, change, price))
    paid = int(trades_at(state, *columns).paid[0])
    spot = stack.facts.kind[i] == Kind.SPOT
    if spot and (after < 0 or int(state.book.cash[bidder]) < paid):
        return "asset_not_borrowable"  # an auction lends to nobody
    cost, cash = (0, -paid) if spot else (paid, 0)
    return margin_refusal(state, bidder, i, change, stack, cost=cost, cash=cash, mark=mark)


def _sold(state: State, one: Offer, lots: int, bidder: int, stack: Stack) -> list[Decision]:
    """Return the trade, its penalty, what the auction has left and, with its end, the incentive.

    The account trades with the world outside and the world outside with the bidder, so that a
    reader of forced trades finds only those who were forced.
    """
    columns = (one.account, one.instrument, lots, one.price)
    trades = trades_at(state, *(np.array([n], np.int64) for n in columns))
    effects = book_trades(state, trades, "auctioned")
    due = penalised(state, stack, trades.account, trades.instrument, trades.lots, trades.paid)
    effects += due
    if bidder != EXTERNAL:
        columns = (bidder, one.instrument, -lots, one.price)
        bought = trades_at(state, *(np.array([n], np.int64) for n in columns))
        effects += book_trades(state, bought, "trade")
    collected = -sum(int(unpack(e.amount).sum()) for e in due if isinstance(e, PostedBatch))
    closed = lots == one.lots
    effects.append(
        AuctionsReduced(
            auction=pack(np.array([one.auction])),
            lots=pack(np.array([one.whole if closed else lots])),
            penalty=pack(np.array([collected])),
            closed=pack(np.array([int(closed)])),
            reason="taken",
            price=one.price,
            bidder=bidder,
        )
    )
    return effects + (_incentive(state, one, collected, bidder, stack) if closed else [])


def _incentive(
    state: State, one: Offer, collected: int, bidder: int, stack: Stack
) -> list[Decision]:
    """Return what the last bidder earns: out of the penalties of this auction, never beyond."""
    route = stack.auctions
    assert route is not None
    before = int(state.auctions.penalty[auction_slot(state.auctions, one.auction)])
    symbols = tuple(i.symbol for i in stack.venue.instruments)
    fund = FUND + stack.declaration.waterfall.fed(symbols)[one.instrument]  # where penalties went
    amount = min(int(route.paid(before + collected)), int(state.book.cash[fund]) + collected)
    if amount <= 0:
        return []
    return [
        Posted(debit=fund, credit=bidder, asset=CASH, amount=Amount(amount), reason="incentive")
    ]
