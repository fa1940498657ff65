"""Gearbox v3: who gets what from the sale of a liquidated account."""

from typing import Final

from tidegate.conformance.adapter import Found, Inputs, Rule
from tidegate.domain.units import muldiv, unbounded
from tidegate.kernels.proceeds import split_proceeds


PEERS: Final = ("gearbox",)

BPS = 10_000
TOLL = 50  # basis points: what the peer's test token charges for a transfer


def payments(inputs: Inputs) -> Found:
    """Answer `gearbox.gearbox`."""
    interest = int(inputs["accrued_interest"])
    fees = unbounded(muldiv)(interest, int(inputs["fee_interest"]), BPS)
    to_pool, remaining, profit, loss = unbounded(split_proceeds)(
        int(inputs["total_value"]),
        int(inputs["liq_discount"]),
        int(inputs["debt"]),
        interest,
        fees,
        int(inputs["fee_liq"]),
        TOLL if inputs["with_fee"] else 0,
        BPS,
    )
    return {"amount_to_pool": to_pool, "remaining": remaining, "profit": profit, "loss": loss}


RULES: Final[dict[str, Rule]] = {"gearbox.gearbox": payments}
