"""Conservative sides of a Pyth price with its confidence."""

from typing import Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule
from tidegate.conformance.decimals import fixed
from tidegate.domain.units import unbounded
from tidegate.kernels import aggregate


PEERS: Final = ("pyth",)
BPS: Final = 10_000

_conservative = unbounded(aggregate.conservative)


def pyth_conf(of: Inputs) -> Found:
    """Return the price less and plus k times its confidence."""
    unit = 10 ** int(of["expo"])
    price, width = int(of["price"]), int(of["conf"])
    # In billionths of the feed's unit, so that rounding stays out of sight.
    low, high = _conservative(price * WAD, width * WAD, fixed(of["k"]), WAD)
    return {
        "price": price * unit,
        "conf": width * unit,
        "conf_bps": width * BPS / price,
        "collateral_price": low * unit / WAD,
        "debt_price": high * unit / WAD,
    }


RULES: Final[dict[str, Rule]] = {"oracles.pyth_conf": pyth_conf}
