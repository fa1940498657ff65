"""Derive: the weights of scenarios beyond the price range."""

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule, scaled
from tidegate.domain.units import unbounded
from tidegate.kernels import scenarios


PEERS = ("derive",)

_weight = unbounded(scenarios.tail_weight)


def tail_dampening(of: Inputs) -> Found:
    """Return the weight of each move, at which it counts as much as one of the price range."""
    width = scaled(of["price_range"], WAD)
    return {"weights": [_weight(width, scaled(s, WAD), WAD) / WAD for s in of["shocks"]]}


RULES: dict[str, Rule] = {"scenario_scan.tail_dampening": tail_dampening}
