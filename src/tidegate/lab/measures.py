"""What a distribution of losses says: value at risk, shortfall, insolvency, each with its interval.

Every estimator takes one value a path and, for paths drawn by importance sampling, one likelihood
ratio a path. Nothing is divided by the sum of the weights: what is rare is estimated where it was
drawn often, and the estimate of a tail stays unbiased.
"""

# What scipy returns has no declared types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from math import ceil, inf, log, sqrt
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tidegate.domain.errors import ConfigInvalid
from tidegate.drivers.streams import Streams
from tidegate.lab.study import Study


F64: TypeAlias = NDArray[np.float64]

LEVEL: Final = 0.99  # of value at risk and shortfall
CONFIDENCE: Final = 0.95  # of every interval
TAIL_MIN: Final = 10  # paths in a tail, below which its mean has no interval
COLUMNS: Final = ("loss", "fund_used", "adl_profit_taken", "user_harm")


class Estimate(NamedTuple):
    """A number from a sample, and the interval in which the true one lies with a confidence.

    An end is infinite (or 0 or 1 for a probability) where the sample says nothing about it.
    """

    value: float
    low: float
    high: float

    def over(self, unit: float) -> "Estimate":
        """Return the same in another unit."""
        return Estimate(self.value / unit, self.low / unit, self.high / unit)


def quantile_of_normal(confidence: float) -> float:
    """Return how many standard errors a two-sided interval reaches."""
    return float(stats.norm.ppf((1 + confidence) / 2))


def effective(weights: F64) -> float:
    """Return how many equally weighted paths would be worth as much: (sum w)^2 / sum w^2."""
    square = float((weights**2).sum())
    return float(weights.sum()) ** 2 / square if square else 0.0


def mean(values: F64, weights: F64 | None = None, confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of ``values`` with Student's interval."""
    x = values if weights is None else values * weights
    middle = float(x.mean())
    if x.size < 2:
        return Estimate(middle, -inf, inf)
    quantile = float(stats.t.ppf((1 + confidence) / 2, x.size - 1))
    reach = quantile * float(x.std(ddof=1)) / sqrt(x.size)
    return Estimate(middle, middle - reach, middle + reach)


def wilson(hits: int, paths: int, confidence: float = CONFIDENCE) -> Estimate:
    """Return a share with Wilson's score interval (1927): near its nominal coverage on average."""
    return _share(hits, paths, "wilson", confidence)


def clopper_pearson(hits: int, paths: int, confidence: float = CONFIDENCE) -> Estimate:
    """Return a share with the exact interval of Clopper and Pearson (1934): never too short."""
    return _share(hits, paths, "exact", confidence)


def _share(hits: int, paths: int, method: str, confidence: float) -> Estimate:
    found = stats.binomtest(hits, paths).proportion_ci(confidence, method=method)
    # A path that was never hit says nothing about a lower end, and rounding must not invent one.
    low = 0.0 if hits == 0 else float(found.low)
    return Estimate(hits / paths, low, 1.0 if hits == paths else float(found.high))


def probability(
    hit: NDArray[np.bool_], weights: F64 | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """Return how likely it is that a path is ``hit``.

    Clopper-Pearson for equal weights. With weights the interval is the central limit's, and its
    upper end is 1 while nothing was hit: weights say nothing of what was never drawn.
    """
    if weights is None or (weights == 1.0).all():
        return clopper_pearson(int(hit.sum()), hit.size, confidence)
    if not hit.any():
        return Estimate(0.0, 0.0, 1.0)
    value, low, high = mean(hit.astype(np.float64), weights, confidence)
    return Estimate(value, max(0.0, low), min(1.0, high))


def value_at_risk(
    values: F64, level: float, weights: F64 | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """Return the least x that is exceeded with probability <= 1 - level, and its interval.

    Equal weights: order statistics, whose ranks are binomial (exact, whatever the law). An end is
    infinite where the sample is too small to have it. With weights: the values at which the
    interval of the probability of exceeding them leaves 1 - level.
    """
    _refuse_level(level)
    order = np.argsort(values, kind="stable")
    x = values[order]
    n = x.size
    if weights is None or (weights == 1.0).all():
        alpha = (1 - confidence) / 2
        low, high = (int(stats.binom.ppf(p, n, level)) for p in (alpha, 1 - alpha))
        at = min(n - 1, max(0, ceil(level * n - 1e-9) - 1))
        return Estimate(
            float(x[at]), float(x[low - 1]) if low else -inf, float(x[high]) if high < n else inf
        )
    w = weights[order]
    above, square = _after(w) / n, _after(w**2) / n  # of exceeding x[k], and its second moment
    error = np.sqrt(np.maximum(square - above**2, 0.0) / n)
    reach = quantile_of_normal(confidence)

    def first(chance: F64) -> float:
        within = np.flatnonzero(chance <= 1 - level)
        return float(x[within[0]]) if within.size else inf

    # Beyond the largest value nothing was drawn: no error can be measured there.
    top = first((above + reach * error)[:-1])
    return Estimate(first(above), first(above - reach * error), top)


def _after(w: F64) -> F64:
    return float(w.sum()) - np.cumsum(w)


def tail_weights(values: F64, level: float, weights: F64 | None = None) -> F64:
    """Return what each path counts in the expected shortfall; they sum to 1.

    Everything beyond the value at risk counts fully, and the paths on it share what is left: so
    that atoms (many paths without any loss) are split as Rockafellar and Uryasev (2002) do, and
    ``tail_weights @ parts`` adds up to ``tail_weights @ values``.
    """
    _refuse_level(level)
    n = values.size
    w = (np.ones(n) if weights is None else weights) / (n * (1 - level))
    at = value_at_risk(values, level, weights).value
    beyond, on = values > at, values == at
    out = np.where(beyond, w, 0.0)
    left, mass = 1.0 - float(out.sum()), float(w[on].sum())
    return out + np.where(on, w * (left / mass), 0.0) if mass else out / float(out.sum())


def expected_shortfall(
    values: F64, level: float, weights: F64 | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """Return the mean of the worst 1 - level, and its interval from the influence function.

    ES = VaR + E[(X - VaR)+] / (1 - level); a path's influence is the term in the mean, because the
    derivative by VaR is zero there. The interval is infinite with fewer than `TAIL_MIN` paths in
    the tail; with few more, of a heavy tail, it is still too short: say `Tail.beyond` beside it.
    """
    _refuse_level(level)
    at = value_at_risk(values, level, weights, confidence).value
    excess = np.maximum(values - at, 0.0) / (1 - level)
    found = Estimate(*(at + part for part in mean(excess, weights, confidence)))
    return found if _enough(values, at, level, weights) else Estimate(found.value, -inf, inf)


def _enough(values: F64, at: float, level: float, weights: F64 | None) -> bool:
    """Return whether a tail has paths enough for an interval of its mean."""
    if weights is None or (weights == 1.0).all():
        return values.size * (1 - level) > TAIL_MIN - 1e-6
    return int((values > at).sum()) >= TAIL_MIN


def shortfall_by_bootstrap(
    values: F64, level: float, streams: Streams, confidence: float = CONFIDENCE, draws: int = 2_000
) -> Estimate:
    """Return the shortfall of equally weighted paths with the percentile bootstrap's interval.

    Draws come from the stream "bootstrap"; a second opinion on `expected_shortfall`.
    """
    draw = streams["bootstrap"]
    n = values.size
    found = np.empty(draws)
    for k in range(draws):
        again = values[draw.integers(0, n, n)]
        found[k] = float(tail_weights(again, level) @ again)
    ends = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(tail_weights(values, level) @ values), float(ends[0]), float(ends[1]))


class Tail(NamedTuple):
    """The upper end of a distribution, with what one needs to doubt it."""

    level: float
    mean: Estimate
    var: Estimate
    shortfall: Estimate
    most: float
    paths: int
    effective: float  # paths, after weighting
    beyond: int  # paths beyond the value at risk


def tail(
    values: F64,
    weights: F64 | None = None,
    level: float = LEVEL,
    confidence: float = CONFIDENCE,
) -> Tail:
    """Return the mean and the tail of one value a path."""
    w = np.ones(values.size) if weights is None else weights
    at = value_at_risk(values, level, weights, confidence)
    return Tail(
        level=level,
        mean=mean(values, weights, confidence),
        var=at,
        shortfall=expected_shortfall(values, level, weights, confidence),
        most=float(values.max()),
        paths=values.size,
        effective=effective(w),
        beyond=int((values > at.value).sum()),
    )


def measured(
    study: Study,
    columns: tuple[str, ...] = COLUMNS,
    level: float = LEVEL,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Return one row for each stack and number of `Outcome`, in the units of the number.

    Columns: stack, number, mean, mean_low, mean_high, var, var_low, ..., shortfall, ..., most,
    paths, effective, beyond.
    """
    rows: list[dict[str, object]] = []
    for stack in study.stacks:
        for name in columns:
            found = tail(study.column(stack, name), study.weight, level, confidence)
            row: dict[str, object] = {"stack": stack, "number": name}
            for key in ("mean", "var", "shortfall"):
                value, low, high = getattr(found, key)
                row |= {key: value, f"{key}_low": low, f"{key}_high": high}
            row |= {"most": found.most, "paths": found.paths}
            row |= {"effective": found.effective, "beyond": found.beyond}
            rows.append(row)
    return pd.DataFrame(rows)


def insolvency(study: Study, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Return how likely the loss exceeds the whole fund, for each stack: probability, low, high."""
    rows = [
        (stack, *probability(study.column(stack, "insolvent") > 0, study.weight, confidence))
        for stack in study.stacks
    ]
    return pd.DataFrame(rows, columns=["stack", "probability", "low", "high"])


def saved(
    study: Study, stack: str, against: str, name: str = "loss", confidence: float = CONFIDENCE
) -> Estimate:
    """Return by how much a number is smaller under ``stack``: paired, on the same weather."""
    less = study.column(against, name) - study.column(stack, name)
    return mean(less, study.weight, confidence)


def paths_for(target: float, confidence: float = CONFIDENCE) -> int:
    """Return how many paths without a single hit show that hits are rarer than ``target``."""
    return ceil(log(1 - confidence) / log(1 - target))


def paths_for_var(level: float, confidence: float = CONFIDENCE) -> int:
    """Return how many equally weighted paths give a value at risk both ends of its interval."""
    return ceil(log((1 - confidence) / 2) / log(max(level, 1 - level)) - 1e-9)


def paths_for_shortfall(level: float) -> int:
    """Return how many equally weighted paths give an expected shortfall an interval."""
    return ceil(TAIL_MIN / (1 - level) - 1e-6)


def _refuse_level(level: float) -> None:
    if not 0 < level < 1:
        raise ConfigInvalid(
            where="level", what="must lie between 0 and 1", found=f"{level}", hint="0.99 is 99 %"
        )


def shortfall_saved(
    less: F64, more: F64, level: float, weights: F64 | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """Return ES(more) - ES(less) of two stacks on the same paths, with a paired interval.

    From the difference of the two influence functions: what both suffer alike cancels. The interval
    is infinite where a tail has fewer than `TAIL_MIN` paths.
    """
    _refuse_level(level)
    w = 1.0 if weights is None else weights
    influence: list[F64] = []
    enough = True
    for values in (less, more):
        at = value_at_risk(values, level, weights, confidence).value
        influence.append(at + np.maximum(values - at, 0.0) / (1 - level) * w)
        enough &= _enough(values, at, level, weights)
    found = mean(influence[1] - influence[0], None, confidence)
    return found if enough else Estimate(found.value, -inf, inf)
