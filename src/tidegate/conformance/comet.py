"""Compound III: reserves that absorb, their storefront, and when an account is open to them."""

from collections.abc import Sequence
from typing import Any, Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rules, column
from tidegate.domain.units import unbounded
from tidegate.kernels import reserves


PEERS: Final = ("comet",)

weighted, absorbed = unbounded(reserves.weighted), unbounded(reserves.absorbed)
is_uncovered = unbounded(reserves.is_uncovered)
storefront_price = unbounded(reserves.storefront_price)
storefront_quote = unbounded(reserves.storefront_quote)


def _value(collateral: Sequence[dict[str, Any]], factor: str) -> int:
    return weighted(
        column(*(c["amount"] for c in collateral)),
        column(*(c["price"] for c in collateral)),
        column(*(10 ** int(c["decimals"]) for c in collateral)),
        column(*(c[factor] for c in collateral)),
        WAD,
    )


def absorb(inputs: Inputs) -> Found:
    """Answer `comet_absorb`."""
    balance = int(inputs["balance"])
    unit = 10 ** int(inputs["base_decimals"])
    value = _value(inputs["collateral"], "liquidation_factor")
    after = absorbed(balance, value, int(inputs["base_price"]), unit)
    return {
        "new_balance": after,
        "base_paid_out": after - balance,
        "reserves_delta": balance - after,
    }


def liquidatable(inputs: Inputs) -> Found:
    """Answer `comet_liquidatable`."""
    unit = 10 ** int(inputs["base_decimals"])
    value = _value(inputs["collateral"], "liquidate_cf")
    found = is_uncovered(int(inputs["balance"]), int(inputs["base_price"]), unit, value)
    return {"liquidatable": found}


def quote(inputs: Inputs) -> Found:
    """Answer `comet_quote`."""
    price = storefront_price(
        int(inputs["asset_price"]),
        int(inputs["store_front_factor"]),
        int(inputs["liquidation_factor"]),
        WAD,
    )
    out = storefront_quote(
        int(inputs["base_amount"]),
        int(inputs["base_price"]),
        10 ** int(inputs["base_decimals"]),
        price,
        10 ** int(inputs["asset_decimals"]),
    )
    return {"collateral_out": out}


RULES: Rules = {
    "comet.comet_absorb": absorb,
    "comet.comet_liquidatable": liquidatable,
    "comet.comet_quote": quote,
}
