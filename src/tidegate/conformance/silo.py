"""Silo v2: partial liquidation to a target loan-to-value."""

from typing import Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule
from tidegate.domain.units import unbounded
from tidegate.kernels.target_health import repay_preview, repay_to_ltv


PEERS: Final = ("silo",)

WHOLE_ABOVE = 9 * WAD // 10


def estimate(inputs: Inputs) -> Found:
    """Answer `silo.silo_estimate`."""
    repay = unbounded(repay_to_ltv)(
        int(inputs["debt_value"]),
        int(inputs["coll_value"]),
        int(inputs["target_ltv"]),
        int(inputs["fee"]),
        WHOLE_ABOVE,
        WAD,
    )
    return {"repay_value": repay}


def preview(inputs: Inputs) -> Found:
    """Answer `silo.silo_preview`."""
    repay, collateral, after = unbounded(repay_preview)(
        int(inputs["debt_assets"]),
        int(inputs["debt_value"]),
        int(inputs["coll_assets"]),
        int(inputs["coll_value"]),
        int(inputs["max_debt_to_cover"]),
        int(inputs["target_ltv"]),
        int(inputs["fee"]),
        WHOLE_ABOVE,
        WAD,
    )
    return {"collateral": collateral, "repay": repay, "ltv_after": after}


RULES: Final[dict[str, Rule]] = {"silo.silo_estimate": estimate, "silo.silo_preview": preview}
