"""Value funds with a cap on their leverage, and the price at which all shares are held.

One course of the market of `lab.published.fund_leverage`, in float64; values are in units of what a
share is worth. Source: Thurner, Farmer, Geanakoplos (2012).
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from math import exp, log
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.units import kernel


F64: TypeAlias = NDArray[np.float64]

SCAN: Final = 0.002  # relative step of the walk from the last price to the next one
HALVINGS: Final = 50
LOWEST: Final = 1e-6  # price, of a value of 1


@kernel
def excess(price: float, xi: float, betas: F64, cap: float, shares: float, held: F64) -> float:
    """Return the value that all want to hold at ``price``, less that of all shares.

    ``held`` is [2, funds]: cash (negative where borrowed) and shares. A fund is long only.
    """
    total = xi - shares * price
    for h in range(betas.size):
        wealth = held[0, h] + held[1, h] * price
        if price < 1.0 and wealth > 0.0:
            total += min(betas[h] * (1.0 - price), cap) * wealth
    return total


@kernel
def clearing(last: float, xi: float, betas: F64, cap: float, shares: float, held: F64) -> float:
    """Return the first clearing price met on the way from ``last`` to where the excess points.

    A falling price takes wealth from funds that borrowed, so that several prices may clear: a
    market that moves in small steps stops at the first one.
    """
    up = excess(last, xi, betas, cap, shares, held) > 0.0
    near = last
    while near > LOWEST:
        far = near * (1.0 + SCAN) if up else near / (1.0 + SCAN)
        if (excess(far, xi, betas, cap, shares, held) > 0.0) != up:
            break
        near = far
    else:
        return LOWEST
    for _ in range(HALVINGS):
        middle = 0.5 * (near + far)
        if (excess(middle, xi, betas, cap, shares, held) > 0.0) == up:
            near = middle
        else:
            far = middle
    return 0.5 * (near + far)


@kernel
def course(shocks: F64, betas: F64, terms: F64, prices: F64) -> None:
    """Fill ``prices`` [steps + 1] with one course of the market; ``terms`` in `Market`'s order."""
    cap, shares, first, noise, memory, smoothing, flow, benchmark, ruin, away = terms
    funds = betas.size
    held = np.zeros((2, funds))
    held[0] = first
    performance, absent = np.zeros(funds), np.zeros(funds)
    level = log(shares)
    log_xi, price = level, 1.0
    prices[0] = price
    for t in range(shocks.size):
        log_xi = memory * log_xi + noise * shocks[t] + (1.0 - memory) * level
        last = price
        price = clearing(last, exp(log_xi), betas, cap, shares, held)
        prices[t + 1] = price
        for h in range(funds):
            if absent[h] > 0.0:
                absent[h] -= 1.0
                if absent[h] == 0.0:
                    held[0, h], held[1, h], performance[h] = first, 0.0, 0.0
                continue
            before = held[0, h] + held[1, h] * last
            wealth = held[0, h] + held[1, h] * price
            performance[h] += smoothing * ((wealth - before) / before - performance[h])
            stake = min(betas[h] * max(1.0 - price, 0.0), cap) * max(wealth, 0.0)
            moved = max(flow * (performance[h] - benchmark), -1.0) * wealth
            if wealth + moved < ruin * first:
                held[0, h], held[1, h], absent[h] = 0.0, 0.0, away
            else:
                held[1, h] = stake / price
                held[0, h] = wealth - stake + moved
