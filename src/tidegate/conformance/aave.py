"""Aave v3 and v4: close factor, dust, bonus, target health and the sequencer's grace."""

from typing import Final

from tidegate.conformance.adapter import RAY, WAD, Found, Inputs, Rule
from tidegate.domain.units import muldiv, muldiv_up, unbounded
from tidegate.kernels.bonus import kept_bonus, least_bonus, linear_bonus
from tidegate.kernels.close_factor import close_cap, leaves_dust
from tidegate.kernels.grace import admits_after
from tidegate.kernels.lending import DUST, close_part, health_factor
from tidegate.kernels.target_health import debt_to_target


PEERS: Final = ("aave",)

BPS = 10_000
DEEP_LINE = 95 * WAD // 100  # health at which the close factor is 100 %
HALF = WAD // 2


def close_factor(inputs: Inputs) -> Found:
    """Answer `aave_v3.aave_close_factor`."""
    cap = unbounded(close_cap)(
        int(inputs["hf"]),
        int(inputs["coll_base"]),
        int(inputs["debt_base"]),
        int(inputs["total_debt_base"]),
        int(inputs["threshold"]),
        DEEP_LINE,
        HALF,
        WAD,
    )
    return {"max_debt_base": cap}


def dust(inputs: Inputs) -> Found:
    """Answer `aave_v3.aave_dust`."""
    least, rule = int(inputs["min_leftover"]), unbounded(leaves_dust)
    return {
        "allowed": [
            not rule(int(case["coll_left"]), int(case["debt_left"]), least)
            for case in inputs["cases"]
        ]
    }


def health(inputs: Inputs) -> Found:
    """Answer `aave_v3.aave_hf`: collateral values round down, debts up."""
    down, up = unbounded(muldiv), unbounded(muldiv_up)
    value, adjusted, owed = 0, 0, 0
    for asset in inputs["collateral"]:
        unit = 10 ** int(asset["decimals"])
        worth = down(int(asset["amount"]), int(asset["price"]), unit)
        value += worth
        adjusted += worth * int(asset["lt_bps"])
    for asset in inputs["debt"]:
        owed += up(int(asset["amount"]), int(asset["price"]), 10 ** int(asset["decimals"]))
    factor = unbounded(health_factor)(adjusted, owed * BPS, WAD)
    return {
        "collateral_value": value,
        "debt_value": owed,
        "hf": None if factor < 0 else factor,
    }


def liquidation(inputs: Inputs) -> Found:
    """Answer `aave_v3.aave_liq`."""
    status, allowed, repaid, got, fee, deficit = unbounded(close_part)(
        int(inputs["debt_to_cover"]),
        int(inputs["hf"]),
        int(inputs["debt_balance"]),
        10 ** int(inputs["debt_decimals"]),
        int(inputs["debt_price"]),
        int(inputs["total_debt_base"]),
        int(inputs["coll_balance"]),
        10 ** int(inputs["coll_decimals"]),
        int(inputs["coll_price"]),
        int(inputs["bonus_bps"]),
        int(inputs["fee_bps"]),
        int(inputs["min_full_close_base"]),
        DEEP_LINE,
        BPS // 2,
        BPS,
    )
    if status == DUST:
        return {"revert": "MustNotLeaveDust"}
    return {
        "max_liquidatable_debt": allowed,
        "debt_repaid": repaid,
        "collateral_to_liquidator": got,
        "protocol_fee": fee,
        "deficit": deficit,
    }


def sentinel(inputs: Inputs) -> Found:
    """Answer `aave_v3.sentinel`."""
    borrow, liquidate = unbounded(admits_after)(
        bool(inputs["sequencer_up"]),
        int(inputs["now"]) - int(inputs["last_change"]),
        int(inputs["grace_period"]),
        int(inputs["hf"]),
        DEEP_LINE,
    )
    return {"borrow_allowed": borrow, "liquidation_allowed": liquidate}


def bonus(inputs: Inputs) -> Found:
    """Answer `aave_v4.v4_bonus`; the peer's bonus is a factor in basis points."""
    most = int(inputs["max_bonus_bps"]) - BPS
    least = unbounded(least_bonus)(most, int(inputs["bonus_factor_bps"]), BPS)
    found = unbounded(linear_bonus)(
        int(inputs["hf"]), int(inputs["hf_for_max_bonus"]), least, most, WAD
    )
    kept = unbounded(kept_bonus)(found, int(inputs.get("fee_bps", 0)), BPS)
    return {"bonus_bps": BPS + found, "net_bonus_bps": kept}


def target(inputs: Inputs) -> Found:
    """Answer `aave_v4.v4_target`; values have a RAY more than prices."""
    eaten = unbounded(muldiv_up)(int(inputs["bonus_bps"]) * WAD, int(inputs["cf_bps"]), BPS * BPS)
    found = unbounded(debt_to_target)(
        int(inputs["total_debt_value_ray"]),
        int(inputs["unit"]),
        int(inputs["hf"]),
        int(inputs["target_hf"]),
        eaten,
        int(inputs["price"]),
        WAD,
    )
    if found < 0:
        return {"revert": "bonus x collateral factor must stay below the target"}
    return {"debt_to_target_ray": found, "debt_to_target": -(-found // RAY)}


RULES: Final[dict[str, Rule]] = {
    "aave_v3.aave_close_factor": close_factor,
    "aave_v3.aave_dust": dust,
    "aave_v3.aave_hf": health,
    "aave_v3.aave_liq": liquidation,
    "aave_v3.sentinel": sentinel,
    "aave_v4.v4_bonus": bonus,
    "aave_v4.v4_target": target,
}
