"""Models of who pays: sizes of funds, ruin, and how policies of deleveraging are judged."""

# scipy ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq


Floats = NDArray[np.float64]


def queue_regret(rounds: int, weight: float, ratio: float) -> float:
    """Return the dynamic regret of a fixed queue whose head is large in every second round.

    Half of the rounds cost ``weight * (1 - 1 / ratio)``, where ``ratio`` is how many times larger
    the better candidate's capacity is.

    Source
    ------
    Chitra, Thogiti, Trujillo and Xu, arXiv:2602.15182, equation (18).
    """
    return rounds / 2 * weight * (1 - 1 / ratio)


def project_budget(wanted: Floats, weight: Floats, budget: float) -> Floats:
    """Return the nearest point to ``wanted`` in the box [0, 1] whose weighted sum is ``budget``.

    ``clip(wanted - m * weight, 0, 1)`` for the one m that meets the budget; weights are > 0. Raise
    ValueError where no point of the box meets it.
    """
    if not 0 <= budget <= float(weight.sum()) * (1 + 1e-12):
        msg = f"a budget of {budget} lies outside 0..{weight.sum()}"
        raise ValueError(msg)

    def excess(m: float) -> float:
        return float(weight @ np.clip(wanted - m * weight, 0, 1)) - budget

    low = float(((wanted - 1) / weight).min()) - 1
    high = float((wanted / weight).max()) + 1
    m = cast("float", brentq(excess, low, high, xtol=1e-15)) if excess(high) < 0 else high
    return np.clip(wanted - m * weight, 0, 1)


@dataclass(frozen=True, slots=True)
class Waves:
    """Totals over the waves of one deleveraging, and what the largest loser does to them."""

    needed: float
    taken: float
    deficit: float
    repeats: int  # waves whose largest loss is the largest of all, the same account again
    deficit_once: float  # with that loser counted once


def waves(
    needed: Sequence[float],
    taken: Sequence[float],
    deficit: Sequence[float],
    worst: Sequence[float],
) -> Waves:
    """Return the totals of a deleveraging in waves; ``worst`` is each wave's largest loss."""
    largest = max(worst)
    repeats = sum(loss == largest for loss in worst)
    return Waves(
        needed=sum(needed),
        taken=sum(taken),
        deficit=sum(deficit),
        repeats=repeats,
        deficit_once=sum(deficit) - (repeats - 1) * largest,
    )


def markout(lots: float, executed: float, mark: float, later: float) -> tuple[float, float]:
    """Return (immediate, opportunity) of a close: against the mark, and what the mark did after.

    Positive is good for the account whose position changed by ``lots``.
    """
    return lots * (mark - executed), lots * (later - mark)


def largest_of_many(count: int, scale: float, tail: float, sigma: float) -> tuple[float, float]:
    """Return the order of the largest of ``count`` draws: with a Pareto tail and with a thin one.

    ``(scale * count) ** (1 / tail)`` and ``sigma * sqrt(2 ln count)``.
    """
    return (scale * count) ** (1 / tail), sigma * float(np.sqrt(2 * np.log(count)))


def cover(losses: Floats, members: int) -> tuple[list[float], float]:
    """Return each scenario's loss of its ``members`` worst, and the largest: a Cover-n fund.

    ``losses`` is [scenarios, members]: stress loss over margin; gains count as zero.
    """
    worst = np.sort(np.maximum(losses, 0), axis=1)[:, ::-1][:, :members].sum(axis=1)
    return worst.tolist(), float(worst.max(initial=0))


def gains_haircut(gains: Floats, shortfall: float) -> tuple[float, Floats, float]:
    """Return (haircut, what is paid out, what stays uncovered) when gains bear a shortfall."""
    total = float(gains[gains > 0].sum())
    haircut = min(1.0, max(0.0, shortfall) / total) if total else 0.0
    return haircut, np.where(gains > 0, gains * (1 - haircut), gains), shortfall - haircut * total


def ruin(capital: float, loading: float, mean_claim: float) -> float:
    """Return the probability of ultimate ruin of a fund under exponential claims.

    Premiums exceed mean claims by ``loading``. Cramér-Lundberg: exp(-l u / ((1 + l) m)) / (1 + l).
    """
    if loading <= 0:
        return 1.0
    return float(np.exp(-loading * capital / ((1 + loading) * mean_claim)) / (1 + loading))


def ruin_capital(probability: float, loading: float, mean_claim: float) -> float:
    """Return the capital with which `ruin` has this probability; 0 where none is needed."""
    if loading <= 0:
        return float("inf")
    needed = -np.log(probability * (1 + loading)) * (1 + loading) * mean_claim / loading
    return max(0.0, float(needed))


def objective(
    needed: Floats, taken: Floats, worst: Floats, reference: Floats, weight: float
) -> tuple[float, float]:
    """Return (tracking, fairness) of a policy over waves.

    Tracking is how far ``taken`` was from ``needed``, over and under alike. Fairness is ``weight``
    times how far the ``worst`` haircut share of a wave was from the ``reference``, in money needed.

    Source
    ------
    arXiv:2602.15182, section 5 and Table 2.
    """
    tracking = float(np.abs(taken - needed).sum())
    return tracking, float(weight * (needed * np.abs(worst - reference)).sum())


def regret_bound(deficit: Floats, path: float) -> float:
    """Return ``sqrt((1 + 2 path) * sum(deficit ** 2))``, the envelope of an online rule's regret.

    ``path`` is how far the best policy moves over the waves (P_theta in arXiv:2602.15182).
    """
    return float(np.sqrt((1 + 2 * path) * (deficit**2).sum()))
