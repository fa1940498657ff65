"""Papers on cascades and fire sales, answered by the lab's models."""

from math import isfinite

from tidegate.conformance.adapter import Found, Inputs, Rule
from tidegate.lab import cascades


PEERS = ("paper",)


def known(number: float) -> float | None:
    """Return a number, and null for one without bound."""
    return float(number) if isfinite(number) else None


def geometric_cascade(of: Inputs) -> Found:
    """Return how far a shock goes when each unit of it brings on ``branching`` more."""
    grown = cascades.amplification(of["branching"])
    return {"total": known(of["shock"] * grown), "amplification": known(grown)}


def liquidation_branching(of: Inputs) -> Found:
    """Return n from a density of liquidations and a depth, and what a shock becomes."""
    n = cascades.branching_ratio(of["density_usd_per_pct"], of["depth_usd_per_pct"])
    return {
        "n": known(n),
        "subcritical": n < 1,
        "total_drop_pct": known(of["shock_pct"] * cascades.amplification(n)),
        "max_density_for_amplification_2": cascades.density_for(2, of["depth_usd_per_pct"]),
    }


def ladder_cascade(of: Inputs) -> Found:
    """Return the rounds of a ladder of liquidation prices."""
    depth, rounds_max = of["depth_units_per_frac"], of["max_rounds"]
    of_price = of["p0"], of["shock_frac"], of["liq_prices"], of["liq_units"]
    found = cascades.ladder(*of_price, depth, rounds_max)
    return {
        "final_price": found.price,
        "rounds": found.rounds,
        "liquidated_units": found.units,
        "total_drop_frac": 1 - found.price / of["p0"],
    }


def cifuentes(of: Inputs) -> Found:
    """Return the calibrated rate of exponential impact, and the price after a sale."""
    beta = cascades.impact_rate(of["alpha_price_impact"])
    return {"beta": beta, "price": cascades.exponential_price(beta, of["frac_sold"])}


def glt(of: Inputs) -> Found:
    """Return one round of leverage targeting."""
    banks = of["A"], of["M"], of["B"]
    found = cascades.leverage_targeting(*banks, of["ell"], of["F1"], of["equity_total"])
    return {
        "R1": found.first,
        "net_sales": found.sales,
        "F2": found.second,
        "bank_losses": found.losses,
        "AV": found.vulnerability,
    }


def cont_schaanning(of: Inputs) -> Found:
    """Return what a leverage threshold makes an institution sell."""
    found = cascades.threshold_deleveraging(
        of["assets_illiquid"], of["assets_security"], of["equity"], of["lam_max"], of["lam_b"]
    )
    return {
        "leverage": known(found.leverage),
        "gamma": found.share,
        "sale": found.sale,
        "post_leverage": known(found.after),
    }


def cs_depth(of: Inputs) -> Found:
    """Return a market's depth, and the bounded and the linear impact of a sale."""
    depth = cascades.market_depth(of["c"], of["adv"], of["sigma_daily"], of["tau_days"])
    return {
        "depth": depth,
        "impact": cascades.bounded_impact(of["q"], depth, of["floor_frac"]),
        "impact_linear": of["q"] / depth,
    }


def borel(of: Inputs) -> Found:
    """Return the law of a cascade's size."""
    mean, variance, fano = cascades.borel_moments(of["n"])
    pmf = cascades.borel(of["n"], of["kmax"])
    moments = {"mean": mean, "var": variance, "fano_long_window": fano}
    return {"pmf": pmf} | {name: known(x) for name, x in moments.items()}


def spectral_branching(of: Inputs) -> Found:
    """Return the spectral radius of a branching matrix and the totals of offspring."""
    radius, totals = cascades.spectral(of["M"])
    return {
        "spectral_radius": radius,
        "subcritical": radius < 1,
        "expected_offspring_totals": [known(x) for x in totals] if radius < 1 else None,
    }


def leverage_clearing(of: Inputs) -> Found:
    """Return the price at which leveraged funds clear a market."""
    found = cascades.leverage_clearing(
        of["N_shares"], of["value_V"], of["noise_xi"], of["wealth"], of["beta"], of["lam_max"]
    )
    return {"price": found.price, "leverage": found.leverage, "capped": found.capped}


def branching_mean_var(of: Inputs) -> Found:
    """Return the branching ratio from the mean and the variance of counts."""
    mean, variance, n = cascades.branching_from_counts(of["counts"])
    return {"mean": mean, "var": variance, "n_hat": known(n)}


RULES: dict[str, Rule] = {
    f"cascades.{rule.__name__}": rule
    for rule in (
        geometric_cascade,
        liquidation_branching,
        ladder_cascade,
        cifuentes,
        glt,
        cont_schaanning,
        cs_depth,
        borel,
        spectral_branching,
        leverage_clearing,
        branching_mean_var,
    )
}
