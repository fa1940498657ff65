"""openhl: the condition of an account, and who gets what when it is closed."""

from typing import Final

from tidegate.conformance.adapter import Found, Inputs, Rule, column
from tidegate.domain.units import unbounded
from tidegate.kernels import condition


PEERS = ("openhl",)

BPS: Final = 10_000
NAMES: Final = ("safe", "at_risk", "liquidatable", "underwater")

_ratio = unbounded(condition.margin_ratio)
_condition = unbounded(condition.condition_of)
_close = unbounded(condition.close_outcome)


def margin_health(of: Inputs) -> Found:
    """Return the margin ratio in bps, null for a flat account, and the health state."""
    size, mark = int(of["size"]), int(of["mark"])
    equity = int(of["collateral"]) + size * (mark - int(of["entry"]))
    ratio = _ratio(equity, abs(size) * mark, BPS)
    state = _condition(ratio, of["im_bps"], of["mm_bps"])
    return {"ratio_bps": None if ratio == condition.FLAT else ratio, "health": NAMES[state]}


def close_outcome(of: Inputs) -> Found:
    """Return what the fund, the account and the fund again get of a close."""
    size, price = int(of["size"]), int(of["close_price"])
    equity = int(of["collateral"]) + size * (price - int(of["entry"]))
    out = column(0, 0, 0)
    _close(equity, abs(size) * price, of["fee_bps"], BPS, out)
    names = ("fee_to_fund", "residual_to_account", "shortfall_to_fund")
    return dict(zip(names, out, strict=True))


def liquidation_fee(of: Inputs) -> Found:
    """Return the fee of closing a notional, for an account that can pay it."""
    out = column(0, 0, 0)
    _close(int(of["notional"]), int(of["notional"]), of["fee_bps"], BPS, out)
    return {"fee": out[0]}


RULES: dict[str, Rule] = {
    "margin_health_and_close.margin_health": margin_health,
    "margin_health_and_close.close_outcome": close_outcome,
    "margin_health_and_close.liquidation_fee": liquidation_fee,
}
