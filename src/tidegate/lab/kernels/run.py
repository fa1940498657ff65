"""One path from its first price to its last: every event as the engine takes it."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from typing import Final

from tidegate.domain.book import TREASURY
from tidegate.domain.units import I64, PPM, kernel
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.alarm import fund_of, mark_price, watch
from tidegate.lab.kernels.desk import FULL, Desk, note
from tidegate.lab.kernels.inner import inner
from tidegate.lab.kernels.look import census, gather, look
from tidegate.lab.kernels.serve import serve
from tidegate.lab.kernels.settle import pay_debtors
from tidegate.lab.kernels.winners import deleverage


HALT: Final = 4


@inner
def observe(desk: Desk, i: int, now: int) -> int:
    """Take one price of ``i``, our displacement in it, through the whole stack; 0, or FULL.

    Margin, breaker, waterfall, planner, venue: in the engine's order. An unchanged price is no
    news.
    """
    m = desk.market[i]
    m[c.REQUOTE] = 0
    price, old = min(desk.fact[i, c.PRICE_MAX], max(1, m[c.OUTSIDE] + m[c.SHIFT])), m[c.MARK]
    if price == old:
        return 0
    mark_price(desk, i, price, now)
    many = gather(desk, i, old, price)
    if many:
        look(desk, many)
    rung = watch(desk, now)
    desk.total[c.EVENTS] += 1
    if desk.cell[c.N_DEBTORS]:
        pay_debtors(desk)
    status = 0
    if desk.cell[c.N_HOT] and rung < HALT:
        below, broke = census(desk)
        if broke and desk.rule[c.DELEVERAGE]:
            deleverage(desk, rung)
        if below:
            status = serve(desk, rung, now)
    if desk.trail.shape[0]:
        treasury = desk.people[TREASURY, c.CASH]
        note(desk, c.TICK, i, price, rung, fund_of(desk), treasury)
    return status


@kernel
def run_path(desk: Desk, price: I64, begin: int, step_ns: int) -> int:
    """Run one path; return 0, or FULL where the venue's slots did not suffice.

    ``price`` is [steps, instruments] ticks without our displacement. In each step the displacement
    shrinks, then prices arrive instrument by instrument; a price that orders have moved is told
    again at once, lowest instrument first, until nothing more is forced.
    """
    instruments = price.shape[1]
    for t in range(price.shape[0]):
        now = begin + (t + 1) * step_ns
        for i in range(instruments):
            shift = desk.market[i, c.SHIFT]
            if shift:
                desk.market[i, c.SHIFT] = fade(shift, desk.fact[i, c.KEEP])
        for i in range(instruments):
            desk.market[i, c.OUTSIDE] = price[t, i]
            j = i
            while j < instruments:
                if observe(desk, j, now):
                    return FULL
                j = 0
                while j < instruments and not desk.market[j, c.REQUOTE]:
                    j += 1
    desk.total[c.FUND_LEFT] = fund_of(desk)
    return 0


@kernel
def fade(shift: int, keep: int) -> int:
    """Return what is left of a displacement after a step, rounded towards nothing."""
    size = abs(shift) * keep // PPM
    return size if shift > 0 else -size
