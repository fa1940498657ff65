"""What became of what was told: one outcome a record, for whoever told it."""

from collections.abc import Sequence

from tidegate.api.answers import Outcome, Taken
from tidegate.domain.book import EXTERNAL
from tidegate.domain.effects import BidKept, Decision, PositionsMoved, Rejected
from tidegate.domain.events import AuctionTaken
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack
from tidegate.service.views_words import price_text, quantity_text, rows_of


def taken_of(records: Sequence[Record], stack: Stack) -> Taken:
    """Return the answer to what became these records."""
    outcomes = [outcome_of(record, stack) for record in records]
    return Taken(first=records[0].seq, last=records[-1].seq, outcomes=outcomes)


def outcome_of(record: Record, stack: Stack) -> Outcome:
    """Return what became of one event."""
    refused = [e for e in record.effects if isinstance(e, Rejected)]
    kept = next((e.bid for e in record.effects if isinstance(e, BidKept)), None)
    taken = isinstance(record.event, AuctionTaken)
    got, price = _got(record.effects, stack) if taken else (None, None)
    return Outcome(
        seq=record.seq,
        refused=[e.code for e in refused],
        details=[e.detail for e in refused],
        bid=kept,
        got=got,
        price=price,
    )


def _got(effects: Sequence[Decision], stack: Stack) -> tuple[str | None, str | None]:
    """Return what a bidder has got: the other side of what the account in the auction did."""
    for effect in effects:
        if isinstance(effect, PositionsMoved) and effect.reason == "auctioned":
            rows = rows_of(effect.account, effect.instrument, effect.lots, effect.price)
            for account, instrument, lots, price in rows:
                if account != EXTERNAL:
                    of = stack.venue.instruments[instrument]
                    return quantity_text(of, -lots), price_text(of, price)
    return None, None
