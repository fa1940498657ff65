"""How large the fund must be: so that insolvency stays rare, and to cover the k largest losers."""

# pandas declares no types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

import msgspec
import numpy as np
import pandas as pd

from tidegate.domain.errors import ConfigInvalid
from tidegate.domain.units import Money
from tidegate.lab.measures import CONFIDENCE, clopper_pearson, paths_for, value_at_risk
from tidegate.lab.study import Study
from tidegate.lab.weather import F64
from tidegate.safeguards.stack import SafeguardStack


@dataclass(frozen=True, slots=True)
class Sizing:
    """A capital, and how sure one may be that losses exceed it more rarely than ``target``."""

    target: float  # probability that a path costs more
    confidence: float  # one-sided
    capital: float | None  # in the losses' unit; None: the sample cannot show it at any size
    plain: float  # the quantile alone, without any confidence
    exceeded: int  # paths that cost more than ``capital``
    paths: int
    paths_needed: int  # with which even one without any excess would show the target

    def words(self, unit: float = 1e6, name: str = "") -> str:
        """Return the answer in one sentence; ``unit`` is how much of the losses' unit one is."""
        if self.capital is None:
            return (
                f"{self.paths:,} paths cannot show that insolvency is rarer than {self.target:g}: "
                f"it takes {self.paths_needed:,}, or paths drawn by importance sampling"
            )
        amount = f"{self.capital / unit:,.0f} {name}".strip()
        return (
            f"a fund of {amount} is exceeded with probability below {self.target:g} "
            f"({self.confidence:.0%} confidence, {self.exceeded} of {self.paths:,} paths above it)"
        )


def fund_for(
    losses: F64,
    target: float,
    *,
    weights: F64 | None = None,
    confidence: float = CONFIDENCE,
) -> Sizing:
    """Return the least capital u, among the losses seen, with P(loss > u) <= ``target``.

    The upper end of the one-sided interval of that probability has to lie at or below the target:
    exact (Clopper-Pearson) for equal weights, the central limit's for likelihood ratios. Capital is
    taken as given from outside: where a stack reacts to its fund (a throttle that follows it, a
    deleveraging that waits for it), run it again with `with_fund`.
    """
    if not (0 < target < 1 and 0 < confidence < 1):
        raise ConfigInvalid(
            where="target", what="must lie between 0 and 1", found=f"{target}, {confidence}"
        )
    two_sided, n = 2 * confidence - 1, losses.size
    plain, _, high = value_at_risk(losses, 1 - target, weights, two_sided)
    if weights is None:
        high = _exact(np.sort(losses), target, two_sided)
    capital = high if isfinite(high) else None
    exceeded = int((losses > high).sum())
    need = paths_for(target, confidence)
    return Sizing(target, confidence, capital, plain, exceeded, n, need)


def _exact(ordered: F64, target: float, confidence: float) -> float:
    """Return the least loss seen whose excess is shown to be rare; infinite where none is."""
    low, high = 0, ordered.size  # how many lie at or below: from `low` on it may be shown
    while low < high:
        middle = (low + high) // 2
        above = ordered.size - int(np.searchsorted(ordered, ordered[middle], side="right"))
        fine = clopper_pearson(above, ordered.size, confidence).high <= target
        low, high = (low, middle) if fine else (middle + 1, high)
    return float(ordered[low]) if low < ordered.size else inf


def sized(study: Study, targets: Sequence[float], confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Return one row for each stack and target; amounts are Money."""
    weights = study.weight if study.weights else None
    rows: list[dict[str, object]] = []
    for stack in study.stacks:
        held = float(study.column(stack, "fund_at_start").max())
        for target in targets:
            found = fund_for(study.losses(stack), target, weights=weights, confidence=confidence)
            rows.append(
                {
                    "stack": stack,
                    "target": target,
                    "capital": found.capital,
                    "plain": found.plain,
                    "held": held,
                    "exceeded": found.exceeded,
                    "paths": found.paths,
                    "paths_needed": found.paths_needed,
                }
            )
    return pd.DataFrame(rows)


def with_fund(stack: SafeguardStack, capital: int, scale: int = 1_000_000) -> SafeguardStack:
    """Return the stack with a fund of ``capital`` Money on a venue of ``scale`` ppm.

    Its tranches keep their proportions, layers included; one without a fund gets a first loss of
    that name. A stack file speaks for the whole venue, so the amount is divided by the scale.
    """
    whole = -(-capital * 1_000_000 // scale)
    tranches = stack.waterfall.tranches
    total = sum(t.initial for t in tranches)
    if not total:
        raise ConfigInvalid(
            where="waterfall.tranches",
            what="must hold money that can be scaled",
            found="no fund",
            hint="declare a tranche with initial > 0",
        )
    fresh = tuple(
        msgspec.structs.replace(
            t,
            initial=Money(t.initial * whole // total),
            attachment=Money(t.attachment * whole // total),
            exhaustion=_end(t.exhaustion, whole, total),
        )
        for t in tranches
    )
    short = whole - sum(t.initial for t in fresh)  # what rounding down left over
    first = msgspec.structs.replace(fresh[0], initial=Money(fresh[0].initial + short))
    waterfall = msgspec.structs.replace(stack.waterfall, tranches=(first, *fresh[1:]))
    return msgspec.structs.replace(stack, waterfall=waterfall)


def _end(exhaustion: int, whole: int, total: int) -> Money:
    """Return a layer's end in proportion; one that never ends does not."""
    return Money(exhaustion if exhaustion >= 2**62 else max(1, exhaustion * whole // total))


def cover_k(losses: F64, members: int, target: float | None = None) -> float:
    """Return what covers the ``members`` largest losers together.

    ``losses`` is [paths, clusters], gains count as nothing. In every path the largest losers may be
    others. The answer is the worst path, or with ``target`` the quantile 1 - target of the paths.
    """
    worst = np.sort(np.maximum(losses, 0.0), axis=1)[:, ::-1][:, :members].sum(axis=1)
    return float(worst.max(initial=0.0) if target is None else np.quantile(worst, 1 - target))
