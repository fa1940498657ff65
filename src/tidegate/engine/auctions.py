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
from tidegate.engine.bonds import answered
from tidegate.engine.booking import book_trades, trades_at
from tidegate.engine.following import facts_now
from tidegate.engine.ledger import priced_by, rejected
from tidegate.engine.market import View, sellable, worth_of_lot
from tidegate.engine.penalties import penalised
from tidegate.engine.stable import initial_marks
from tidegate.engine.state import SHIFT, State
from tidegate.engine.waiting import wait_extra
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
    lots: int  # signed: the account's trade
    base: int
    limit: int
    elapsed: int  # ns since the price was set
    price: Ticks
    stale: str  # why it must be priced anew, or nothing

    @property
    def selling(self) -> bool:
        """Whether the account sells, so that the bidder buys."""
        return self.lots < 0


def offer_of(state: State, slot: int, now: int, mark: int, route: AnySale) -> Offer:
    """Return the auction in ``slot`` as it stands at ``now``."""
    a = state.auctions
    row, lots = int(a.row[slot]), int(a.lots[slot])
    base, limit, elapsed = int(a.base[slot]), int(a.limit[slot]), now - int(a.began[slot])
    selling = lots < 0
    at = {"base": base, "limit": limit, "elapsed": elapsed, "mark": mark}
    return Offer(
        auction=int(a.key[slot]),
        account=int(state.book.account[row]),
        instrument=int(state.book.instrument[row]),
        lots=lots,
        base=base,
        limit=limit,
        elapsed=elapsed,
        price=route.price(**at, selling=selling),
        stale=route.stale(**at, selling=selling),
    )


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
    keep = (ordered != 0) | (plan.netted != 0)
    if not keep.any():
        return None
    return Plan(
        row=plan.row[keep],
        netted=plan.netted[keep],
        ordered=ordered[keep],
        share=plan.share[keep],
        waiting=plan.waiting + late,
    )


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


def offered(
    state: State,
    view: View,
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
    instrument = state.book.instrument[row].astype(np.int64)
    base = view.mark[instrument]
    limit = [
        route.limit(
            mark=int(base[n]),
            selling=bool(lots[n] < 0),
            band=band,
            price_max=int(stack.facts.price_max[instrument[n]]),
        )
        for n in range(row.size)
    ]
    return [
        AuctionsOpened(
            first=(state.seq << SHIFT) + APART,
            route=route.name,
            account=pack(state.book.account[row]),
            instrument=pack(instrument),
            lots=pack(lots),
            base=pack(base),
            limit=pack(np.array(limit, np.int64)),
            share=pack(share),
            at=Nanos(now),
        )
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
    liquidate at. On the auction rung the order book is left alone: what nobody took is priced anew
    instead.
    """
    route = stack.auctions
    if route is None or rung >= Rung.HALT or not state.auctions.counts[1]:
        return []
    gate = sellable(view, stack)
    recovered: list[Offer] = []
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
        if route.recovered(int(health.equity[one.account]), int(health.required[one.account])):
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
    effects = _ended(state, recovered, "recovered") + _ended(state, unsold, "unsold")
    if unsold:
        effects.append(_to_book(state, view, health, unsold, band, now, stack))
    for reason in sorted(again):
        effects.append(_anew(view, again[reason], reason, band, now, stack))
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
            lots=pack(np.array([o.lots for o in over], np.int64)),
            penalty=pack(none),
            closed=pack(none + 1),
            reason=reason,
        ),
    ]


def _to_book(
    state: State,
    view: View,
    health: Health,
    unsold: list[Offer],
    band: Ppm,
    now: int,
    stack: Stack,
) -> OrdersPlaced:
    """Return the orders for what nobody took, limited at the fillable price."""
    route = stack.auctions
    assert route is not None
    account = np.array([o.account for o in unsold], np.int64)
    instrument = np.array([o.instrument for o in unsold], np.int64)
    lots = np.array([o.lots for o in unsold], np.int64)
    row = np.array([row_of(state.book, o.account, o.instrument) for o in unsold], np.int64)
    limit = route.limits(
        state.book, state.facts, health, mark=view.mark, row=row, ordered=lots, band=band
    )
    worst = zip(instrument.tolist(), limit.tolist(), strict=True)
    limit = np.array([view.within(i, price) for i, price in worst], np.int64)
    held = np.abs(state.book.lots[row])
    share = [int(n) * PPM // max(1, int(h)) for n, h in zip(np.abs(lots), held, strict=True)]
    return OrdersPlaced(
        first=(state.seq << SHIFT) + LEFT,
        route=route.name,
        account=pack(account),
        instrument=pack(instrument),
        lots=pack(lots),
        limit=pack(limit),
        share=pack(np.array(share, np.int64)),
        at=Nanos(now),
    )


def _anew(
    view: View, again: list[Offer], reason: str, band: Ppm, now: int, stack: Stack
) -> AuctionsReset:
    route = stack.auctions
    assert route is not None
    base = [int(view.mark[o.instrument]) for o in again]
    limit = [
        route.limit(
            mark=mark,
            selling=o.selling,
            band=band,
            price_max=int(stack.facts.price_max[o.instrument]),
        )
        for mark, o in zip(base, again, strict=True)
    ]
    return AuctionsReset(
        auction=pack(np.array([o.auction for o in again], np.int64)),
        base=pack(np.array(base, np.int64)),
        limit=pack(np.array(limit, np.int64)),
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
    if state.rung >= Rung.HALT:
        return rejected("auction_halted", who)
    if state.quality[i] > stack.declaration.oracle.liquidate_at_worst:
        return rejected("price_not_good_enough", who)
    view = View.of(state)
    if view.closed[i]:
        return rejected("instrument_paused", who)
    if view.within(i, one.price) != one.price:
        return rejected("price_outside_band", who)
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
        code := bidder_refusal(state, event.bidder, one, -lots, one.price, stack, state.mark)
    ):
        return rejected(code, who)
    return _sold(state, one, lots, event.bidder, stack)


def bidder_refusal(
    state: State, bidder: int, one: Offer, change: int, price: int, stack: Stack, mark: I64
) -> str:
    """Return why a user may not take the other side, or nothing: margin as for any trade.

    Who takes on risk that somebody must give up is let in while the breaker only lets reduce.
    """
    i, declaration = one.instrument, stack.declaration
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
    if any(not mark[j] for j in priced_by(state, bidder, i)):
        return "instrument_has_no_mark"
    return declaration.margin.allows(
        state.book,
        facts_now(state, stack),
        mark=initial_marks(state, bidder, i, change, stack, mark),
        account=bidder,
        instrument=i,
        lots=change,
        cost=0 if spot else paid,
        cash=-paid if spot else 0,
        extra=wait_extra(state, bidder, i, change, stack),
        scale=declaration.breaker.at(state.rung).initial_scale,
    )


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
            lots=pack(np.array([lots])),
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
    # Paid by the tranche that the penalties went to: no other has them.
    place = stack.declaration.waterfall.fed(tuple(i.symbol for i in stack.venue.instruments))
    tranche = FUND + place[one.instrument]
    fund = int(state.book.cash[tranche]) + collected
    amount = min(int(route.paid(before + collected)), fund)
    if amount <= 0:
        return []
    return [
        Posted(debit=tranche, credit=bidder, asset=CASH, amount=Amount(amount), reason="incentive")
    ]
