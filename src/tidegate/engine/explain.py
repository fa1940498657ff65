"""Why one account was touched, in plain words with the numbers: order, plan, rung, mark, source.

A pure function over records. It never decides anew: every number it says was journalled when the
decision was taken.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from tidegate.domain.events import OrdersExpired, OrdersFilled
from tidegate.domain.units import unpack
from tidegate.engine.reading import clock_text
from tidegate.engine.telling import Teller
from tidegate.engine.trail import Trail
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack


END: Final = sys.maxsize  # as ``seq``: the last time that anything was done to the account


def explain(
    records: Iterable[Record], account: int, seq: int, stack: Stack, names: Sequence[str]
) -> list[str]:
    """Return why ``account`` was touched at ``seq``, from the order back to the observation.

    ``names`` are the user accounts in row order; accounts that the records open are added. Where
    nothing was done to the account at ``seq``, the last time before it is explained and the first
    line says so. Reads no record after ``seq``.
    """
    return told(Trail.walk(records, account, seq), seq, stack, names)


def told(trail: Trail, seq: int, stack: Stack, names: Sequence[str]) -> list[str]:
    """Return what `explain` returns, for a trail that was walked elsewhere up to ``seq``."""
    account = trail.account
    teller = Teller(stack, tuple(names if len(names) >= len(trail.names) else trail.names))
    name = teller.name(account)
    if trail.last is None:
        return [
            f"nothing was done to {name} up to {_place(seq)}",
            *teller.holdings(trail.standing),
        ]
    touch = trail.last
    at = touch.record.seq
    said = [f"{name} at seq {at:,}, {clock_text(touch.record.event.ts)}"]
    if seq not in {at, END}:
        said.append(f"nothing was done to {name} at {_place(seq)}; this is the last time before it")
    origin = touch
    event = touch.record.event
    if isinstance(event, (OrdersFilled, OrdersExpired)):
        mine = [n for n in unpack(event.order).tolist() if n in trail.origins]
        said += teller.answers(touch, trail)
        said += teller.deeds(touch, account) if mine else []
        if mine:
            origin = trail.origins[mine[0]]
    said += teller.deeds(origin, account)
    said += teller.plan(origin, account)
    said += teller.holdings(origin.standing)
    said += teller.rung(origin.standing)
    said += teller.marks(origin, account)
    said += teller.cause(origin)
    return said


def _place(seq: int) -> str:
    return "the end" if seq == END else f"seq {seq:,}"
