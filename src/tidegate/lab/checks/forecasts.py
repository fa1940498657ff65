"""Forecasts of a day ahead by the worlds themselves, as they could have been made at the time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.weather import F64, World
from tidegate.lab.worlds import fitting
from tidegate.lab.worlds.garch import Terms
from tidegate.lab.worlds.ground import DAY, within
from tidegate.lab.worlds.history import History


# The k-th worst of N draws has exactly k / (N + 1) below it: here 4 and 10 of 400, 1 % and 2.5 %.
PATHS: Final = 399
ALPHAS: Final = (0.01, 0.025)
Maker = Callable[[History, Sequence[Terms], int], World]


def _brownian(history: History, terms: Sequence[Terms], steps: int) -> World:
    del terms
    return fitting.fitted_brownian(history, steps)


MAKERS: Final[Mapping[str, Maker]] = {
    "gbm": _brownian,
    "gjr": fitting.gjr_of,
    "fhs": fitting.filtered_of,
}


@dataclass(frozen=True, eq=False, slots=True)
class Forecast:
    """What one world said of each day, and what came; all in shares of the price, losses positive.

    Columns are the symbols, and last the portfolio of equal parts of all.
    """

    name: str
    ts: F64  # [days] ns at which the day begins
    realised: F64  # [days, series] simple returns of the day
    var: F64  # [alphas, days, series]
    shortfall: F64  # [alphas, days, series]
    kept: int  # fits that did not converge: the terms before them were kept


def tail(simulated: F64, alpha: float) -> tuple[F64, F64]:
    """Return value at risk and expected shortfall of simulated returns [paths, series].

    The k-th worst of N, k = alpha (N + 1) rounded down, and the mean of the k worst.
    """
    k = max(1, int(alpha * (simulated.shape[0] + 1) + 1e-9))
    worst = np.sort(simulated, axis=0)[:k]
    return -worst[-1], -worst.mean(axis=0)


def days(history: History, window: int) -> Iterator[int]:
    """Yield each row that ends a day with ``window`` rows behind it and a whole day ahead."""
    steps = DAY // history.interval_ns
    for row in range(window, history.ts.size - steps):
        begins = int(history.ts[row - 1])
        whole = int(history.ts[row + steps - 1]) - begins == DAY
        if begins % DAY == 0 and whole:
            yield row


def _refitted(known: History, before: tuple[Terms, ...]) -> tuple[tuple[Terms, ...], bool]:
    """Return new terms, and whether they are the old ones: a desk without a fit keeps its last."""
    try:
        return fitting.all_terms(known), False
    except ConfigInvalid:
        if not before:
            raise
        return before, True


def rolling(
    history: History,
    *,
    window: int,
    refit: int,
    root: int,
    makers: Mapping[str, Maker] = MAKERS,
    paths: int = PATHS,
) -> list[Forecast]:
    """Return the forecasts of each world for every day of a history.

    The ``window`` rows before a day are all that is known. GJR terms are fitted anew every
    ``refit`` days, and kept where that does not converge; volatility, residuals and correlations
    are those of the day. Nothing is chosen by looking ahead, and no day is left out but those with
    missing hours.
    """
    within("forecasts.window", window, fitting.FIT_MIN, history.ts.size)
    within("forecasts.refit", refit, 1, 10_000)
    steps = DAY // history.interval_ns
    made: dict[str, list[tuple[F64, F64]]] = {name: [] for name in makers}
    realised: list[F64] = []
    begins: list[int] = []
    terms: tuple[Terms, ...] = ()
    kept = 0
    for n, row in enumerate(days(history, window)):
        known = history.between(row - window, row)
        if n % refit == 0:
            terms, failed = _refitted(known, terms)
            kept += failed
        came = np.expm1(history.returns[row : row + steps].sum(axis=0))
        realised.append(np.append(came, came.mean()))
        begins.append(int(history.ts[row - 1]))
        for name, make in makers.items():
            drawn = range(n * paths, (n + 1) * paths)
            weather = make(known, terms, steps).weather(root, drawn, history.symbols)
            ends = weather.price[:, -1] - 1.0
            ends = np.column_stack([ends, ends.mean(axis=1)])
            told = [tail(ends, alpha) for alpha in ALPHAS]
            made[name].append((np.stack([v for v, _ in told]), np.stack([s for _, s in told])))
    ts = np.array(begins, np.float64)
    return [
        Forecast(
            name,
            ts,
            np.stack(realised),
            np.stack([var for var, _ in told], axis=1),
            np.stack([short for _, short in told], axis=1),
            kept,
        )
        for name, told in made.items()
    ]
