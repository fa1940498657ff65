"""How fast to sell a perpetual, whose funding pays or costs while one waits."""

# scipy ships no types: what it returns is named where it enters.
# pyright: reportMissingTypeStubs=false

from dataclasses import dataclass
from math import exp, sqrt
from typing import Any

import numpy as np
import scipy.integrate
from numpy.typing import NDArray


integrate: Any = scipy.integrate


@dataclass(frozen=True, slots=True)
class PerpetualMarket:
    """A perpetual at P beside its index S: dP = b nu dt + noise, a trade of nu pays P + k nu.

    Funding ``beta`` (P - S) is paid by longs; ``phi`` q^2 is the cost of holding a risk, and
    ``alpha`` q^2 that of what is left at the end.
    """

    temporary: float  # k
    permanent: float  # b
    final: float  # alpha
    holding: float  # phi
    funding: float  # beta


@dataclass(frozen=True, slots=True)
class PerpetualRate:
    """The best rate now, and the functions of time it is made of."""

    rate: float  # units a unit of time; negative sells
    a: float
    constant: float
    speed: float  # omega = a / (2k)
    xi: float
    pi: float


def perpetual_rate(
    market: PerpetualMarket, horizon: float, now: float, held: float, premium: float
) -> PerpetualRate:
    """Return the best rate at time ``now`` with ``held`` units and P - S = ``premium``.

    nu = ((xi + pi) q + (xi - pi) (P - S) / b) / (4k). Needs 2 alpha > b: less, and holding on would
    be worth more than selling. Without permanent impact that form is singular, and the two Riccati
    equations behind it are integrated instead.

    Source
    ------
    Donnelly, Lin and Lorig, Optimal liquidation of perpetual contracts (arXiv:2601.10812),
    theorem 2, eqs. 14-17.
    """
    k, b = market.temporary, market.permanent
    if 2 * market.final <= b:
        msg = f"alpha {market.final:g} must be above half of b, {b / 2:g}"
        raise ValueError(msg)
    left = horizon - now
    if b == 0 or b * market.funding + market.holding <= 0:
        return _without_closed_form(market, left, held, premium)
    a = 2 * sqrt(k * (b * market.funding + market.holding))
    constant = (a + b - 2 * market.final) / (a - b + 2 * market.final)
    speed = a / (2 * k)
    once, twice = exp(-speed * left), exp(-2 * speed * left)
    below = constant * twice + 1
    xi = a * (constant * twice - 1) / below
    pi = -4 * k * market.holding * (constant * once + 1) * (1 - once) / (a * below)
    pi += once * (constant + 1) * (b - 2 * market.final) / below
    rate = ((xi + pi) * held + (xi - pi) / b * premium) / (4 * k)
    return PerpetualRate(rate, a, constant, speed, xi, pi)


def _without_closed_form(
    market: PerpetualMarket, left: float, held: float, premium: float
) -> PerpetualRate:
    """Integrate backwards from the end: h = A q^2 / 2 + B q (P - S), nu = h' / (2k).

    With s the time left, dA/ds = A'^2 / (2k) - 2 phi and dB/ds = A' B' / (2k) - beta, where A' = A
    + b + b B and B' = B + b B_z is B without permanent impact.
    """
    k, b, beta, phi = market.temporary, market.permanent, market.funding, market.holding

    def slope(_: float, y: NDArray[np.float64]) -> list[float]:
        quadratic, linear, square = y.tolist()
        by_held = quadratic + b * (1 + linear)
        by_premium = linear + b * square
        return [
            by_held**2 / (2 * k) - 2 * phi,
            by_held * by_premium / (2 * k) - beta,
            by_premium**2 / (2 * k),
        ]

    solved = integrate.solve_ivp(
        slope, (0.0, left), [-2 * market.final, 0.0, 0.0], method="DOP853", rtol=1e-11, atol=1e-12
    )
    quadratic, linear, square = solved.y[:, -1].tolist()
    by_held, by_premium = quadratic + b * (1 + linear), linear + b * square
    rate = (by_held * held + by_premium * premium) / (2 * k)
    # xi + pi is twice the first and (xi - pi) / b twice the second.
    xi, pi = by_held + b * by_premium, by_held - b * by_premium
    a = 2 * sqrt(max(0.0, k * (b * beta + phi)))
    constant = (a + b - 2 * market.final) / (a - b + 2 * market.final)
    return PerpetualRate(rate, a, constant, a / (2 * k), xi, pi)
