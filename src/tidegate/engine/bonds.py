"""What becomes of bids and their bonds when an auction is over."""

import numpy as np

from tidegate.domain.book import FUND, TREASURY
from tidegate.domain.effects import BidsCleared, Decision, Posted
from tidegate.domain.instrument import CASH
from tidegate.domain.units import I64, Amount, pack
from tidegate.engine.state import State


def answered(state: State, slot: I64, lots: I64, price: I64, reason: str) -> list[Decision]:
    """Return the end of the bids in these slots: answers, and bonds back or to the fund.

    A bond is forfeited only where the auction was cleared and its bid was still sealed: who could
    not reveal because the auction was called off loses nothing.
    """
    bids = state.bids
    if not slot.size:
        return []
    effects: list[Decision] = [
        BidsCleared(bid=pack(bids.key[slot]), lots=pack(lots), price=pack(price), reason=reason)
    ]
    for n in slot[bids.bond[slot] > 0].tolist():
        kept = reason == "cleared" and not bids.lots[n]
        effects.append(
            Posted(
                debit=TREASURY,
                credit=FUND if kept else int(bids.bidder[n]),
                asset=CASH,
                amount=Amount(int(bids.bond[n])),
                reason="forfeit" if kept else "bond",
            )
        )
    return effects


def nonces_of(state: State, slot: I64) -> bytes:
    """Return what the revealed bids among these add to the seed, in the order they came."""
    revealed = slot[state.bids.lots[slot] > 0]
    return pack(state.bids.nonce[revealed].astype(np.int64))
