"""GMX v2: price impact of a market's imbalance."""

from typing import Final

from tidegate.conformance.adapter import Found, Inputs, Rules
from tidegate.lab.imbalance_impact import execution_price, impact_of, trade_impact


PEERS: Final = ("gmx",)

USD: Final = 10**30


def impact_factor(inputs: Inputs) -> Found:
    """Answer `apply_impact_factor`."""
    impact = impact_of(
        float(inputs["diff_usd"]), float(inputs["factor"]), float(inputs["exponent"])
    )
    return {"impact_usd": impact, "impact_usd_1e30": int(impact * USD)}


def price_impact(inputs: Inputs) -> Found:
    """Answer `price_impact`."""
    impact = trade_impact(
        float(inputs["long_oi"]),
        float(inputs["short_oi"]),
        float(inputs["delta_long"]),
        float(inputs["delta_short"]),
        better=float(inputs["positive_factor"]),
        worse=float(inputs["negative_factor"]),
        exponent=float(inputs["exponent"]),
    )
    return {"price_impact_usd": impact}


def increase_long(inputs: Inputs) -> Found:
    """Answer `execution_price_increase_long`."""
    price = execution_price(
        float(inputs["size_usd"]),
        float(inputs["index_price"]),
        float(inputs["price_impact_usd"]),
    )
    return {"execution_price": price}


RULES: Rules = {
    "price_impact.apply_impact_factor": impact_factor,
    "price_impact.price_impact": price_impact,
    "price_impact.execution_price_increase_long": increase_long,
}
