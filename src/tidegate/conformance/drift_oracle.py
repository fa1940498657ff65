"""Validity of oracle prices, what each action bears and how averages sample: Drift."""

from typing import Final

from tidegate.conformance.adapter import Found, Inputs, Rule
from tidegate.conformance.decimals import fixed, plain
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import aggregate


PEERS: Final = ("drift",)
PRICE: Final = 10**6
STATES: Final = {
    aggregate.VALID: "Valid",
    aggregate.AGEING: "StaleForAMM",
    aggregate.SPARSE: "InsufficientDataPoints",
    aggregate.OLD: "StaleForMargin",
    aggregate.UNCERTAIN: "TooUncertain",
    aggregate.VOLATILE: "TooVolatile",
    aggregate.NOT_POSITIVE: "NonPositive",
}
SEVERITY: Final = {name: severity for severity, name in STATES.items()}
BEARS: Final = {  # the worst state in which each action still uses the price
    "liquidate": aggregate.UNCERTAIN,
    "trigger_order": aggregate.UNCERTAIN,
    "margin_calc": aggregate.SPARSE,
    "match_fill": aggregate.OLD,
    "update_twap": aggregate.VOLATILE,
    "settle_pnl": aggregate.OLD,
    "update_funding": aggregate.OLD,
    "oracle_order_price": aggregate.SPARSE,
    "fill_amm": aggregate.VALID,
    "update_amm": aggregate.VOLATILE,
}
MULTIPLIER: Final = {  # of the confidence interval, by the market's tier
    "A": 1, "B": 1, "C": 2, "Speculative": 10, "HighlySpeculative": 50, "Isolated": 50,
}  # fmt: skip
DIVERGENCE_MIN: Final = PPM // 10
STABLE_AGE: Final = 3  # a stable coin's price may be this many times as old

_validity = unbounded(aggregate.validity)
_permitted = unbounded(aggregate.permitted)
_diverges = unbounded(aggregate.diverges)
_sample_held = unbounded(aggregate.sample_held)


def validity(of: Inputs) -> Found:
    """Return the first that applies, and whether the mark is far from its five-minute average."""
    guard = of["guard"]
    multiplier = of.get("confidence_multiplier", MULTIPLIER[of.get("tier", "B")])
    patience = STABLE_AGE if of.get("stablecoin") else 1
    severity = _validity(
        fixed(of["price"], PRICE),
        fixed(of["confidence"], PRICE),
        int(of["delay_slots"]),
        fixed(of["last_twap"], PRICE),
        int(of.get("sufficient_data_points", True)),
        int(guard["stale_amm"]),
        int(guard["stale_margin"]) * patience,
        fixed(guard["max_conf"], PPM),
        int(multiplier),
        int(guard["too_volatile_ratio"]),
        PPM,
    )
    found: dict[str, object] = {"validity": STATES[severity]}
    if "mark_price" in of:
        rate = max(fixed(guard["mark_divergence_cfg"], PPM), DIVERGENCE_MIN)
        mark, average = fixed(of["mark_price"], PRICE), fixed(of["last_twap_5min"], PRICE)
        found["mark_too_divergent"] = bool(_diverges(mark, average, rate, PPM))
    return found


def action_gate(of: Inputs) -> Found:
    """Return what each action may do with a price of this validity."""
    severity = SEVERITY[of["validity"]]
    return {action: bool(_permitted(severity, worst)) for action, worst in BEARS.items()}


def twap_sample_clamp(of: Inputs) -> Found:
    """Return the sample that an average takes."""
    price, average = fixed(of["new_price"]), fixed(of["last_twap"])
    denominator = int(of["clamp_denominator"] or 0)
    return {"clamped": plain(_sample_held(price, average, min(denominator, 1), denominator))}


RULES: Final[dict[str, Rule]] = {
    "oracle_guard.validity": validity,
    "oracle_guard.action_gate": action_gate,
    "oracle_guard.twap_sample_clamp": twap_sample_clamp,
}
