"""Morpho Blue: the incentive its threshold implies, liquidation in shares, and pre-liquidation."""

from typing import Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule
from tidegate.domain.units import muldiv, muldiv_up, unbounded
from tidegate.kernels.bonus import threshold_factor
from tidegate.kernels.lending import close_shares, shares_to_assets_up
from tidegate.kernels.ramp import between


PEERS: Final = ("morpho",)

ONE = 10**36  # the oracle's scale
VIRTUAL = 10**6
CURSOR = 3 * WAD // 10
MOST = 115 * WAD // 100


def factor(inputs: Inputs) -> Found:
    """Answer `morpho.morpho_lif`."""
    return {"lif": unbounded(threshold_factor)(int(inputs["lltv"]), CURSOR, MOST, WAD)}


def liquidation(inputs: Inputs) -> Found:
    """Answer `morpho.morpho_liq`."""
    lltv, collateral = int(inputs["lltv"]), int(inputs["collateral"])
    shares, assets = int(inputs["borrow_shares"]), int(inputs["total_borrow_assets"])
    total, price = int(inputs["total_borrow_shares"]), int(inputs["price"])
    owed = unbounded(shares_to_assets_up)(shares, assets, total, VIRTUAL)
    value = unbounded(muldiv)(collateral, price, ONE)
    if owed <= unbounded(muldiv)(value, lltv, WAD):
        return {"revert": "HEALTHY_POSITION"}
    repaid, seized, bad, supply, left = unbounded(close_shares)(
        int(inputs.get("seized", 0)),
        int(inputs.get("repaid_shares", 0)),
        shares,
        collateral,
        assets,
        total,
        int(inputs["total_supply_assets"]),
        price,
        unbounded(threshold_factor)(lltv, CURSOR, MOST, WAD),
        VIRTUAL,
        ONE,
        WAD,
    )
    return {
        "repaid_assets": repaid,
        "seized": seized,
        "bad_debt_assets": bad,
        "total_supply_assets": supply,
        "collateral_left": collateral - seized,
        "borrow_shares_left": left,
    }


def before(inputs: Inputs) -> Found:
    """Answer `morpho.morpho_preliq`."""
    lltv, early = int(inputs["lltv"]), int(inputs["pre_lltv"])
    owed = int(inputs["borrowed"])
    value = unbounded(muldiv)(int(inputs["collateral"]), int(inputs["price"]), ONE)
    if owed > unbounded(muldiv)(value, lltv, WAD):
        return {"revert": "LiquidatablePosition"}
    if owed <= unbounded(muldiv)(value, early, WAD):
        return {"revert": "NotPreLiquidatablePosition"}
    at = unbounded(muldiv_up)(owed, WAD, value)
    rule = unbounded(between)
    return {
        "pre_lif": rule(at, early, lltv, int(inputs["lif1"]), int(inputs["lif2"]), WAD),
        "pre_lcf": rule(at, early, lltv, int(inputs["lcf1"]), int(inputs["lcf2"]), WAD),
    }


RULES: Final[dict[str, Rule]] = {
    "morpho.morpho_lif": factor,
    "morpho.morpho_liq": liquidation,
    "morpho.morpho_preliq": before,
}
