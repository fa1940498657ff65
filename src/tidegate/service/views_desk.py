"""What is under way: orders in flight and open auctions."""

import msgspec
import numpy as np

from tidegate.api.answers import AuctionNow, Grid, OrderNow, Sale
from tidegate.engine.auctions import Offer, offers
from tidegate.engine.state import State
from tidegate.safeguards.auctions import (
    AuctionRoute,
    BatchRoute,
    FixedSpreadRoute,
    SealedRoute,
)
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Reading
from tidegate.service.views_words import account_name, money_text, price_text, quantity_text


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
        kind=sale_kind(route.name),
        instrument=of.symbol,
        quantity=quantity_text(of, -offer.lots),
        asking=None if batch else price_text(of, offer.price),
        mark=price_text(of, int(state.mark[offer.instrument])),
        opened_at=int(state.auctions.opened[slot]),
        closes_at=began + batch.window_ns if batch else None,
        reveal_at=began + batch.closes_ns if batch and batch.sealed else None,
        bids=int(state.bids.of(offer.auction).size) if batch else 0,
        began=began,
        base=price_text(of, offer.base),
        limit=price_text(of, offer.limit),
    )


def sale_kind(route: str) -> str:
    """Return how people call a way of selling."""
    return "dutch" if route == "auction" else route


def sale_now(stack: Stack) -> Sale | None:
    """Return how auctions go under a stack; None where nothing is sold by auction."""
    route = stack.auctions
    if route is None:
        return None
    more: dict[str, int | str] = {}
    match route:
        case AuctionRoute():
            more = {
                "curve": route.curve,
                "buffer": route.buffer,
                "step_ns": route.step_ns,
                "cut": route.cut,
                "tail_ns": route.tail_ns,
                "cusp": route.cusp,
                "drift": route.drift,
            }
        case FixedSpreadRoute():
            more = {"discount": route.discount}
        case SealedRoute():
            more = {
                "window_ns": route.window_ns,
                "reveal_ns": route.reveal_ns,
                "jitter_ns": route.jitter_ns,
                "bond": money_text(route.bond),
            }
        case BatchRoute():
            more = {"window_ns": route.window_ns}
        case _:
            pass
    said = {
        "kind": sale_kind(route.name),
        "life_ns": int(route.life_ns),
        "dust": money_text(route.dust),
        "incentive": money_text(route.incentive),
        "incentive_share": int(route.incentive_share),
    }
    return msgspec.convert(said | more, Sale)


def grid_of(now: Reading) -> list[Grid]:
    """Return every instrument as a bidder needs it."""
    return [
        Grid(
            symbol=of.symbol,
            tick_size=of.tick_size,
            lot_size=of.lot_size,
            mark=price_text(of, int(now.state.mark[i])),
        )
        for i, of in enumerate(now.stack.venue.instruments)
    ]
