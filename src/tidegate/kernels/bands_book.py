"""Bands of whole accounts: what they are worth, what they would trade, and a trade with one.

Each account's bands are a market of their own. Fees and shares are ppm, prices Money a trading lot.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

import numpy as np

from tidegate.domain.banded import Banded
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, kernel, muldiv, muldiv_up
from tidegate.kernels.bands import ACTIVE, IN, OUT, amount_to, band_price, trade, worth_of


LOTS, PAID, CELL = 0, 1, 2  # cells of one account's trade
SCRATCH = 5  # cells that `trade` writes
ABOVE, BELOW = 4, 16  # times the first edge: beyond, bands neither trade nor fit into the range


@kernel
def worth_in_bands(
    x: I64, y: I64, active: int, top: int, oracle: int, amp: int, root: int, unit: int
) -> int:
    """Return what bands come to in Money if the oracle walks down through them; `bands.worth_of`.

    ``top`` is the upper price of the first band, ``oracle`` the believed price.
    """
    total, up = 0, top
    for k in range(x.size):
        down = muldiv(up, amp - 1, amp)
        above, below = x[k] if k <= active else 0, y[k] if k >= active else 0
        if above or below:
            total += worth_of(0, above, below, oracle, up, down, amp, root, PPM, unit)
        up = down
    return total


@kernel
def worths(
    banded: Banded, facts: Facts, accounts: I64, price: I64, amp: int, root: int, out: I64
) -> None:
    """Write `worth_in_bands` of each account; ``price`` is that of each instrument.

    A price `ABOVE` or `BELOW` reach counts as the end of it: there bands are worth little or are
    not needed, and their arithmetic keeps within its range.
    """
    for n in range(accounts.size):
        a = accounts[n]
        i, top = banded.asset[a], banded.top[a]
        out[n] = worth_in_bands(
            banded.x[a],
            banded.y[a],
            banded.active[a],
            top,
            max(top // BELOW + 1, min(top * ABOVE, price[i])),
            amp,
            root,
            facts.units[i],
        )


@kernel
def edge_of(banded: Banded, a: int, amp: int) -> int:
    """Return the upper price of an account's active band."""
    up = banded.top[a]
    for _ in range(banded.active[a]):
        up = muldiv(up, amp - 1, amp)
    return up


@kernel
def bounded(rising: int, y: int, x: int, mark: int, give: int, unit: int) -> int:
    """Return the Money for ``y`` of collateral that gives up at most ``give`` ppm of the mark.

    ``x`` is what the bands' curve asks (``rising``: the account sells) or pays. Rounded in favour
    of the account.
    """
    if rising:
        return max(x, muldiv_up(y, muldiv_up(mark, PPM - give, PPM), unit))
    return min(x, muldiv(y, muldiv(mark, PPM + give, PPM), unit))


@kernel
def offered(
    banded: Banded,
    facts: Facts,
    accounts: I64,
    price: I64,
    fee: I64,
    mark: I64,
    give: int,
    amp: int,
    far: int,
    lots: I64,
    paid: I64,
) -> None:
    """Write what each account would trade until its bands stand a fee away from the oracle.

    ``lots`` is the change of its collateral (negative: sold), ``paid`` the Money it pays (negative:
    receives); see `bounded`. ``fee`` and ``mark`` are those of each instrument. What would leave no
    more than a unit a band takes that too.
    """
    last = banded.x.shape[1] - 1
    new_x, new_y = np.zeros_like(banded.x[0]), np.zeros_like(banded.y[0])
    out = np.zeros_like(np.repeat(banded.x[0, :1], SCRATCH))
    want = np.zeros_like(out)
    for n in range(accounts.size):
        a = accounts[n]
        i, active = banded.asset[a], banded.active[a]
        lots[n], paid[n] = 0, 0
        x, y, unit = banded.x[a], banded.y[a], facts.units[i]
        if not banded.top[a] // BELOW < price[i] <= banded.top[a] * ABOVE:
            continue
        up, oracle, f = edge_of(banded, a, amp), price[i], fee[i]
        here = band_price(x[active], y[active], oracle, up, amp, unit)
        low, high = muldiv(oracle, PPM - f, PPM), muldiv_up(oracle, PPM + f, PPM)
        if low <= here <= high:
            continue
        goal, rising = (low, 1) if here < low else (high, 0)
        amount_to(goal, x, y, active, 0, last, up, oracle, f, amp, far, PPM, unit, want)
        if want[0] == 0 or want[1] != rising:
            continue
        trade(
            rising, 1, want[0], x, y, active, 0, last, up, oracle, f, amp, far, PPM, unit,
            new_x, new_y, out,
        )  # fmt: skip
        if rising and new_y.sum() <= new_y.size:
            trade(
                1, 0, y.sum(), x, y, active, 0, last, up, oracle, f, amp, far, PPM, unit,
                new_x, new_y, out,
            )  # fmt: skip
        if rising:
            lots[n], paid[n] = -out[OUT], -bounded(1, out[OUT], out[IN], mark[i], give, unit)
        else:
            lots[n], paid[n] = out[IN], bounded(0, out[IN], out[OUT], mark[i], give, unit)


@kernel
def convert(
    banded: Banded,
    facts: Facts,
    a: int,
    lots: int,
    oracle: int,
    fee: int,
    mark: int,
    give: int,
    amp: int,
    far: int,
    new_x: I64,
    new_y: I64,
    out: I64,
) -> None:
    """Trade ``lots`` (negative: sold) with one account's bands; as much as they hold is done.

    The account never gives up more than ``give`` ppm against ``mark``; what it gains by this stays
    in its bands, as a fee does. Writes the bands afterwards; and to ``out`` the change of
    collateral, the Money paid (negative: received) and the active band.
    """
    i, active = banded.asset[a], banded.active[a]
    last, unit = banded.x.shape[1] - 1, facts.units[i]
    up = edge_of(banded, a, amp)
    done = np.zeros_like(np.repeat(banded.x[0, :1], SCRATCH))
    rising, exact_in = (1, 0) if lots < 0 else (0, 1)
    trade(
        rising, exact_in, abs(lots), banded.x[a], banded.y[a], active, 0, last, up, oracle, fee,
        amp, far, PPM, unit, new_x, new_y, done,
    )  # fmt: skip
    cell = done[ACTIVE]
    if rising:
        out[LOTS], out[PAID] = -done[OUT], -bounded(1, done[OUT], done[IN], mark, give, unit)
        new_x[cell] += -out[PAID] - done[IN]
    else:
        out[LOTS], out[PAID] = done[IN], bounded(0, done[IN], done[OUT], mark, give, unit)
        new_x[cell] += done[OUT] - out[PAID]
    out[CELL] = cell
