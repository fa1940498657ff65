"""Papers on how fast to sell: schedules, horizons, impact laws and toxic liquidations."""

from math import sqrt
from typing import Any

import numpy as np

from tidegate.conformance.adapter import Found, Inputs, Rules, Unsupported
from tidegate.lab.two_step import two_steps
from tidegate.signals.impact import (
    almgren_cost,
    block_price,
    square_root_cost,
    square_root_impact,
)
from tidegate.signals.schedules import LinearImpact, Schedule, almgren_chriss, at_once, frontier
from tidegate.signals.schedules_perpetual import PerpetualMarket, perpetual_rate
from tidegate.signals.schedules_solvent import (
    INFEASIBLE,
    best_constant_horizon,
    best_power_horizon,
    solvency_constrained,
)
from tidegate.signals.schedules_transient import alfonsi_fruth_schied, obizhaeva_wang, propagator
from tidegate.signals.toxicity import (
    frontiers,
    health_after_step,
    slippage_linear,
    slippage_of_pool,
)


PEERS = ("paper",)


def _market(of: Inputs) -> LinearImpact:
    return LinearImpact(of["sigma"], of["eta"], of.get("gamma", 0.0), of.get("eps", 0.0))


def _said(schedule: Schedule) -> dict[str, Any]:
    return {
        "kappa": schedule.kappa,
        "kappa_tilde": schedule.kappa_tilde,
        "holdings": schedule.holdings.tolist(),
        "trades": schedule.trades.tolist(),
        "E": schedule.cost,
        "V": schedule.variance,
        "sd": sqrt(schedule.variance),
        "half_life_discrete": 1 / schedule.kappa if schedule.kappa else None,
    }


def discrete(of: Inputs) -> Found:
    """Return the trajectory of one aversion to risk."""
    return _said(almgren_chriss(of["X"], of["T"], of["N"], _market(of), of["lam"]))


def instant(of: Inputs) -> Found:
    """Return the cost of selling everything in the first interval."""
    return _said(at_once(of["X"], of["T"], of["N"], _market(of)))


def drop_frontier(of: Inputs) -> Found:
    """Return the frontier in millions, with the continuous time constant as half-life."""
    found = frontier(of["X"], of["T"], of["N"], _market(of), of["lams"])
    return {
        "E_musd": [s.cost / 1e6 for s in found],
        "V_e12": [s.variance / 1e12 for s in found],
        "penalty_musd": [
            (s.cost + lam * s.variance) / 1e6 for s, lam in zip(found, of["lams"], strict=True)
        ],
        "half_life": [1 / s.kappa_tilde for s in found],
    }


def constant_horizon(of: Inputs) -> Found:
    """Return the best horizon of a constant rate under linear impact."""
    horizon, at_risk = best_constant_horizon(of["X"], _market(of), of["z"])
    return {"T_star": horizon, "lvar": at_risk}


def power_horizon(of: Inputs) -> Found:
    """Return the best horizon of a constant rate under a power law."""
    share = of["X_over_V"]
    horizon, at_risk = best_power_horizon(of["eta"], of["beta"], share, of["sigma"], of["z"])
    return {"T_star": horizon, "participation": share / horizon, "lvar_frac": at_risk}


def solvent(of: Inputs) -> Found:
    """Return the slowest schedule that covers a debt."""
    found = solvency_constrained(
        of["X"], of["S0"], of["debt"], of["T"], of["N"], _market(of), of["z"]
    )
    return {
        **_said(found.schedule),
        "feasible": found.regime != INFEASIBLE,
        "regime": found.regime,
        "lam": found.aversion,
        "lambda": found.aversion,
        "lvar": found.at_risk,
        "B_max": found.capacity,
        "first_slice": float(found.schedule.trades[0]),
        "first_slice_frac": float(found.schedule.trades[0]) / of["X"],
    }


def perpetual(of: Inputs) -> Found:
    """Return the rate of a perpetual and the functions it is made of."""
    market = PerpetualMarket(of["k"], of["b"], of["alpha"], of["phi"], of["beta"])
    found = perpetual_rate(market, of["T"], of["t"], of["q"], of["z"])
    return {
        "a": found.a,
        "C": found.constant,
        "omega": found.speed,
        "xi": found.xi,
        "pi": found.pi,
        "nu": found.rate,
    }


def block_rate_block(of: Inputs) -> Found:
    """Return the blocks and the rate of continuous time."""
    block, rate = obizhaeva_wang(of["X0"], of["rho"], of["T"])
    return {"block_start": block, "rate": rate, "block_end": block}


def discrete_blocks(of: Inputs) -> Found:
    """Return the trades of discrete time."""
    trades = alfonsi_fruth_schied(of["X0"], of["rho"], of["T"], of["N"])
    return {"a": 1 - trades[1] / trades[0], "trades": trades.tolist()}


def power_law(of: Inputs) -> Found:
    """Return the trades under a decay (1 + d)^-exponent, or exp(-rho d) where rho is given."""
    horizon, intervals = float(of["T"]), int(of["N"])
    times = np.array([horizon * n / intervals for n in range(intervals + 1)], np.float64)
    size = of.get("X0", of.get("X"))
    exponent = of.get("exponent", of.get("gamma"))
    if size is None or (exponent is None and "rho" not in of):
        why = "a decay is told by exponent or rho, a size by X0 or X"
        raise Unsupported(why)
    if exponent is None:
        return {"trades": propagator(size, times, lambda d: np.exp(-of["rho"] * d)).tolist()}
    return {"trades": propagator(size, times, lambda d: (1 + d) ** -exponent).tolist()}


def root_law(of: Inputs) -> Found:
    """Return peak and mean cost of the square-root law."""
    args = (of["Y"], of["sigma"], of["Q"], of["V"])
    peak = square_root_impact(*args)
    return {
        "impact_frac": peak,
        "impact_bps": peak * 1e4,
        "avg_cost_frac": square_root_cost(*args),
    }


def direct_estimation(of: Inputs) -> Found:
    """Return the cost of an even sale, over volatility and in basis points."""
    found = almgren_cost(of["X"], of["V"], of["Theta"], of["sigma"], of["T"])
    return {
        "I_over_sigma": found.permanent / of["sigma"],
        "K_over_sigma": found.temporary / of["sigma"],
        "I_bp": found.permanent * 1e4,
        "K_bp": found.temporary * 1e4,
        "J_bp": found.shortfall * 1e4,
    }


def block(of: Inputs) -> Found:
    """Return a provider's quote for a block."""
    quote = block_price(
        of["q0"],
        of["S0"],
        permanent=of["k"],
        fee=of["psi"],
        impact=of["eta"],
        aversion=of["gamma"],
        sigma=of["sigma"],
        volume=of["V"],
    )
    return {
        "alpha": quote.speed,
        "risk_liquidity_premium": quote.premium,
        "block_price": quote.price,
    }


def toxic_frontier(of: Inputs) -> Found:
    """Return the frontiers of a pool (``y``) or of a linear market (``phi``)."""
    slippage = (
        slippage_linear(of["c"], of["phi"]) if "phi" in of else slippage_of_pool(of["c"], of["y"])
    )
    found = frontiers(slippage, of["v"], of["i"])
    return {
        "lambda": found.slippage,
        "frontier_fixed": found.fixed,
        "frontier_no_impact": found.without_impact,
        "frontier_dynamic": found.dynamic,
        "lltv_cap_dynamic": found.cap,
    }


def toxic_step(of: Inputs) -> Found:
    """Return health before and after one finite step."""
    before, after = health_after_step(
        of["c_units"],
        of["price"],
        of["debt"],
        of["v"],
        of["i"],
        (of["xres"], of["yres"]),
        of["repay"],
    )
    return {"h_before": before, "h_after": after, "improves": after > before}


def liquidator(of: Inputs) -> Found:
    """Return the two-step attack on a close factor."""
    found = two_steps(of["C"], of["D"], of["LT"], of["LS"], of["CF"])
    return {
        "repay1": found.first,
        "repay2": found.second,
        "profit_two_step": found.profit,
        "profit_one_step": found.profit_of_one,
        "gain_ratio": found.profit / found.profit_of_one,
    }


RULES: Rules = {
    "liquidation.ac_discrete": discrete,
    "liquidation.ac_instant": instant,
    "liquidation.drop_frontier": drop_frontier,
    "liquidation.lvar_best_constant_horizon": constant_horizon,
    "liquidation.lvar_power": power_horizon,
    "liquidation.solvency_constrained": solvent,
    "liquidation.perp_liquidation": perpetual,
    "liquidation.ow_continuous": block_rate_block,
    "liquidation.afs_discrete": discrete_blocks,
    "liquidation.propagator": power_law,
    "liquidation.sqrt_impact": root_law,
    "liquidation.athl": direct_estimation,
    "liquidation.gueant_block": block,
    "liquidation.toxicity": toxic_frontier,
    "liquidation.toxic_step": toxic_step,
    "liquidation.qin_two_step": liquidator,
}
