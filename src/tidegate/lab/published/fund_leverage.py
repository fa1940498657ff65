"""Value funds that borrow: whether a cap on their leverage makes the tails of returns fat.

Thurner, Farmer, Geanakoplos (2012), Leverage causes fat tails and clustered volatility: noise
traders spend xi, a mean-reverting lognormal; funds put min(beta (V - p), cap) times their wealth
into shares of value V = 1; investors follow performance; ruined funds come back after a while. One
price clears each step. The defaults are the paper's numbers as far as we remember them.
"""

from dataclasses import dataclass

import numpy as np

from tidegate.drivers.streams import Streams
from tidegate.lab.kernels.value_funds import course
from tidegate.lab.weather import F64


@dataclass(frozen=True, slots=True)
class Market:
    """The terms of one market."""

    cap: float  # the largest leverage
    betas: tuple[float, ...] = tuple(range(5, 55, 5))
    shares: float = 1_000.0
    wealth: float = 2.0  # of a fund at its start
    noise: float = 0.035  # deviation of a step of log(xi)
    memory: float = 0.99  # of log(xi)
    smoothing: float = 0.1  # of performance
    flow: float = 0.15  # of wealth, per unit of performance above the benchmark
    benchmark: float = 0.005
    ruin: float = 0.1  # share of the first wealth
    away: int = 100  # steps until a ruined fund is back


def returns(market: Market, steps: int, root: int, path: int, burn: int = 5_000) -> tuple[F64, F64]:
    """Return logarithmic returns [steps] after ``burn`` steps, and the mispricing before each.

    The noise of a path is that of (root, path), stream "noise", whatever the cap.
    """
    shocks = Streams(root, path)["noise"].standard_normal(burn + steps)
    prices = np.empty(burn + steps + 1)
    course(shocks, np.array(market.betas, np.float64), _terms(market), prices)
    kept = np.log(prices[burn:])
    return np.diff(kept), 1.0 - prices[burn:-1]


def _terms(m: Market) -> F64:
    return np.array(
        [m.cap, m.shares, m.wealth, m.noise, m.memory, m.smoothing, m.flow, m.benchmark, m.ruin,
         m.away]
    )  # fmt: skip
