"""Drift v2: shares of the insurance fund."""

from typing import Final

from tidegate.conformance.adapter import Found, Inputs, Rules
from tidegate.domain.units import unbounded
from tidegate.kernels import shares


PEERS: Final = ("drift",)


def shares_lost(inputs: Inputs) -> Found:
    """Answer `insurance_fund_shares`: what cancelling a request to leave costs."""
    lost = unbounded(shares.forfeited)(
        int(inputs["request_shares"]),
        int(inputs["request_value"]),
        int(inputs["total_shares"]),
        int(inputs["vault_balance"]),
    )
    return {"shares_lost": lost}


RULES: Rules = {"insurance_fund_shares": shares_lost}
