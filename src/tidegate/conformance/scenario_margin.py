"""Scenario margin of option venues: scans, tail weights, and closing parts of a portfolio."""

from typing import Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule, column, scaled
from tidegate.domain.units import unbounded
from tidegate.kernels import scenarios, tiers
from tidegate.lab import options


PEERS = ("docs",)

UNIT: Final = WAD
SCENARIOS: Final = 16

_add = unbounded(scenarios.add_array)
_scan = unbounded(scenarios.scan_risk)
_worst = unbounded(scenarios.worst_scenario)
_future = unbounded(scenarios.future_array)
_after = unbounded(scenarios.proportional_close)
_smallest = unbounded(scenarios.smallest_share)
_inverse = unbounded(scenarios.inverse_profit)
_weight = unbounded(scenarios.tail_weight)
_due = unbounded(tiers.due_in_tier)


def span_scan(of: Inputs) -> Found:
    """Return the scan risk of one array, of several combined, or of a future's own array."""
    arrays = [of[name] for name in of if name.endswith("gains")]
    total = column(*(0 for _ in range(len(arrays[0]) if arrays else SCENARIOS)))
    for array in arrays:
        _add(1, column(*(scaled(x, UNIT) for x in array)), total)
    if not arrays:
        # A whole unit is what is published; the scale of the cover is the rule's own.
        cover = scaled(of["extreme_cover"], UNIT)
        _future(round(of["price_scan_range"]), int(of["extreme_multiple"]), cover, UNIT, total)
        total *= UNIT
    gains = [x / UNIT for x in total]
    return {
        "scenario_gains_rounded": gains,
        "combined": gains,
        "scan_risk": _scan(total) / UNIT,
        "extreme_down": gains[-1],
        "worst_scenario_index_1based": _worst(total) + 1,
    }


def paradex_partial(of: Inputs) -> Found:
    """Return an account before and after a share of every position is closed at the mark."""
    mmf, share = scaled(of["mmf"], UNIT), scaled(of["share"], UNIT)
    value, required = scaled(of["collateral"], UNIT) * UNIT, 0
    for p in of["positions"].values():
        size, mark, entry = (scaled(p[k], UNIT) for k in ("size", "mark", "entry"))
        value += size * (mark - entry)
        required += _due(abs(size) * mark, mmf, 0, UNIT)
    penalty = scaled(of["penalty_fraction_of_closed_mmr"], UNIT)
    after = _after(value, required, share, penalty, UNIT)
    left = _due(required, UNIT - share, 0, UNIT)
    whole = UNIT**2
    return {
        "account_value_before": value / whole,
        "mmr_before": required / whole,
        "mmr_after": left / whole,
        "penalty": (value - after) / whole,
        "account_value_after": after / whole,
        "margin_ratio_after": left / after,
    }


def paradex_partial_search(of: Inputs) -> Found:
    """Return the smallest share that brings the ratio below its target, and the collateral then."""
    collateral, profit = scaled(of["collateral"], UNIT), scaled(of["upnl"], UNIT)
    required, penalty = scaled(of["mmr"], UNIT), scaled(of["penalty_fraction_of_closed_mmr"], UNIT)
    step, target = scaled(of["step"], UNIT), scaled(of["target_ratio"], UNIT)
    share = _smallest(collateral + profit, required, step, target, penalty, UNIT)
    realised = profit * share // UNIT
    after = _after(collateral + realised, required, share, penalty, UNIT)
    return {"share": share / UNIT, "collateral_after": after / UNIT}


def delta_one_scan(of: Inputs) -> Found:
    """Return the scan of a position without convexity, its step, and its contingency."""
    size, forward = scaled(of["size"], UNIT), scaled(of["forward"], UNIT)
    grid = [scaled(x, UNIT) for x in of["grid"]]
    profit = column(*(0 for _ in grid))
    _add(size * forward, column(*grid), profit)
    spot = abs(size) * scaled(of["spot"], UNIT)
    whole = UNIT**2
    return {
        "worst_loss": _scan(profit) / whole / UNIT,
        "per_step": abs(profit[1] - profit[0]) / whole / UNIT,
        "contingency": _due(spot, scaled(of["contingency"], UNIT), 0, UNIT) / whole,
    }


def vol_shock_tenor(of: Inputs) -> Found:
    """Return by how much a shock of volatility is scaled for a tenor."""
    shock = options.tenor_multiplier(of["dte_days"], of["power"], of["floor_days"])
    return {"multiplier": shock}


def inverse_delta_one_scan(of: Inputs) -> Found:
    """Return the profit in coins of a delta in an inverse contract, per move of spot."""
    coins = scaled(of["net_position_coin"], UNIT)
    moves = (scaled(s, UNIT) for s in of["spot_shocks"])
    return {"pnl_coin": [_inverse(coins, s, UNIT) / UNIT for s in moves]}


def deribit_mm_factor(of: Inputs) -> Found:
    """Return maintenance as a share of initial margin."""
    due = _due(scaled(of["initial_margin"], UNIT), scaled(of["mm_factor"], UNIT), 0, UNIT)
    return {"maintenance_margin": due / UNIT}


def tail_dampening(of: Inputs) -> Found:
    """Return the weights of scenarios beyond the price range.

    The documentation prints moves of thirds as whole percents: 66 % is two thirds.
    """
    width = scaled(of["price_range"], UNIT)
    moves = (_of_thirds(scaled(s, UNIT)) for s in of["shocks"])
    return {"weights": [_weight(width, move, UNIT) / UNIT for move in moves]}


def _of_thirds(move: int) -> int:
    percent, sign = UNIT // 100, 1 if move > 0 else -1
    third = round(3 * abs(move) / UNIT) * UNIT // 3
    return sign * third if third // percent * percent == abs(move) else move


RULES: dict[str, Rule] = {
    f"scenario_scan.{rule.__name__}": rule
    for rule in (
        span_scan,
        paradex_partial,
        paradex_partial_search,
        delta_one_scan,
        vol_shock_tenor,
        inverse_delta_one_scan,
        deribit_mm_factor,
        tail_dampening,
    )
}
