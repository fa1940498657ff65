"""Aave's capped price ratio and its sequencer sentinel."""

from typing import Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule
from tidegate.domain.units import unbounded
from tidegate.kernels import aggregate


PEERS: Final = ("aave",)
BPS: Final = 10_000
YEAR_S: Final = 365 * 86_400
HEALTH_MIN: Final = 95 * WAD // 100  # below it a liquidation never waits

_capped_growth = unbounded(aggregate.capped_growth)
_allows = unbounded(aggregate.sequencer_allows)


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


def sentinel(of: Inputs) -> Found:
    """Return whether one may borrow and liquidate while a sequencer recovers."""
    up, since, now = int(of["sequencer_up"]), int(of["last_change"]), int(of["now"])
    allowed = bool(_allows(up, since, now, int(of["grace_period"])))
    deep = int(of["hf"]) < HEALTH_MIN
    return {"borrow_allowed": allowed, "liquidation_allowed": allowed or deep}


RULES: Final[dict[str, Rule]] = {"oracles.capo": capo, "aave_v3.sentinel": sentinel}
