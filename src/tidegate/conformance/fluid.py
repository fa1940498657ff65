"""Fluid: limits that expand with use, liquidation between two ticks, and the ticks themselves."""

from typing import Any, Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule, scaled
from tidegate.domain.units import unbounded
from tidegate.kernels.expanding_limits import debt_ceiling, power_ratio, supply_floor
from tidegate.kernels.target_health import repay_to_ratio


PEERS: Final = ("fluid",)

WIDER, NARROWER = 10_015, 10_000  # one tick: 0.15 %
TICK_MAX = 32_767


def _of(value: Any) -> int:
    return scaled(value, WAD)


def borrow(inputs: Inputs) -> Found:
    """Answer `fluid.fluid_borrow`."""
    limits = [
        unbounded(debt_ceiling)(
            _of(inputs["borrow"]),
            _of(inputs["last_limit"]),
            _of(inputs["expand_pct"]),
            int(t),
            int(inputs["duration"]),
            _of(inputs["base"]),
            _of(inputs["max"]),
            WAD,
        )
        for t in inputs["t"]
    ]
    return {"limit": [limit / WAD for limit in limits]}


def withdraw(inputs: Inputs) -> Found:
    """Answer `fluid.fluid_withdraw`."""
    limits = [
        unbounded(supply_floor)(
            _of(inputs["supply"]),
            _of(inputs["last_limit"]),
            _of(inputs["expand_pct"]),
            int(t),
            int(inputs["duration"]),
            WAD,
        )
        for t in inputs["t"]
    ]
    return {"limit": [limit / WAD for limit in limits]}


def liquidation(inputs: Inputs) -> Found:
    """Answer `fluid.fluid_liq`: one range of ticks, from its ratio to the threshold's."""
    end = _of(inputs["ratio_end"])
    repaid, sold = unbounded(repay_to_ratio)(
        _of(inputs["debt"]),
        _of(inputs["ratio_start"]),
        end,
        _of(inputs["price"]),
        _of(inputs["penalty"]),
        WAD,
    )
    if repaid < 0:
        return {"debt_liquidated": None, "col_liquidated": None, "ratio_after": None}
    return {"debt_liquidated": repaid / WAD, "col_liquidated": sold / WAD, "ratio_after": end / WAD}


def tick(inputs: Inputs) -> Found:
    """Answer `fluid.fluid_tick`."""
    ticks = [int(t) for t in inputs["tick"]]
    if any(abs(t) > TICK_MAX for t in ticks):
        return {"revert": "tick out of range"}
    rule = unbounded(power_ratio)
    return {"ratio_x96": [rule(t, WIDER, NARROWER, 2**128, 2**96) for t in ticks]}


RULES: Final[dict[str, Rule]] = {
    "fluid.fluid_borrow": borrow,
    "fluid.fluid_withdraw": withdraw,
    "fluid.fluid_liq": liquidation,
    "fluid.fluid_tick": tick,
}
