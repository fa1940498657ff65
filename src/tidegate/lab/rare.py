"""Tails below one in ten thousand: tilts found by cross-entropy, and two levels of one estimate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.measures import (
    CONFIDENCE,
    Estimate,
    clopper_pearson,
    effective,
    quantile_of_normal,
)
from tidegate.lab.opening import Opening
from tidegate.lab.sample import Progress, sample
from tidegate.lab.study import Study
from tidegate.lab.tilted import Tilt, TiltedJumps
from tidegate.lab.weather import F64, Weather
from tidegate.safeguards.stack import SafeguardStack


ELITE: Final = 0.1  # share of the worst paths from which a tilt learns
REFINED: Final = 2  # rounds at the threshold itself: one alone may rest on a handful of paths
INTENSITY: Final = (1.0, 1e4)  # of jumps, that a tilt may ask for

Loss = Callable[[Weather], F64]  # what each path of a weather costs, in any unit


class Rare(NamedTuple):
    """A probability far below one over the number of paths, and how far to trust it."""

    probability: Estimate
    relative_error: float  # standard error over the estimate; infinite where nothing was hit
    paths: int
    hits: int
    effective: float  # of the hits, after weighting: few of them carry it all where this is small


def rare(values: F64, weights: F64, threshold: float, confidence: float = CONFIDENCE) -> Rare:
    """Return P(value > threshold) from paths drawn with likelihood ratios ``weights``."""
    hit = values > threshold
    counted = np.where(hit, weights, 0.0)
    n, value = values.size, float(counted.mean())
    error = float(counted.std(ddof=1)) / sqrt(n) if n > 1 else 1.0
    hits = int(hit.sum())
    if not hits:
        return Rare(Estimate(0.0, 0.0, 1.0), float("inf"), n, 0, 0.0)
    reach = quantile_of_normal(confidence) * error
    found = Estimate(value, max(0.0, value - reach), min(1.0, value + reach))
    return Rare(found, error / value if value else float("inf"), n, hits, effective(counted))


@dataclass(frozen=True, slots=True)
class Found:
    """A tilt, and the thresholds that led to it, round by round."""

    tilt: Tilt
    thresholds: tuple[float, ...]
    reached: bool  # whether the last round's elite already lost more than was asked for


def tilt_for(
    law: TiltedJumps,
    loss: Loss,
    threshold: float,
    symbols: Sequence[str],
    *,
    root: int,
    paths: int = 1_000,
    rounds: int = 12,
) -> Found:
    """Return the tilt under which losses beyond ``threshold`` are common, by cross-entropy.

    Each round draws under the tilt so far, takes the worst tenth (or all beyond the threshold, once
    it is that common), and moves drift, intensity and jump mean to their weighted means: the
    closest member of the family to the law given a loss. ``loss`` is best a cheap one: a wrong tilt
    costs variance, never correctness. The first round has a jump or so a path, if the law has any:
    what no pilot shows is never learned. While hardly any path loses anything, the deepest falls
    lead the way instead; a book that loses in rises alone would need a tilt of one's own. Every
    round draws fresh paths, from 0 on. Source: Rubinstein and Kroese (2004), chapter 5.
    """
    tilt, thresholds = _first(law), list[float]()
    for n in range(rounds):
        drawn_from = law.under(tilt)
        which = range(n * paths, (n + 1) * paths)
        drawn = drawn_from.drawn(root, which)
        weather = drawn_from.weather(root, which, symbols)
        values = loss(weather)
        line = min(float(np.quantile(values, 1 - ELITE)), threshold)
        thresholds.append(line)
        elite = values > line if line == threshold else values >= line
        if line == values.min():
            fall = -np.log(weather.price).mean(axis=2).min(axis=1)
            elite = fall >= np.quantile(fall, 1 - ELITE)
        weight = np.exp(drawn.log_weight - drawn.log_weight[elite].max()) * elite
        tilt = _closest(law, drawn.factor, drawn.jumps, drawn.size, weight)
        if line >= threshold and thresholds.count(threshold) == REFINED:
            return Found(tilt, tuple(thresholds), reached=True)
    return Found(tilt, tuple(thresholds), reached=threshold in thresholds)


def _first(law: TiltedJumps) -> Tilt:
    expected = law.steps * law.per_step
    low, high = INTENSITY
    return Tilt(intensity=min(high, max(low, 1 / expected))) if expected else Tilt()


def _closest(law: TiltedJumps, factor: F64, jumps: F64, size: F64, weight: F64) -> Tilt:
    """Return the tilt whose means are those of the weighted paths."""
    total = float(weight.sum())
    drift = float(weight @ factor.mean(1)) / total
    expected = law.steps * law.per_step
    count = float(weight @ jumps.sum(1))
    if not expected or not count:
        return Tilt(drift=drift)
    low, high = INTENSITY
    intensity = min(high, max(low, count / total / expected))
    jump = float(weight @ size.sum(1)) / count - law.jump_mean if law.jump_deviation else 0.0
    return Tilt(drift, intensity, jump)


def rare_study(
    opening: Opening,
    law: TiltedJumps,
    tilt: Tilt,
    stacks: Sequence[SafeguardStack],
    *,
    root: int,
    paths: Sequence[int],
    on_done: Progress | None = None,
) -> Study:
    """Return the study of a law drawn under a tilt, through the true engine, with its weights.

    Everything in `measures` and `sizing` takes the weights into account. Paths should not be those
    from which the tilt was found.
    """
    drawn_from = law.under(tilt)
    weights = drawn_from.weights(root, paths).tolist()
    return sample(
        opening, drawn_from, stacks, root=root, paths=paths, weights=weights, on_done=on_done
    )


class TwoLevels(NamedTuple):
    """An estimate from many cheap paths, corrected by few dear ones on the same weather."""

    estimate: Estimate
    cheap: float  # what the cheap level alone says
    correction: float
    variance_ratio: float  # of the dear level alone with as many paths, over this one's


def two_levels(
    cheap_many: F64,
    cheap_pairs: F64,
    dear_pairs: F64,
    *,
    many_weights: F64 | None = None,
    pair_weights: F64 | None = None,
    confidence: float = CONFIDENCE,
) -> TwoLevels:
    """Return E[dear] = E[cheap] + E[dear - cheap], each mean from paths of its own.

    ``cheap_pairs`` and ``dear_pairs`` come from the same paths, ``cheap_many`` from others. It is
    unbiased however wrong the cheap level is; how much it helps is said in ``variance_ratio``.
    Source: the two-level case of Giles (2008), multilevel Monte Carlo.
    """
    if cheap_pairs.size != dear_pairs.size or cheap_pairs.size < 2 or cheap_many.size < 2:
        raise ConfigInvalid(
            where="two_levels",
            what="needs at least two paths a level, and pairs on the same paths",
            found=f"{cheap_many.size}, {cheap_pairs.size} and {dear_pairs.size}",
        )
    many = cheap_many if many_weights is None else cheap_many * many_weights
    w = 1.0 if pair_weights is None else pair_weights
    gap, dear = w * (dear_pairs - cheap_pairs), w * dear_pairs
    variance = float(many.var(ddof=1)) / many.size + float(gap.var(ddof=1)) / gap.size
    alone = float(dear.var(ddof=1)) / dear.size
    value = float(many.mean() + gap.mean())
    reach = quantile_of_normal(confidence) * sqrt(variance)
    return TwoLevels(
        Estimate(value, value - reach, value + reach),
        float(many.mean()),
        float(gap.mean()),
        alone / variance if variance else float("inf"),
    )


def disagreement(
    cheap: NDArray[np.bool_], dear: NDArray[np.bool_], confidence: float = CONFIDENCE
) -> Estimate:
    """Return how often two levels answer yes and no, with its exact interval.

    Where no pair disagreed, the interval of `two_levels` knows nothing of what it did not see: the
    upper end here, times the largest weight of a pair, bounds what may be missing.
    """
    return clopper_pearson(int((cheap != dear).sum()), cheap.size, confidence)
