"""Batches: bids are kept, revealed, and cleared together at one price."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tidegate.domain.auctions import auction_slot
from tidegate.domain.book import EXTERNAL, FIRST_USER, TREASURY, Health, row_of
from tidegate.domain.commitments import SALT_BITS_MIN, bid_payload, commitment, nonce_of
from tidegate.domain.effects import (
    AuctionsReduced,
    AuctionsReset,
    BidKept,
    Decision,
    PositionsMoved,
    Posted,
)
from tidegate.domain.events import BidCommitted, BidPlaced, BidRevealed
from tidegate.domain.instrument import CASH
from tidegate.domain.units import I64, Amount, Money, Nanos, Ticks, pack, unpack
from tidegate.engine.auctions import Offer, bidder_refusal, offer_of, slot_of
from tidegate.engine.bonds import answered, nonces_of
from tidegate.engine.booking import Trades, book_trades, trades_at
from tidegate.engine.ledger import rejected, taking_refusal
from tidegate.engine.market import View, sellable
from tidegate.engine.penalties import penalised
from tidegate.engine.state import SHIFT, State
from tidegate.kernels.uniform import clearing_price, fill_uniform
from tidegate.safeguards.auctions import BatchRoute
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.stack import Stack


NO_PRICE = -1


@dataclass(frozen=True, slots=True)
class Cleared:
    """What one batch came to."""

    offer: Offer
    slot: I64  # of its bids
    lots: I64  # [bids] got, positive
    price: int  # 0 where nothing was sold


def on_bid(
    state: State, event: BidPlaced | BidCommitted | BidRevealed, stack: Stack
) -> list[Decision]:
    """Keep a bid, or reveal one that was kept sealed."""
    if isinstance(event, BidRevealed):
        return _revealed(state, event, stack)
    route, slot = stack.batches, slot_of(state, event.auction)
    who = f"auction {event.auction} by account {event.bidder}"
    if slot < 0 or stack.auctions is None:
        return rejected("auction_unknown", who)
    if route is None or route.sealed != isinstance(event, BidCommitted):
        return rejected("auction_takes_no_such_bid", who)
    if event.bidder != EXTERNAL and not FIRST_USER <= event.bidder < state.book.accounts:
        return rejected("account_unknown", who)
    row = int(state.auctions.row[slot])
    if state.book.owner[event.bidder] == state.book.owner[state.book.account[row]]:
        return rejected("trade_with_itself", who)
    if event.ts - int(state.auctions.began[slot]) >= route.window_ns:
        return rejected("auction_window_closed", who)
    if _over(state, slot, state.rung, event.ts, route):
        # Or bids could keep it from the order book for ever.
        return rejected("auction_window_closed", who)
    mine = state.bids.bidder[state.bids.of(event.auction)] == event.bidder
    if event.bidder != EXTERNAL and mine.any():
        return rejected("bid_twice", who)
    if state.bids.free() < 0:
        return rejected("bids_full", who)
    if isinstance(event, BidCommitted):
        return _committed(state, event, stack)
    i = int(state.book.instrument[row])
    if not 0 < event.lots <= stack.facts.lots_max[i]:
        return rejected("amount_exceeds_limit", who)
    if not stack.facts.price_min[i] <= event.limit <= stack.facts.price_max[i]:
        return rejected("price_out_of_range", who)
    return [
        BidKept(
            bid=state.seq << SHIFT,
            auction=event.auction,
            bidder=event.bidder,
            lots=event.lots,
            limit=event.limit,
            bond=Money(0),
        )
    ]


def _committed(state: State, event: BidCommitted, stack: Stack) -> list[Decision]:
    who, bond = f"auction {event.auction} by account {event.bidder}", _bond(stack)
    if len(event.seal) != 32:
        return rejected("bid_does_not_match", who)
    if event.bidder != EXTERNAL:
        if refusal := taking_refusal(state, event.bidder, bond, "bond", stack):
            return refusal
        if int(state.book.cash[event.bidder]) < bond:
            return rejected("asset_not_borrowable", who)
    return [
        Posted(debit=event.bidder, credit=TREASURY, asset=CASH, amount=Amount(bond), reason="bond"),
        BidKept(
            bid=state.seq << SHIFT,
            auction=event.auction,
            bidder=event.bidder,
            lots=0,
            limit=Ticks(0),
            bond=bond,
            seal=event.seal,
        ),
    ]


def _bond(stack: Stack) -> Money:
    return Money(int(getattr(stack.batches, "bond", 0)))


def _revealed(state: State, event: BidRevealed, stack: Stack) -> list[Decision]:
    route, bids, who = stack.batches, state.bids, f"bid {event.bid}"
    slot = bids.slot(event.bid)
    if route is None or not route.sealed or slot < 0 or bids.lots[slot]:
        return rejected("bid_unknown", who)
    auction, bidder = int(bids.auction[slot]), int(bids.bidder[slot])
    at = auction_slot(state.auctions, auction)
    elapsed = event.ts - int(state.auctions.began[at])
    if not route.window_ns <= elapsed < route.closes_ns:
        return rejected("auction_window_closed", who)
    i = int(state.book.instrument[state.auctions.row[at]])
    if not 0 < event.lots <= stack.facts.lots_max[i]:
        return rejected("amount_exceeds_limit", who)
    if not stack.facts.price_min[i] <= event.limit <= stack.facts.price_max[i]:
        return rejected("price_out_of_range", who)
    said = bid_payload(auction, bidder, event.lots, event.limit)
    good = 8 * len(event.salt) >= SALT_BITS_MIN
    if not good or commitment(event.salt, said) != pack(bids.seal[slot]):
        return rejected("bid_does_not_match", who)
    return [
        BidKept(
            bid=event.bid,
            auction=auction,
            bidder=bidder,
            lots=event.lots,
            limit=event.limit,
            bond=Money(int(bids.bond[slot])),
            nonce=nonce_of(event.salt),
            seal=pack(bids.seal[slot]),
        )
    ]


def clear(
    state: State,
    view: View,
    health: Health,
    rung: int,
    now: int,
    stack: Stack,
    before: Sequence[Decision],
) -> list[Decision]:
    """Clear every batch whose moment has come; what is left is offered in a window of its own.

    Not on the halt rung, nor while the price is not good enough to liquidate at. Nobody buys who is
    about to be closed, or whose positions were moved ``before`` in this very step.
    """
    route = stack.batches
    if route is None or rung >= Rung.HALT or not state.auctions.counts[1]:
        return []
    gate = sellable(view, stack)
    batches: list[Cleared] = []
    buyers = moved_by(before) | set(np.flatnonzero(health.best < 0).tolist())
    for slot in np.flatnonzero(state.auctions.key >= 0).tolist():
        bids = state.bids.of(int(state.auctions.key[slot]))
        if not bids.size and _over(state, slot, rung, now, route):
            continue  # it goes to the order book
        i = int(state.book.instrument[state.auctions.row[slot]])
        elapsed = now - int(state.auctions.began[slot])
        if gate[i] and elapsed >= route.clears_ns(nonces_of(state, bids)):
            one = offer_of(state, slot, now, int(view.mark[i]), route)
            batches.append(_match(state, view, one, bids, buyers, stack))
    if not batches:
        return []
    sold = [b for b in batches if b.price]
    effects = _traded(state, sold, stack)
    for batch in batches:
        price = np.where(batch.lots > 0, batch.price, 0)
        effects += answered(state, batch.slot, batch.lots, price, "cleared")
    band = stack.declaration.breaker.at(rung).band
    left = [
        b.offer
        for b in batches
        if int(b.lots.sum()) < abs(b.offer.lots)
        and not _over(state, slot_of(state, b.offer.auction), rung, now, route)
    ]
    return effects + _again(view, left, band, now, route, stack)


def _over(state: State, slot: int, rung: int, now: int, route: BatchRoute) -> bool:
    """Return whether an auction has no window left: what nobody takes goes to the order book."""
    aged = now - int(state.auctions.opened[slot]) > route.life_ns
    return aged and rung < Rung.AUCTION_ONLY


def _match(
    state: State, view: View, one: Offer, slot: I64, buyers: set[int], stack: Stack
) -> Cleared:
    """Return the clearing of one batch; a user takes part once in a step, with enough margin.

    Not with anything in flight in the same instrument: that may be sold in this very step.
    """
    mark, bids, side = int(view.mark[one.instrument]), state.bids, 1 if one.selling else -1
    lots = np.zeros(slot.size, np.int64)
    worst = view.within(one.instrument, one.limit)
    good = (bids.lots[slot] > 0) & ((bids.limit[slot] - worst) * side >= 0)
    for n in np.flatnonzero(good).tolist():
        bidder = int(bids.bidder[slot[n]])
        if bidder == EXTERNAL:
            continue
        change, price = side * int(bids.lots[slot[n]]), int(bids.limit[slot[n]])
        row = row_of(state.book, bidder, one.instrument)
        flies = row >= 0 and bool(state.book.in_flight[row])
        if (
            bidder in buyers
            or flies
            or bidder_refusal(state, bidder, one, change, price, stack, view.mark)
        ):
            good[n] = False
        buyers.add(bidder)
    limit, wanted = bids.limit[slot[good]], bids.lots[slot[good]]
    reserve = (np.array([worst]), np.array([abs(one.lots)]))
    ours, theirs = (reserve, (limit, wanted)) if side < 0 else ((limit, wanted), reserve)
    price = int(clearing_price(*ours, *theirs, mark, NO_PRICE))
    if price == NO_PRICE:
        return Cleared(one, slot, lots, 0)
    share = np.zeros_like(wanted)
    fill_uniform(abs(one.lots), limit, wanted, price, side, share)
    lots[good] = share
    return Cleared(one, slot, lots, price)


def moved_by(effects: Sequence[Decision]) -> set[int]:
    """Return the accounts whose positions these effects move."""
    moved: set[int] = set()
    for effect in effects:
        if isinstance(effect, PositionsMoved):
            moved |= set(unpack(effect.account).tolist())
    return moved


def _traded(state: State, sold: list[Cleared], stack: Stack) -> list[Decision]:
    """Return all trades of a step: the accounts with the world outside, and that with bidders."""
    if not sold:
        return []
    ours: list[tuple[int, int, int, int]] = []
    theirs: list[tuple[int, int, int, int]] = []
    for batch in sold:
        one, side = batch.offer, 1 if batch.offer.selling else -1
        ours.append((one.account, one.instrument, -side * int(batch.lots.sum()), batch.price))
        theirs += [
            (int(bidder), one.instrument, side * int(got), batch.price)
            for bidder, got in zip(state.bids.bidder[batch.slot], batch.lots, strict=True)
            if got and bidder != EXTERNAL
        ]
    trades = _booked(state, ours)
    effects = book_trades(state, trades, "auctioned")
    effects += penalised(state, stack, trades.account, trades.instrument, trades.lots, trades.paid)
    if theirs:
        effects += book_trades(state, _booked(state, theirs), "trade")
    none = np.zeros(len(sold), np.int64)
    left = [abs(b.offer.lots) - int(b.lots.sum()) for b in sold]
    effects.append(
        AuctionsReduced(
            auction=pack(np.array([b.offer.auction for b in sold], np.int64)),
            lots=pack(trades.lots),
            penalty=pack(none),
            closed=pack(np.array([int(n == 0) for n in left], np.int64)),
            reason="cleared",
        )
    )
    return effects


def _booked(state: State, rows: list[tuple[int, int, int, int]]) -> Trades:
    return trades_at(state, *(np.array(column, np.int64) for column in zip(*rows, strict=True)))


def _again(
    view: View, left: list[Offer], band: int, now: int, route: BatchRoute, stack: Stack
) -> list[Decision]:
    if not left:
        return []
    base = [int(view.mark[o.instrument]) for o in left]
    limit = [
        route.limit(
            mark=mark,
            selling=o.selling,
            band=band,
            price_max=int(stack.facts.price_max[o.instrument]),
        )
        for mark, o in zip(base, left, strict=True)
    ]
    return [
        AuctionsReset(
            auction=pack(np.array([o.auction for o in left], np.int64)),
            base=pack(np.array(base, np.int64)),
            limit=pack(np.array(limit, np.int64)),
            at=Nanos(now),
            reason="window",
        )
    ]
