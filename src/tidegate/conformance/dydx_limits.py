"""dYdX v4: block limits and the order of liquidation, bankruptcy and fillable prices."""

from fractions import Fraction
from typing import Any

from tidegate.conformance.adapter import Found, Inputs, Rules, Unsupported, column
from tidegate.domain.units import PPM, unbounded
from tidegate.kernels import bankruptcy, limits


PEERS = ("dydx",)

IMF, MMF = 200_000, 500_000  # of the markets of the peer's tests: 20 % and half of it
QUOTE = 10**6
BASE = {"BTC": 10**8, "ETH": 10**9}  # base quantums of one coin
U64 = 2**64 - 1
CENT_PARTS = 10**6  # of a dollar, for prices that are told in dollars


class _Account:
    """An account's equity and requirements, as the peer adds them up."""

    def __init__(self, of: Inputs) -> None:
        self.positions: dict[str, Any] = {p["market"]: p for p in of["positions"]}
        self.equity = int(of["quote_balance_quantums"])
        self.required = 0
        for p in self.positions.values():
            self.equity += int(p["notional_quote_quantums"])
            self.required += self.requirement(p, abs(int(p["notional_quote_quantums"])))

    @staticmethod
    def requirement(position: Inputs, size: int) -> int:
        rates = position.get("imf_ppm", IMF), position.get("mmf_fraction_ppm", MMF)
        return unbounded(bankruptcy.product_requirement)(size, *rates, PPM)


def bankruptcy_price(of: Inputs) -> Found:
    """Return the quote an account must receive for a close."""
    delta = int(of["delta_base_quantums"])
    if "position_size" in of:
        held, account, position = int(of["position_size"]), None, None
    else:
        account = _Account(of)
        position = account.positions.get(of["close_market"])
        held = int(position["size_base_quantums"]) if position else 0
    if not unbounded(bankruptcy.closable)(held, delta):
        return {"error": "InvalidPerpetualPositionSizeDelta"}
    if account is None or position is None:
        why = "an account's positions are needed for a price"
        raise Unsupported(why)
    value = int(position["notional_quote_quantums"])
    after = unbounded(bankruptcy.remaining_size)(abs(value), held, delta)
    received = unbounded(bankruptcy.bankruptcy_quote)(
        value,
        after if value >= 0 else -after,
        account.equity,
        account.required,
        account.requirement(position, abs(value)),
        account.requirement(position, after),
    )
    return {"bankruptcy_delta_quote_quantums": received}


def fillable_price(of: Inputs) -> Found:
    """Return the worst price of an order as an exact fraction, and in dollars."""
    account = _Account(of)
    position = account.positions[of["market"]]
    held, value = (int(position[f"{n}_quantums"]) for n in ("size_base", "notional_quote"))
    if "delta_base_quantums" in of:
        delta = int(of["delta_base_quantums"])
        if not unbounded(bankruptcy.closable)(held, delta):
            return {"error": "InvalidPerpetualPositionSizeDelta"}
    out = column(0, 0)
    unbounded(bankruptcy.fillable_fraction)(
        value,
        held,
        account.requirement(position, abs(value)),
        account.equity,
        account.required,
        of["bankruptcy_adjustment_ppm"],
        of["spread_to_maintenance_margin_ratio_ppm"],
        PPM,
        out,
    )
    price = Fraction(*out)
    return {
        "fillable_price_quote_quantums_per_base_quantum": (
            price.numerator if price.denominator == 1 else str(price)
        ),
        "usd_price": float(price * BASE[of["market"]] / QUOTE),
    }


def position_limits(of: Inputs) -> Found:
    """Return the least and the most of one position that a block closes."""
    size, least = abs(int(of["position_notional"])), int(of["min_position_notional_liquidated"])
    portion = of["max_position_portion_liquidated_ppm"]
    return {
        "min_notional": unbounded(limits.least_close)(size, least),
        "max_notional": unbounded(limits.most_close)(size, least, portion, PPM),
    }


def account_limits(of: Inputs) -> Found:
    """Return what is left of an account's budget in this block."""
    left_of = unbounded(limits.left_of)
    notional = left_of(
        int(of["max_notional_liquidated"]), int(of.get("already_liquidated_notional", 0))
    )
    lost = left_of(
        int(of.get("max_quantums_insurance_lost", 0)), int(of.get("already_lost_insurance", 0))
    )
    if notional < 0:
        return {"error": "LiquidationExceedsSubaccountMaxNotionalLiquidated"}
    if lost < 0:
        return {"error": "LiquidationExceedsSubaccountMaxInsuranceLost"}
    return {"max_notional_liquidatable": notional, "max_insurance_lost": lost}


def once_a_block(of: Inputs) -> Found:
    """Return the refusal of a second liquidation of one market of one account."""
    if of["previously_liquidated_market"] == of["market"]:
        return {"error": "SubaccountHasLiquidatedPerpetual"}
    return account_limits(of) if "max_notional_liquidated" in of else {}


def service_order(of: Inputs) -> Found:
    """Return the ids of orders in the order in which they are sold."""
    orders = of["orders"]
    limit = column(*(round(o["price"] * CENT_PARTS) for o in orders))
    lots = column(*(round(o["size"] * BASE["ETH"]) for o in orders))
    out = column(*(0 for _ in orders))
    mark = round(of["oracle_price"] * CENT_PARTS)
    unbounded(limits.serve_in_order)(limit, lots, mark, out)
    return {"order": [orders[row]["id"] for row in out]}


def subticks(of: Inputs) -> Found:
    """Return a fillable price in the market's own ticks."""
    price = Fraction(of["fillable_price"])
    scale = Fraction(10) ** -of["quantum_conversion_exponent"]
    ticks = price * scale
    found = unbounded(bankruptcy.aligned_price)(
        ticks.numerator,
        ticks.denominator,
        of["subticks_per_tick"],
        of["is_liquidating_long"],
        U64,
    )
    return {"subticks": found}


def limits_and_ordering(of: Inputs) -> Found:
    """Return the answer of the function that these inputs belong to."""
    for key, answer in (
        ("position_notional", position_limits),
        ("previously_liquidated_market", once_a_block),
        ("max_notional_liquidated", account_limits),
        ("orders", service_order),
        ("fillable_price", subticks),
    ):
        if key in of:
            return answer(of)
    why = "none of our rules of this peer takes these inputs"
    raise Unsupported(why)


RULES: Rules = {
    "bankruptcy_price": bankruptcy_price,
    "fillable_price": fillable_price,
    "liquidation_limits_and_ordering": limits_and_ordering,
}
