"""Toxic liquidation spirals (arXiv:2212.07306): when a fixed bonus makes a loan worse."""

from typing import Final

from tidegate.conformance.adapter import RAY, Found, Inputs, Rule, scaled
from tidegate.domain.units import unbounded
from tidegate.kernels.bonus import critical_ltv, improves, ltv_after


PEERS: Final = ("arxiv:2212.07306",)


def spiral(inputs: Inputs) -> Found:
    """Answer `spiral.bonus_spiral`."""
    collateral, debt = scaled(inputs["coll"], RAY), scaled(inputs["debt"], RAY)
    bonus = scaled(inputs["bonus"], RAY)
    after = unbounded(ltv_after)(collateral, debt, scaled(inputs["repay"], RAY), bonus, RAY)
    return {
        "improves": unbounded(improves)(collateral, debt, bonus, RAY),
        "ltv_after": None if after < 0 else after / RAY,
        "critical_ltv": unbounded(critical_ltv)(bonus, RAY) / RAY,
    }


RULES: Final[dict[str, Rule]] = {"spiral.bonus_spiral": spiral}
