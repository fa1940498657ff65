"""Batches: bids are kept, revealed, and cleared together at one price."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tidegate.domain.auctions import auction_slot
from tidegate.domain.book import EXTERNAL, FIRST_USER, TREASURY, Health, row_of
from tidegate.domain.commitments import SALT_BITS_MIN, bid_payload, commitment, nonce_of
from tidegate.domain.effects import (
    AuctionsReduced,
    BidKept,
    Decision,
    PositionsMoved,
    Posted,
    PostedBatch,
)
from tidegate.domain.events import BidCommitted, BidPlaced, BidRevealed
from tidegate.domain.instrument import CASH
from tidegate.domain.units import I64, Amount, Money, Ticks, pack, unpack
from tidegate.engine.auctions import Offer, anew, bidder_refusal, offer_of, slot_of
from tidegate.engine.bonds import answered, nonces_of
from tidegate.engine.booking import Trades, book_trades, trades_at
from tidegate.engine.ledger import payment_refusal, rejected
from tidegate.engine.market import View, sellable
from tidegate.engine.penalties import penalised
from tidegate.engine.state import SHIFT, State
from tidegate.kernels.uniform import clearing_price, fill_uniform
from tidegate.safeguards.breaker import Rung
from tidegate.safeguards.stack import Stack


NO_PRICE = -1
UNBOUNDED = 2**62


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
    late = event.ts - int(state.auctions.began[slot]) >= route.window_ns
    if late or _over(state, slot, state.rung, event.ts, stack):
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
    if event.bidder != EXTERNAL:  # or accounts without a cent could take every place for bids
        one = offer_of(state, slot, event.ts, int(state.mark[i]), route)
        change = event.lots if one.selling else -event.lots
        if code := bidder_refusal(state, event.bidder, one, change, event.limit, stack):
            return rejected(code, who)
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


def _over(state: State, slot: int, rung: int, now: int, stack: Stack) -> bool:
    """Return whether what an auction has left goes to the order book, bids answered first."""
    route = stack.auctions
    assert route is not None
    return rung < Rung.AUCTION_ONLY and now - int(state.auctions.opened[slot]) > route.life_ns


def _committed(state: State, event: BidCommitted, stack: Stack) -> list[Decision]:
    who, bond = f"auction {event.auction} by account {event.bidder}", _bond(stack)
    if len(event.seal) != 32:
        return rejected("bid_does_not_match", who)
    if event.bidder != EXTERNAL and (refusal := payment_refusal(state, event.bidder, bond, stack)):
        return refusal
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
    before: Sequence[Decision] = (),
) -> list[Decision]:
    """Clear every batch whose moment has come; what is left is offered in a window of its own.

    Not on the halt rung, in a pause, or while the price is not good enough to liquidate at. Whom
    ``before`` moved in this very step buys nothing: what is known of it is no longer true. And
    ``health.best`` of whoever buys is raised to zero, so that the planner leaves it until the next.
    """
    route = stack.batches
    if route is None or rung >= Rung.HALT or not state.auctions.counts[1]:
        return []
    gate = sellable(view, stack)
    batches: list[Cleared] = []
    hall = _Hall(stack, view, _moved_by(before), state.book.rows_left)
    for slot in np.flatnonzero(state.auctions.key >= 0).tolist():
        bids = state.bids.of(int(state.auctions.key[slot]))
        i = int(state.book.instrument[state.auctions.row[slot]])
        elapsed = now - int(state.auctions.began[slot])
        if not bids.size and _over(state, slot, rung, now, stack):
            continue  # it goes to the order book, however seldom time is told
        if gate[i] and elapsed >= route.clears_ns(nonces_of(state, bids)):
            one = offer_of(state, slot, now, int(view.mark[i]), route)
            if not one.lots:
                continue  # its position is gone: it will be called off
            batches.append(_match(state, one, bids, hall))
    if not batches:
        return []
    sold = [b for b in batches if b.price]
    effects = _traded(state, view, sold, stack)
    bought = [state.bids.bidder[b.slot[b.lots > 0]] for b in sold]
    health.best[np.concatenate([np.zeros(0, np.int64), *bought])] = 0
    for batch in batches:
        price = np.where(batch.lots > 0, batch.price, 0)
        effects += answered(state, batch.slot, batch.lots, price, "cleared")
    band = stack.declaration.breaker.at(rung).band
    left = [b.offer for b in batches if int(b.lots.sum()) < abs(b.offer.lots)]
    if left:
        effects.append(anew(state, view, health, left, "window", band, now, stack))
    return effects


@dataclass(slots=True)
class _Hall:
    """Where batches are cleared in turn: at which marks, and who may not buy in this step."""

    stack: Stack
    view: View
    buyers: set[int]
    rows: int  # that positions may still open


def _moved_by(effects: Sequence[Decision]) -> set[int]:
    """Return the accounts whose positions or cash these effects move."""
    moved = [e.account for e in effects if isinstance(e, PositionsMoved | PostedBatch)]
    return {a for column in moved for a in unpack(column).tolist()} | {
        a for e in effects if isinstance(e, Posted) for a in (e.debit, e.credit)
    }


def _match(state: State, one: Offer, slot: I64, hall: _Hall) -> Cleared:
    """Return the clearing of one batch; a user takes part once in a step, with enough margin.

    The reserve lies within the price band of this moment.
    """
    bids, side, view = state.bids, 1 if one.selling else -1, hall.view
    mark, i = int(view.mark[one.instrument]), one.instrument
    lots = np.zeros(slot.size, np.int64)
    ends = int(view.floor[i]), int(view.ceiling[i]) or UNBOUNDED
    worst = max(one.limit, ends[0]) if side > 0 else min(one.limit, ends[1])
    good = (bids.lots[slot] > 0) & ((bids.limit[slot] - worst) * side >= 0)
    good &= (bids.limit[slot] >= ends[0]) & (bids.limit[slot] <= ends[1])
    for n in np.flatnonzero(good).tolist():
        bidder = int(bids.bidder[slot[n]])
        if bidder == EXTERNAL:
            continue
        change, price = side * int(bids.lots[slot[n]]), int(bids.limit[slot[n]])
        row = row_of(state.book, bidder, i)
        fresh, flies = row < 0, row >= 0 and bool(state.book.in_flight[row])
        # What is in flight may be sold in this very step, from what the position was before it.
        refused = bidder in hall.buyers or flies or (fresh and hall.rows < 1)
        refused = refused or bool(
            bidder_refusal(state, bidder, one, change, price, hall.stack, view.mark)
        )
        good[n] = not refused
        hall.rows -= fresh and not refused
        hall.buyers.add(bidder)
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


def _traded(state: State, view: View, sold: list[Cleared], stack: Stack) -> list[Decision]:
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
    columns = trades.account, trades.instrument, trades.lots, trades.paid
    effects += penalised(state, stack, *columns, view.mark)
    if theirs:
        effects += book_trades(state, _booked(state, theirs), "trade")
    none = np.zeros(len(sold), np.int64)
    left = [abs(b.offer.lots) - int(b.lots.sum()) for b in sold]
    rows = zip(trades.lots.tolist(), left, sold, strict=True)
    effects.append(
        AuctionsReduced(
            auction=pack(np.array([b.offer.auction for b in sold], np.int64)),
            lots=pack(np.array([n if rest else b.offer.whole for n, rest, b in rows], np.int64)),
            penalty=pack(none),
            closed=pack(np.array([int(n == 0) for n in left], np.int64)),
            reason="cleared",
        )
    )
    return effects


def _booked(state: State, rows: list[tuple[int, int, int, int]]) -> Trades:
    return trades_at(state, *(np.array(column, np.int64) for column in zip(*rows, strict=True)))
