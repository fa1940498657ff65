"""Papers on liquidations: selling into a constant-product pool."""

from decimal import Decimal
from typing import Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rules
from tidegate.domain.units import unbounded
from tidegate.kernels import cpmm


PEERS: Final = ("paper",)

cpmm_out, cpmm_price = unbounded(cpmm.cpmm_out), unbounded(cpmm.cpmm_price)
cpmm_sale_max = unbounded(cpmm.cpmm_sale_max)


def _wad(number: float) -> int:
    return int(Decimal(str(number)) * WAD)


def sell(inputs: Inputs) -> Found:
    """Answer `cpmm_sell`: two readings of where the fee stays."""
    held, other = _wad(inputs["x"]), _wad(inputs["y"])
    sold, fee = _wad(inputs["dx"]), _wad(inputs["fee"])
    out = cpmm_out(held, other, sold, fee, WAD)
    bare = sold - sold * fee // WAD
    return {
        "out": out / WAD,
        "avg_price": out / sold,
        "price_after_no_fee_in_pool": cpmm_price(held + bare, other - out, WAD) / WAD,
        "price_after_fee_in_pool": cpmm_price(held + sold, other - out, WAD) / WAD,
    }


def sale_max(inputs: Inputs) -> Found:
    """Answer `cpmm_max_sale`."""
    return {"dx": cpmm_sale_max(_wad(inputs["x"]), _wad(inputs["delta"]), WAD) / WAD}


RULES: Rules = {"liquidation.cpmm_sell": sell, "liquidation.cpmm_max_sale": sale_max}
