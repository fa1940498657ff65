"""Deleveragings as receipts: who was closed against whom, at what price, and who gave up what."""

from tidegate.api.answers import Receipt, Winner
from tidegate.domain.effects import Deleveraged
from tidegate.domain.units import unpack
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Names
from tidegate.service.views_words import (
    account_name,
    money_text,
    price_text,
    quantity_text,
    rows_of,
)


def receipts_of(record: Record, stack: Stack, names: Names) -> list[Receipt]:
    """Return a receipt for each deleveraging of one record."""
    return [
        receipt_of(record, effect, stack, names)
        for effect in record.effects
        if isinstance(effect, Deleveraged)
    ]


def receipt_of(record: Record, effect: Deleveraged, stack: Stack, names: Names) -> Receipt:
    """Return one deleveraging in names and decimals."""
    of = stack.venue.instruments[effect.instrument]
    winners = rows_of(effect.account, effect.lots, effect.forgone, effect.rank)
    return Receipt(
        seq=record.seq,
        ts=record.event.ts,
        instrument=of.symbol,
        bankrupt=[account_name(names, a, stack) for a in unpack(effect.bankrupt).tolist()],
        price=price_text(of, effect.price),
        mark=price_text(of, effect.mark),
        deficit=money_text(effect.deficit),
        fund=money_text(effect.fund),
        fund_paid=money_text(effect.fund_paid),
        forgone=money_text(sum(unpack(effect.forgone).tolist())),
        candidates=effect.candidates,
        rule=effect.rule,
        winners=[
            Winner(
                account=account_name(names, account, stack),
                quantity=quantity_text(of, lots),
                forgone=money_text(forgone),
                rank=rank,
            )
            for account, lots, forgone, rank in winners
        ],
    )
