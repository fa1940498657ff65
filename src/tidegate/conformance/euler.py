"""Euler v2: a discount equal to the account's own health, and a liquidation LTV that ramps down."""

from typing import Any, Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule, Shown
from tidegate.domain.units import muldiv, unbounded
from tidegate.kernels.lending import close_at_health, health_factor, written_off
from tidegate.kernels.ramp import lowered


PEERS: Final = ("euler",)

BPS = 10_000
LEAST_LOSS = 10**6  # in the unit of account: smaller liabilities are not socialised


def _value(asset: Any, amount: int) -> int:
    return unbounded(muldiv)(amount, int(asset["price"]), 10 ** int(asset["decimals"]))


def liquidation(inputs: Inputs) -> Found:
    """Answer `euler.euler`."""
    down = unbounded(muldiv)
    collaterals, debt = inputs["collaterals"], int(inputs["debt"])
    owed = down(debt, int(inputs["debt_price"]), 10 ** int(inputs["debt_decimals"]))
    adjusted = sum(down(_value(c, int(c["balance"])), int(c["ltv_bps"]), BPS) for c in collaterals)
    wanted = collaterals[int(inputs["target"])]
    balance = int(wanted["balance"])
    repay, taken, factor = unbounded(close_at_health)(
        adjusted,
        owed,
        debt,
        _value(wanted, balance),
        balance,
        int(inputs["max_discount_bps"]) * WAD // BPS,
        WAD,
    )
    desired = int(inputs.get("desired_repay", repay))
    if desired > repay:
        return {"revert": "ExcessiveRepayAmount"}
    if repay > 0:
        repay, taken = desired, down(desired, taken, repay)
    held = sum(int(c["balance"]) for c in collaterals)
    lost = unbounded(written_off)(debt, repay, held - taken, owed, LEAST_LOSS)
    score = unbounded(health_factor)(adjusted, owed, WAD)
    return {
        # The peer's tests assert scores to two or three digits: 12/11 is 1.09 there.
        "health_score": None if score < 0 else Shown(score),
        "discount_factor": factor,
        "repay": repay,
        "yield_": taken,
        "socialized": 0 if inputs.get("dont_socialize") else lost,
    }


def ramp(inputs: Inputs) -> Found:
    """Answer `euler.ltv_ramp`."""
    start, end = int(inputs["initial_bps"]), int(inputs["target_bps"])
    return {
        "ltv_bps": [
            unbounded(lowered)(start, end, int(t), int(inputs["ramp"])) for t in inputs["t"]
        ]
    }


RULES: Final[dict[str, Rule]] = {"euler.euler": liquidation, "euler.ltv_ramp": ramp}
