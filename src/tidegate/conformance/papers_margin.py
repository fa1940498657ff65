"""Papers on margin: backtests, tails, risk arrays, anti-procyclicality and option surfaces."""

from math import isfinite
from typing import Any, Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule, column, scaled
from tidegate.domain.units import unbounded
from tidegate.drivers.streams import Streams
from tidegate.kernels import procyclical, scenarios
from tidegate.lab import backtests, options, tails


PEERS = ("paper",)

UNIT: Final = WAD

_add = unbounded(scenarios.add_array)
_scan = unbounded(scenarios.scan_risk)
_worst = unbounded(scenarios.worst_scenario)
_future = unbounded(scenarios.future_array)
_buffered = unbounded(procyclical.buffered)
_weighted = unbounded(procyclical.weighted)
_floored = unbounded(procyclical.floored)


def kupiec(of: Inputs) -> Found:
    """Return the proportion-of-failures test."""
    ratio, p = backtests.kupiec(of["n"], of["x"], of["p"])
    return {"LR": ratio, "pvalue": p}


def christoffersen(of: Inputs) -> Found:
    """Return the tests of independence and of conditional coverage."""
    ratio, p = backtests.independence(of["n00"], of["n01"], of["n10"], of["n11"])
    coverage, _ = backtests.kupiec(of["n"], of["x"], of["p"])
    joint, p_joint = backtests.conditional_coverage(coverage, ratio)
    return {"LR_ind": ratio, "p_ind": p, "LR_cc": joint, "p_cc": p_joint}


def kupiec_region(of: Inputs) -> Found:
    """Return the numbers of breaches that the test does not reject."""
    low, high = backtests.kupiec_region(of["n"], of["p"])
    return {"min_ok": low, "max_ok": high, "zero_rejected": low > 0}


def traffic_light(of: Inputs) -> Found:
    """Return where the zones of the traffic light begin."""
    yellow, red, cumulative = backtests.traffic_light(of["n"], of["p"])
    return {"yellow_start": yellow, "red_start": red, "cdf": cumulative}


def _z2_draws(of: Inputs) -> Any:
    df = of["df"] if of["dist"] == "t" else None
    streams = Streams(root=of["seed"], path=0)
    return backtests.z2_under(of["T"], of["alpha"], df, of["sims"], streams)


def z2_critical(of: Inputs) -> Found:
    """Return the value of Z2 below which a test of the given level rejects."""
    draws = sorted(_z2_draws(of))
    return {"critical": draws[int((1 - of["level"]) * len(draws))]}


def z2_pvalue(of: Inputs) -> Found:
    """Return how often a true model gives a Z2 as small as the one seen."""
    return {"pvalue": float((_z2_draws(of) <= of["stat"]).mean())}


def z2_stat(of: Inputs) -> Found:
    """Return the statistic Z2 of returns against their risk."""
    return {"Z2": backtests.z2(of["returns"], of["var"], of["es"], of["alpha"])}


def es_normal(of: Inputs) -> Found:
    """Return the risk of a standard normal."""
    var, shortfall = backtests.tail_normal(of["alpha"])
    return {"VaR": var, "ES": shortfall if isfinite(shortfall) else None}


def es_student(of: Inputs) -> Found:
    """Return the risk of Student's t."""
    var, shortfall = backtests.tail_student(of["alpha"], of["df"])
    return {"VaR": var, "ES": shortfall if isfinite(shortfall) else None}


def span_scanning(of: Inputs) -> Found:
    """Return the scanning risk of positions, and its scenario counted from one."""
    total = column(*(0 for _ in of["positions"][0]["array"]))
    for position in of["positions"]:
        array = column(*(scaled(x, UNIT) for x in position["array"]))
        _add(scaled(position["qty"], UNIT), array, total)
    worst = _worst(total) + 1
    return {"requirement": _scan(total) / UNIT**2, "worst_scenario_1based": worst}


def span_future_array(of: Inputs) -> Found:
    """Return the sixteen scenarios of one long future."""
    array = column(*(0 for _ in range(16)))
    cover, scan = scaled(of["extreme_cover"], UNIT), scaled(of["price_scan_dollars"], UNIT)
    _future(scan, of["extreme_mult"], cover, UNIT, array)
    return {"array": [x / UNIT for x in array]}


def bs(of: Inputs) -> Found:
    """Return an option's value and its sensitivities."""
    call = of["cp"] == "c"
    terms = {"spot": of["S"], "strike": of["K"], "years": of["T"], "rate": of["r"]}
    found = options.black_scholes(call=call, **terms, carry=of["q"], vol=of["vol"])
    return {
        "price": found.price,
        "delta": found.delta,
        "gamma": found.gamma,
        "vega": found.vega,
    }


def dgv_pnl(of: Inputs) -> Found:
    """Return the second-order profit of a move."""
    greeks = of["delta"], of["gamma"], of["vega"]
    return {"pnl": options.delta_gamma_vega(*greeks, of["dS"], of["dvol"])}


def fhs(of: Inputs) -> Found:
    """Return filtered historical simulation over the first returns of a series."""
    returns = of["series"][: of["first"]]
    found = tails.filtered_history(returns, of["lam"], of["alpha"], of["init_n"])
    return {
        "sigma_next": found.volatility,
        "fhs_var": found.var,
        "fhs_es": found.shortfall,
        "hs_var": found.unfiltered,
        "k": found.worst,
    }


def apc_buffer(of: Inputs) -> Found:
    """Return the charges that follow calculated margins with a buffer."""
    buffer, charged, out = scaled(of["buffer"], UNIT), -1, list[float]()
    for margin in of["margins"]:
        charged = _buffered(charged, scaled(margin, UNIT), buffer, UNIT)
        out.append(charged / UNIT)
    return {"charged": out}


def apc_stress_weight(of: Inputs) -> Found:
    """Return margins with a weight on stressed observations."""
    stressed, weight = scaled(of["stressed"], UNIT), scaled(of["w"], UNIT)
    now = (scaled(x, UNIT) for x in of["current"])
    return {"margin": [_weighted(x, stressed, weight, UNIT) / UNIT for x in now]}


def apc_floor(of: Inputs) -> Found:
    """Return margins that never fall below a long look-back's."""
    floor = scaled(of["floor"], UNIT)
    return {"margin": [_floored(scaled(x, UNIT), floor) / UNIT for x in of["current"]]}


def procyclicality(of: Inputs) -> Found:
    """Return how much a margin moved."""
    found = tails.procyclicality(of["margins"], of["n"])
    return {
        "peak_to_trough": found.peak_to_trough,
        "n_day_max_increase": found.increase,
        "n_day_max_ratio": found.ratio,
    }


def _slice(of: Inputs) -> options.Svi:
    return options.Svi(of["a"], of["b"], of["rho"], of["m"], of["sigma"])


def svi_min_g(of: Inputs) -> Found:
    """Return where a slice's density is smallest, and where it is negative."""
    k, g = _slice(of).worst_density(of["lo"], of["hi"])
    ends = _slice(of).arbitraged(of["lo"], of["hi"])
    low, high = (None, None) if ends is None else ends
    return {"min_g": g, "k_at_min": k, "neg_lo": low, "neg_hi": high}


def svi_raw(of: Inputs) -> Found:
    """Return the total variance of a raw slice."""
    return {"w": _slice(of).variance(of["k"])}


def ssvi(of: Inputs) -> Found:
    """Return the total variance of a surface's slice, and whether it is free of butterflies."""
    surface = options.Ssvi(of["theta"], of["phi"], of["rho"])
    one, two = surface.butterfly()
    w = surface.variance(of["k"])
    return {"w": w, "butterfly_1": one, "butterfly_2": two, "ok": one < 4 and two <= 4}


def gpd_var_es(of: Inputs) -> Found:
    """Return the risk of a generalised Pareto tail."""
    tail = of["u"], of["beta"], of["xi"]
    var, shortfall = tails.peaks_over_threshold(*tail, of["n"], of["nu"], of["q"])
    return {"VaR": var, "ES": shortfall if isfinite(shortfall) else None}


RULES: dict[str, Rule] = {
    f"margin_backtests.{rule.__name__}": rule
    for rule in (
        kupiec,
        christoffersen,
        kupiec_region,
        traffic_light,
        z2_critical,
        z2_pvalue,
        z2_stat,
        es_normal,
        es_student,
        span_scanning,
        span_future_array,
        bs,
        dgv_pnl,
        fhs,
        apc_buffer,
        apc_stress_weight,
        apc_floor,
        procyclicality,
        svi_min_g,
        svi_raw,
        ssvi,
        gpd_var_es,
    )
}
