"""Papers on toxicity, liquidity and volatility, answered by the lab's estimators."""

import numpy as np

from tidegate.conformance.adapter import Found, Inputs, Rule, Unsupported
from tidegate.lab import estimators


PEERS = ("paper",)


def kyle_single(of: Inputs) -> Found:
    """Return the equilibrium of a single auction."""
    found = estimators.kyle_single(of["Sigma0"], of["sigma_u"])
    return {
        "beta": found.beta,
        "lambda": found.impact,
        "Sigma1": found.left,
        "profit": found.profit,
    }


def amihud(of: Inputs) -> Found:
    """Return a measure of illiquidity, and a million times it."""
    illiq = estimators.amihud(of["returns"], of["dollar_volume"])
    return {"illiq": illiq, "illiq_1e6": illiq * 1e6}


def kyle_lambda_ols(of: Inputs) -> Found:
    """Return the impact of signed flow by least squares."""
    intercept, slope = estimators.least_squares(of["dp"], of["signed_flow"])
    return {"intercept": intercept, "lambda": slope}


def garch11_fit(of: Inputs) -> Found:
    """Return a fitted GARCH(1,1) with its standard errors."""
    found = estimators.garch_fit(of["series"])
    names = ("mu", "omega", "alpha", "beta")
    said = dict(zip(names, found.estimate, strict=True))
    said |= {f"se_{n}": e for n, e in zip(names, found.error, strict=True)}
    return said | {"n": len(of["series"])}


def egarch11_fit(of: Inputs) -> Found:
    """Return a fitted EGARCH(1,1)."""
    names = ("mu", "omega", "alpha_leverage", "beta", "gamma_size")
    return dict(zip(names, estimators.egarch_fit(of["series"]), strict=True))


def arch_sp500(of: Inputs) -> Found:
    """Fit a model to a series that another package ships; we have no copy of it."""
    del of
    reason = "the series is shipped by another package and is not part of the vectors"
    raise Unsupported(reason)


def garch_forecast(of: Inputs) -> Found:
    """Return the variances that a GARCH(1,1) expects."""
    parameters = of["omega"], of["alpha"], of["beta"]
    found = estimators.garch_forecast(*parameters, of["h1"], of["horizon"])
    return {
        "long_run_var": found.long_run,
        "variance_path": found.path,
        "cumulative_var": found.path.sum(),
        "half_life": found.half_life,
    }


def ewma(of: Inputs) -> Found:
    """Return an exponentially weighted variance, and how it forgets."""
    decay = of["lam"]
    return {
        "variance": estimators.ewma(of["returns"], decay, of["init"]),
        "half_life": estimators.half_life(decay),
        "center_of_mass": decay / (1 - decay),
    }


def har(of: Inputs) -> Found:
    """Return the heterogeneous autoregression of squared returns, where a case gives them."""
    if "series" not in of:
        reason = "the case names no series"
        raise Unsupported(reason)
    squares = np.asarray(of["series"][: of.get("first")], float) ** 2
    slopes = estimators.heterogeneous(squares)
    said = dict(zip("cdwm", slopes, strict=True))
    return said | {"nobs": squares.size - 22}


def conformal_quantile(of: Inputs) -> Found:
    """Return the quantile of split conformal prediction, null where there is none."""
    k, score = estimators.conformal(of["scores"], of["alpha"])
    finite = bool(np.isfinite(score))
    return {"k": k, "qhat": score if finite else None, "finite": finite}


def aci(of: Inputs) -> Found:
    """Return the path of adaptive conformal inference."""
    return {"alpha_path": estimators.adaptive(of["alpha"], of["gamma"], of["errs"])}


RULES: dict[str, Rule] = {
    **{
        f"toxicity_vol.{rule.__name__}": rule
        for rule in (
            kyle_single,
            amihud,
            kyle_lambda_ols,
            garch11_fit,
            egarch11_fit,
            arch_sp500,
            garch_forecast,
            ewma,
            conformal_quantile,
            aci,
        )
    },
    "toxicity_vol.har_dem2gbp": har,
}
