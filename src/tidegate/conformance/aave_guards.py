"""Aave's capped price ratio."""

from typing import Final

from tidegate.conformance.adapter import Found, Inputs, Rule
from tidegate.domain.units import unbounded
from tidegate.kernels import aggregate


PEERS: Final = ("aave",)
BPS: Final = 10_000
YEAR_S: Final = 365 * 86_400

_capped_growth = unbounded(aggregate.capped_growth)


def capo(of: Inputs) -> Found:
    """Return the largest ratio believed, and the one that is used."""
    snapshot, current = int(of["snapshot_ratio"]), int(of["current_ratio"])
    most = _capped_growth(snapshot, int(of["max_yearly_bps"]), BPS, YEAR_S, int(of["elapsed"]))
    found: dict[str, object] = {
        "max_ratio": most,
        "capped": current > most,
        "used_ratio": min(current, most),
    }
    if "market_ratio" in of:
        market = int(of["market_ratio"])
        found["underprice_pct"] = 100 * (market - min(current, most)) / market
    return found


RULES: Final[dict[str, Rule]] = {"oracles.capo": capo}
