"""dYdX v4: what the insurance fund gains or pays of a liquidating fill."""

from tidegate.conformance.adapter import Found, Inputs, Rule
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import closeout, insurance


PEERS = ("dydx",)

fund_delta = unbounded(insurance.fund_delta)
share_down = unbounded(closeout.share_down)


def delta(of: Inputs) -> Found:
    """Answer in quote quantums; the account holds one position, so its quote decides."""
    lots, fill = abs(of["position_size_base_quantums"]), of["fill_base_quantums"]
    bankruptcy = -share_down(of["quote_balance_quantums"], fill, lots)
    received = of["fill_quote_quantums_signed"]
    return {
        "insurance_fund_delta_quote_quantums": fund_delta(
            received, bankruptcy, of["max_liquidation_fee_ppm"], PPM
        )
    }


RULES: dict[str, Rule] = {"insurance_fund_delta": delta}
