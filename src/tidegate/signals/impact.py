"""What a sale costs: impact laws fitted to trades."""

from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True, slots=True)
class AlmgrenCost:
    """Permanent and temporary impact as fractions of the price, and the shortfall they make."""

    permanent: float  # I
    temporary: float  # K
    shortfall: float  # J = I / 2 + K


def square_root_impact(coefficient: float, sigma: float, size: float, volume: float) -> float:
    """Return the peak move of a sale as a fraction of the price: Y sigma sqrt(Q / V).

    A law of orders that are worked within normal volume: where Q exceeds a fifth of V or the book
    is thin it is too kind, and what the visible book says must be held against it.

    Source
    ------
    Toth et al., Anomalous price impact and the critical nature of liquidity (2011).
    """
    return coefficient * sigma * sqrt(size / volume)


def square_root_cost(coefficient: float, sigma: float, size: float, volume: float) -> float:
    """Return the mean cost of such a sale: two thirds of its peak, the mean of a square root."""
    return 2 / 3 * square_root_impact(coefficient, sigma, size, volume)


def almgren_cost(
    size: float,
    volume: float,
    outstanding: float,
    sigma: float,
    horizon: float,
    *,
    permanent: float = 0.314,
    temporary: float = 0.142,
    turnover: float = 0.25,
    exponent: float = 0.6,
) -> AlmgrenCost:
    """Return the cost of selling ``size`` evenly over ``horizon`` units of the volume's time.

    I = gamma sigma (X / V)(Theta / V)^(1/4), K = eta sigma |X / (V T)|^(3/5). The constants are
    those of shares in 2001-2003: elsewhere use the form and fit them anew.

    Source
    ------
    Almgren, Thum, Hauptmann and Li, Direct estimation of equity market impact (2005).
    """
    lasting = permanent * sigma * (size / volume) * (outstanding / volume) ** turnover
    passing = temporary * sigma * abs(size / (volume * horizon)) ** exponent
    return AlmgrenCost(lasting, passing, lasting / 2 + passing)


@dataclass(frozen=True, slots=True)
class BlockQuote:
    """What a provider should pay for a whole block, and what of it is for risk and liquidity."""

    speed: float  # alpha: q(t) = q0 exp(-alpha t)
    premium: float
    price: float


def block_price(
    size: float,
    price: float,
    *,
    permanent: float,
    fee: float,
    impact: float,
    aversion: float,
    sigma: float,
    volume: float,
) -> BlockQuote:
    """Return the price of a block for a provider without a deadline, under quadratic cost.

    q0 S0 - k q0^2 / 2 - psi |q0| - sqrt(eta gamma sigma^2 / (2V)) q0^2: the last term is what a
    backstop should ask for taking everything at once.

    Source
    ------
    Gueant, Optimal execution and block trade pricing (2014), quadratic costs, infinite horizon.
    """
    speed = sqrt(aversion * sigma**2 * volume / (2 * impact))
    premium = sqrt(impact * aversion * sigma**2 / (2 * volume)) * size**2
    worth = size * price - permanent * size**2 / 2 - fee * abs(size) - premium
    return BlockQuote(speed, premium, worth)
