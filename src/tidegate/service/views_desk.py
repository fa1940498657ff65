"""What is under way: orders in flight and open auctions."""

import numpy as np

from tidegate.api.answers import AuctionNow, OrderNow
from tidegate.engine.auctions import Offer, offers
from tidegate.engine.state import State
from tidegate.safeguards.auctions import BatchRoute
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Reading
from tidegate.service.views_words import account_name, price_text, quantity_text


def orders_now(now: Reading, *, account: int = -1, limit: int = 0) -> list[OrderNow]:
    """Return orders in flight, oldest id first: of one ``account`` or all; ``limit`` 0 is none."""
    state, stack = now.state, now.stack
    orders, book = state.orders, state.book
    live = np.flatnonzero(orders.key >= 0)
    if account >= 0:
        live = live[book.account[orders.row[live]] == account]
    live = live[np.argsort(orders.key[live], kind="stable")]
    answers: list[OrderNow] = []
    for slot in live[: limit or live.size].tolist():
        row = int(orders.row[slot])
        of = stack.venue.instruments[int(book.instrument[row])]
        answers.append(
            OrderNow(
                order=int(orders.key[slot]),
                account=account_name(now.names, int(book.account[row]), stack),
                instrument=of.symbol,
                quantity=quantity_text(of, int(orders.lots[slot])),
                limit=price_text(of, int(orders.limit[slot])),
                route=stack.declaration.route.name,
                placed_at=int(orders.placed[slot]),
            )
        )
    return answers


def auctions_now(now: Reading) -> list[AuctionNow]:
    """Return every open auction as a bidder sees it at the state's own time, oldest id first."""
    state, stack = now.state, now.stack
    found = [
        _auction(state, offer, stack) for offer in offers(state, state.now, stack) if offer.lots
    ]
    return sorted(found, key=lambda one: one.auction)


def _auction(state: State, offer: Offer, stack: Stack) -> AuctionNow:
    of, route = stack.venue.instruments[offer.instrument], stack.auctions
    assert route is not None, "there are offers"
    batch = route if isinstance(route, BatchRoute) else None
    began = state.now - offer.elapsed
    slot = int(np.flatnonzero(state.auctions.key == offer.auction)[0])
    return AuctionNow(
        auction=offer.auction,
        kind="dutch" if route.name == "auction" else route.name,
        instrument=of.symbol,
        quantity=quantity_text(of, -offer.lots),
        asking=None if batch else price_text(of, offer.price),
        mark=price_text(of, int(state.mark[offer.instrument])),
        opened_at=int(state.auctions.opened[slot]),
        closes_at=began + batch.window_ns if batch else None,
        reveal_at=began + batch.closes_ns if batch and batch.sealed else None,
        bids=int(state.bids.of(offer.auction).size) if batch else 0,
    )
