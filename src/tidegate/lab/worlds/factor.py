"""How instruments move together: one common factor, and correlations that can be stressed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from tidegate.lab.weather import F64
from tidegate.lab.worlds.ground import BySymbol, by_symbol, normals, within


@dataclass(frozen=True, slots=True)
class Factor:
    """z_i = l_i F + sqrt(1 - l_i^2) e_i: the correlation of two instruments is l_i l_j.

    ``correlation`` is that of any two without a loading of their own, so their l is its root.
    ``stress`` moves every loading that share of the way to 1 in size: at 1 everything is one bet.
    """

    correlation: float = 0.6
    loadings: BySymbol = ()  # l by symbol, from -1 to 1; 0 stands for itself alone
    stress: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no correlation."""
        within("world.correlation", self.correlation, 0.0, 1.0)
        within("world.stress", self.stress, 0.0, 1.0)
        for symbol, loading in self.loadings:
            within(f"world.loading.{symbol}", loading, -1.0, 1.0)

    def of(self, symbols: Sequence[str]) -> F64:
        """Return the loadings of these instruments, stress included."""
        plain = by_symbol("world.loading", symbols, sqrt(self.correlation), self.loadings)
        return np.where(plain < 0, -1.0, 1.0) * (
            np.abs(plain) + self.stress * (1.0 - np.abs(plain))
        )

    def matrix(self, symbols: Sequence[str]) -> F64:
        """Return the correlations of these instruments."""
        loading = self.of(symbols)
        matrix = np.outer(loading, loading)
        np.fill_diagonal(matrix, 1.0)
        return matrix

    def normals(self, root: int, paths: Sequence[int], steps: int, symbols: Sequence[str]) -> F64:
        """Return correlated standard normals [paths, steps, n].

        Drawn from the streams "world.common" and "world.own", the latter instrument by instrument:
        one more instrument at the end leaves the others as they were.
        """
        loading = self.of(symbols)
        common = normals(root, paths, "world.common", steps, 1)
        own = normals(root, paths, "world.own", len(symbols), steps).transpose(0, 2, 1)
        return loading * common + np.sqrt(1.0 - loading**2) * own

    def __str__(self) -> str:
        """Return it in words."""
        stressed = f", stressed by {self.stress:.0%}" if self.stress else ""
        if self.loadings:
            return f"one common factor with {len(self.loadings)} loadings of their own{stressed}"
        return f"correlation {self.correlation:g}{stressed}"


ONE_FACTOR: Final = Factor()


def fitted_loadings(returns: F64, symbols: Sequence[str]) -> BySymbol:
    """Return loadings on one factor: those whose products are nearest the seen correlations.

    ``returns`` is [T, n]. Principal factors, iterated: the diagonal of the correlation matrix is
    replaced by the squared loadings until they settle. One or two instruments do not identify a
    factor; two share their correlation evenly, one gets 0.
    """
    n = returns.shape[1]
    if n == 1:
        return ((symbols[0], 0.0),)
    with np.errstate(invalid="ignore", divide="ignore"):
        seen: F64 = np.asarray(np.corrcoef(returns, rowvar=False), np.float64)
    seen = np.nan_to_num(seen)  # a price that stands still goes with nothing
    if n == 2:
        size = sqrt(abs(seen[0, 1]))
        signs = (1.0, 1.0 if seen[0, 1] >= 0 else -1.0)
        return tuple((s, size * sign) for s, sign in zip(symbols, signs, strict=True))
    loading = np.sqrt(np.max(np.abs(seen - np.eye(n)), axis=1))
    for _ in range(200):
        reduced = seen - np.eye(n) + np.diag(loading**2)
        values, vectors = np.linalg.eigh(reduced)
        top = vectors[:, -1] * sqrt(max(float(values[-1]), 0.0))
        new = np.clip(top * (1.0 if top.sum() >= 0 else -1.0), -0.999, 0.999)
        if np.abs(new - loading).max() < 1e-9:
            break
        loading = new
    return tuple((s, float(x)) for s, x in zip(symbols, loading, strict=True))
