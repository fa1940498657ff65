"""Commitments of providers: kept while their margin could carry them."""

import numpy as np

from tidegate.domain.backing import OFFERS
from tidegate.domain.book import row_of
from tidegate.domain.effects import CommitmentKept, Decision
from tidegate.domain.events import CommitmentMade
from tidegate.domain.facts import Facts
from tidegate.domain.instrument import Kind
from tidegate.domain.units import I64, PPM
from tidegate.engine.following import facts_now
from tidegate.engine.ledger import account_refusal, rejected
from tidegate.engine.state import State
from tidegate.kernels.margin import assess_account
from tidegate.kernels.offers import affordable, open_interest
from tidegate.safeguards.stack import Stack


def free_margin(state: State, mark: I64, account: int, facts: Facts) -> int:
    """Return by how much an account's equity exceeds its initial margin at ``mark``, in Money."""
    out = np.zeros(3, np.int64)
    assess_account(state.book, facts, mark, account, -1, 0, 0, 0, 0, out)
    return int(out[0]) - int(max(out[1], out[2]))


def on_commitment(state: State, event: CommitmentMade, stack: Stack) -> list[Decision]:
    """Keep a provider's commitment, if its margin could carry it as prices are now."""
    if not stack.declaration.backstop.offers_max:
        return []
    a, i, backing = event.account, event.instrument, state.backing
    if refusal := account_refusal(state, a):
        return refusal
    if not 0 <= i < len(stack.venue.instruments) or stack.facts.kind[i] == Kind.SPOT:
        return rejected("instrument_unknown", f"commitment in instrument {i}")
    if event.long_max < 0 or event.short_max < 0:
        return rejected("amount_must_be_positive", f"commitment of account {a}")
    if max(event.long_max, event.short_max) > stack.facts.lots_max[i]:
        return rejected("amount_exceeds_limit", f"commitment of account {a} in instrument {i}")
    if event.discount < 0 or event.slope < 0 or event.discount + event.slope > PPM:
        return rejected("rate_out_of_range", f"{event.discount} and {event.slope} ppm")
    wants = bool(event.long_max or event.short_max)
    slot = _offer_slot(state, a, i, wants=wants)
    if slot < 0:
        return rejected("nothing_to_reduce", f"no commitment of account {a} in instrument {i}")
    if slot == backing.offer_account.size:
        return rejected("commitments_are_full", f"all {slot} slots are taken")
    if wants and (refusal := _unaffordable(state, event, stack)):
        return refusal
    return [
        CommitmentKept(
            slot=slot,
            account=a,
            instrument=i,
            long_max=event.long_max,
            short_max=event.short_max,
            discount=event.discount,
            slope=event.slope,
        )
    ]


def _offer_slot(state: State, account: int, i: int, *, wants: bool) -> int:
    """Return the slot of an account's commitment, or else the first one free; -1: nothing to end.

    A withdrawn commitment leaves its slot to others, and nobody takes one without committing.
    """
    b, used = state.backing, int(state.backing.counts[OFFERS])
    bound = (b.offer_long[:used] > 0) | (b.offer_short[:used] > 0)
    mine = bound & (b.offer_account[:used] == account) & (b.offer_instrument[:used] == i)
    if mine.any():
        return int(np.argmax(mine))
    if not wants:
        return -1
    return used if bound.all() else int(np.argmin(bound))


def _unaffordable(state: State, event: CommitmentMade, stack: Stack) -> list[Decision]:
    """Return a refusal where the account's free margin could not carry either side to its end."""
    a, i = event.account, event.instrument
    if not state.mark[i]:
        return rejected("instrument_has_no_mark", f"commitment in instrument {i}")
    row = row_of(state.book, a, i)
    held = int(state.book.lots[row]) if row >= 0 else 0
    facts = facts_now(state, stack)
    free = free_margin(state, state.mark, a, facts)
    for side, most in ((1, event.long_max), (-1, event.short_max)):
        want = max(0, most - side * held)
        crowd = int(open_interest(state.book, i))
        fits = affordable(facts, i, held, side, want, int(state.mark[i]), crowd, free)
        if fits < want:
            return rejected("below_initial_margin", f"account {a} could take {fits} of {want} lots")
    return []
