"""Worlds fitted to history: volatilities, correlations, GJR-GARCH, and what its filter leaves."""

# What arch returns has no declared types: only its calls are exempt from the checker's strictness.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from math import inf, sqrt
from typing import Final, Literal, TypeAlias

import numpy as np

from tidegate.domain.errors import ConfigInvalid
from tidegate.lab.weather import F64
from tidegate.lab.worlds.brownian import Brownian
from tidegate.lab.worlds.factor import Factor, fitted_loadings
from tidegate.lab.worlds.filtered import Filtered
from tidegate.lab.worlds.garch import DF_MIN, VARIANCE_MAX, Gjr, Terms
from tidegate.lab.worlds.ground import YEAR, Clock, one_of
from tidegate.lab.worlds.history import History
from tidegate.lab.worlds.matching import Matching, Onto


FIT_MIN: Final = 250  # returns below which four parameters of a variance are guesswork
LAWS: Final = ("t", "normal")
Law: TypeAlias = Literal["t", "normal"]


def fitted_terms(returns: F64, law: Law = "t") -> Terms:
    """Fit one GJR-GARCH(1,1) by maximum likelihood with the library `arch`.

    ``now`` is the variance of the step after the last return. Raise ConfigInvalid for too few
    returns, for a price that never moved, and where the search did not end.
    """
    where = "world: GJR fit"
    if returns.size < FIT_MIN:
        raise ConfigInvalid(
            where=where, what=f"needs at least {FIT_MIN} returns", found=f"{returns.size}"
        )
    size = float(returns.std())
    if size == 0.0:
        raise ConfigInvalid(where=where, what="needs a price that moves", found="none")
    from arch import arch_model  # noqa: PLC0415 - seconds of import that most never need

    model = arch_model(
        returns / size, mean="Constant", vol="GARCH", p=1, o=1, q=1, dist=law, rescale=False
    )
    # A line search that gives up where the likelihood is flat often ends from somewhere else.
    usual = np.array([0.0, 0.05, 0.05, 0.05, 0.85, 5.0][: 6 if law == "t" else 5])
    found = model.fit(disp="off", show_warning=False)
    if found.convergence_flag != 0:
        found = model.fit(disp="off", show_warning=False, starting_values=usual)
    if found.convergence_flag != 0:
        raise ConfigInvalid(
            where=where,
            what="must converge",
            found=f"optimiser's flag {found.convergence_flag} from two starts",
            hint="use a longer stretch, or gjr with parameters of your own",
        )
    p = found.params.to_dict()
    # The optimiser leaves its bounds by rounding; a variance below zero must not be left by it.
    alpha = max(p["alpha[1]"], 0.0)
    gamma = max(p["gamma[1]"], -alpha)
    terms = Terms(
        mean=p["mu"] * size,
        omega=max(p["omega"], 0.0) * size**2,
        alpha=alpha,
        gamma=gamma,
        beta=min(max(p["beta[1]"], 0.0), 1.0 - alpha - gamma / 2),
        df=max(p["nu"], DF_MIN) if law == "t" else inf,
        now=0.0,
    )
    first = float(np.asarray(found.conditional_volatility)[0]) ** 2 * size**2
    return after(terms, terms.variances(returns, first))


def after(terms: Terms, variances: F64) -> Terms:
    """Return the same terms with ``now`` as it stands after a history of these variances."""
    now = float(min(variances[-1], VARIANCE_MAX))
    return Terms(terms.mean, terms.omega, terms.alpha, terms.gamma, terms.beta, terms.df, now)


def residuals(terms: Terms, returns: F64) -> tuple[F64, Terms]:
    """Return standardised residuals [T], of mean 0 and deviation 1, and the terms as of the end.

    The filter starts from the returns' own variance; so does `arch`, but for its weights. The
    residuals are centred and scaled, for a world of them must neither drift nor swell.
    """
    variances = terms.variances(returns, float(returns.var()))
    z = (returns - terms.mean) / np.sqrt(variances[:-1])
    return (z - z.mean()) / z.std(), after(terms, variances)


def fitted_brownian(history: History, steps: int, by: str = "name") -> Onto:
    """Return a Brownian world with the volatilities and correlations of a history."""
    vols = history.returns.std(axis=0) * sqrt(YEAR / history.interval_ns)
    world = Brownian(
        clock=Clock(steps, history.interval_ns),
        vol=float(vols[0]),
        vols=tuple(zip(history.symbols, vols.tolist(), strict=True)),
        factor=Factor(loadings=fitted_loadings(history.returns, history.symbols)),
    )
    return Onto(world, Matching(history.symbols, by))


def fitted_gjr(history: History, steps: int, by: str = "name", law: Law = "t") -> Onto:
    """Return a GJR world fitted symbol by symbol."""
    return gjr_of(history, all_terms(history, law), steps, by)


def fitted_filtered(history: History, steps: int, by: str = "name", law: Law = "t") -> Filtered:
    """Return filtered historical simulation: shocks of the past at the volatility of the end."""
    return filtered_of(history, all_terms(history, law), steps, by)


def all_terms(history: History, law: Law = "t") -> tuple[Terms, ...]:
    """Return terms fitted to each symbol alone."""
    one_of("world.law", law, LAWS)
    return tuple(fitted_terms(np.ascontiguousarray(column), law) for column in history.returns.T)


def gjr_of(history: History, terms: Sequence[Terms], steps: int, by: str = "name") -> Onto:
    """Return a GJR world of these terms as of the history's end, with a factor of what is left."""
    now, left = _filtered(history, terms)
    factor = Factor(loadings=fitted_loadings(left, history.symbols))
    world = Gjr(now, Clock(steps, history.interval_ns), factor)
    return Onto(world, Matching(history.symbols, by))


def filtered_of(history: History, terms: Sequence[Terms], steps: int, by: str = "name") -> Filtered:
    """Return filtered historical simulation by these terms, as of the history's end."""
    now, left = _filtered(history, terms)
    clock, matching = Clock(steps, history.interval_ns), Matching(history.symbols, by)
    return Filtered(now, left, clock, matching, str(history))


def _filtered(history: History, terms: Sequence[Terms]) -> tuple[tuple[Terms, ...], F64]:
    columns = [np.ascontiguousarray(column) for column in history.returns.T]
    found = [residuals(t, column) for t, column in zip(terms, columns, strict=True)]
    return tuple(now for _, now in found), np.column_stack([z for z, _ in found])


def block_length(history: History, kind: str = "stationary") -> float:
    """Return the block length that suits the squared returns best, the longest of all symbols.

    Squares, because it is volatility that must survive inside a block. Source: Politis and White
    (2004), corrected by Patton, Politis and White (2009), as the library `arch` computes it.
    """
    from arch.bootstrap import optimal_block_length  # noqa: PLC0415 - seconds that most never need

    found = optimal_block_length(history.returns**2)[kind]
    return float(np.clip(found.max(), 1.0, history.returns.shape[0] / 4))
