"""dYdX v4: initial margin that grows with open interest."""

from tidegate.conformance.adapter import Found, Inputs, Rule
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import tiers


PEERS = ("dydx",)

_crowded = unbounded(tiers.crowded_rate)
_due = unbounded(tiers.due_in_tier)


def oi_scaled(of: Inputs) -> Found:
    """Return the effective initial rate in ppm, and what a notional must hold at it."""
    low, high = int(of["oi_lower_cap"]), int(of["oi_upper_cap"])
    rate = _crowded(int(of["base_imf_ppm"]), int(of["open_notional"]), low, high, PPM)
    size = int(of.get("notional", 0))
    return {"effective_imf_ppm": rate, "initial_margin": _due(size, rate, 0, PPM)}


RULES: dict[str, Rule] = {"oi_scaled_initial_margin": oi_scaled}
