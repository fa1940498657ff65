"""The verdict on a forecast: too many breaches, breaches in a row, breaches too deep."""

from dataclasses import dataclass

import numpy as np

from tidegate.drivers.streams import Streams
from tidegate.lab.backtests import conditional_coverage, independence, kupiec, z2, z2_under
from tidegate.lab.weather import F64


SAMPLES = 4_000
HEAVY = 4.0  # degrees of freedom under which Z2 is judged: its critical value hardly depends on it


@dataclass(frozen=True, slots=True)
class Coverage:
    """One forecast of one series at one tail."""

    days: int
    breaches: int
    expected: float
    kupiec: float  # p-values of "as many as said", "one does not call for the next", both
    independent: float
    conditional: float
    z2: float  # 0 expected, negative where losses beyond VaR are more or deeper than said
    z2_p: float

    def passes(self, level: float = 0.05) -> bool:
        """Return whether no test rejects at ``level``."""
        return min(self.kupiec, self.independent, self.z2_p) >= level


def covered(realised: F64, var: F64, shortfall: F64, alpha: float, root: int) -> Coverage:
    """Return the tests of a series [days] of returns against its forecasts.

    A breach is a loss beyond VaR, strictly. Sources: Kupiec (1995), Christoffersen (1998), and
    Acerbi and Szekely (2014), whose Z2 is one-sided: its p-value is the share of samples in which
    a true model of Student's t does worse, from the streams of ``root``.
    """
    beyond = realised < -var
    days, breaches = int(beyond.size), int(beyond.sum())
    pairs = np.zeros((2, 2), np.int64)
    np.add.at(pairs, (beyond[:-1].astype(np.int64), beyond[1:].astype(np.int64)), 1)
    counted, p_counted = kupiec(days, breaches, alpha)
    alone, p_alone = independence(
        int(pairs[0, 0]), int(pairs[0, 1]), int(pairs[1, 0]), int(pairs[1, 1])
    )
    _, p_both = conditional_coverage(counted, alone)
    statistic = z2(realised, var, shortfall, alpha)
    under = z2_under(days, alpha, HEAVY, SAMPLES, Streams(root, 0))
    worse = float((under <= statistic).mean())
    return Coverage(days, breaches, days * alpha, p_counted, p_alone, p_both, statistic, worse)
