"""FLOX: rounds of a cascade, the fund before deleveraging, and one margin over all markets."""

from typing import Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule, Unsupported, column, scaled
from tidegate.domain.units import unbounded
from tidegate.kernels import condition, lines, tiers


PEERS = ("flox",)

UNIT: Final = WAD
BPS: Final = 10_000

_below = unbounded(condition.below)
_slipped = unbounded(condition.slipped)
_cover = unbounded(condition.cover)
_due = unbounded(tiers.due_in_tier)
_line = unbounded(lines.linear_line)
_withdrawable = unbounded(condition.withdrawable)


def cascade_rounds(of: Inputs) -> Found:
    """Return how many accounts leave at each round's mark; who has left does not come back."""
    if "marks_by_round" not in of:
        reason = "the marks of the rounds come from a book that the case does not give"
        raise Unsupported(reason)
    rate = scaled(of["mm_fraction"], UNIT)
    left = [
        (scaled(p["qty"], UNIT), scaled(p["entry"], UNIT), scaled(p["equity"], UNIT) * UNIT)
        for p in of["positions"]
    ]
    gone: list[int] = []
    for price in of["marks_by_round"]:
        mark = scaled(price, UNIT)
        stay = [
            (q, entry, own)
            for q, entry, own in left
            if not _below(own + q * (mark - entry), abs(q) * mark, rate, UNIT)
        ]
        gone.append(len(left) - len(stay))
        left = stay
    return {"liquidations_by_round": gone}


def waterfall(of: Inputs) -> Found:
    """Return the deficit of a close, what is left of the fund and what goes to deleveraging."""
    q, entry = scaled(of["qty"], UNIT), scaled(of["entry"], UNIT)
    side = 1 if q > 0 else -1
    slip = scaled(of.get("slippage_bps", 0), UNIT) // BPS
    price = _slipped(scaled(of["close_price"], UNIT), side, slip, UNIT)
    equity = scaled(of["equity"], UNIT) * UNIT + q * (price - entry)
    out = column(0, 0)
    _cover(equity, scaled(of["insurance_fund"], UNIT) * UNIT, out)
    fund = scaled(of["insurance_fund"], UNIT) * UNIT - out[0]
    return {
        "deficit": (out[0] + out[1]) / UNIT**2,
        "fund_after": fund / UNIT**2,
        "adl": out[1] / UNIT**2,
    }


def cross_margin(of: Inputs) -> Found:
    """Return equity, requirements and what follows for one account, or a bankrupt and a winner."""
    if "bankrupt" in of:
        return _deleveraged(of)
    equity = scaled(of.get("cash", 0), UNIT) * UNIT
    for c in of.get("collateral", ()):
        value = scaled(c["amount"], UNIT) * scaled(c["price"], UNIT)
        equity += value - _due(value, scaled(c["haircut"], UNIT), 0, UNIT)
    legs = [_leg(leg["size"], leg["entry"], leg["mark"]) for leg in of.get("legs", ())]
    if "open" in of:
        legs.append(_leg(of["open"]["size"], of["open"]["price"], of["open"]["price"]))
    equity += sum(gain for gain, _ in legs)
    size = sum(notional for _, notional in legs)
    initial = _due(size, scaled(of["im_rate"], UNIT), 0, UNIT)
    required = _due(size, scaled(of["mm_rate"], UNIT), 0, UNIT)
    out = column(0, 0)
    _cover(equity, max(0, -equity), out)
    low = _below(equity, size, scaled(of["mm_rate"], UNIT), UNIT)
    whole = UNIT**2
    return {
        "equity": equity / whole,
        "initial_margin": initial / whole,
        "maintenance_margin": required / whole,
        "accepted": equity >= initial,
        "liquidated": low and not of.get("paused", False),
        "withdrawable": _withdrawable(equity, initial) / whole,
        "insurance_draw": out[0] / whole,
        "wallet_after": (equity + out[0]) / whole,
    }


def _leg(size: float, entry: float, mark: float) -> tuple[int, int]:
    q, price = scaled(size, UNIT), scaled(mark, UNIT)
    return q * (price - scaled(entry, UNIT)), abs(q) * price


def _deleveraged(of: Inputs) -> Found:
    """Return what the winner keeps when it closes the bankrupt at the bankruptcy price."""
    (lost,), (won,) = of["bankrupt"]["legs"], of["winner"]["legs"]
    q, entry = scaled(lost["size"], UNIT), scaled(lost["entry"], UNIT)
    cash = scaled(of["bankrupt"]["cash"], UNIT) * UNIT
    price = _line(q, q * entry, cash, 0, 0, UNIT)
    gain, _ = _leg(lost["size"], lost["entry"], lost["mark"])
    own = scaled(of["winner"]["cash"], UNIT) * UNIT
    own += scaled(won["size"], UNIT) * (price - scaled(won["entry"], UNIT))
    out = column(0, 0)
    _cover(cash + gain, scaled(of.get("insurance", 0), UNIT) * UNIT, out)
    return {
        "deficit": (out[0] + out[1]) / UNIT**2,
        "winner_wallet_after": own / UNIT**2,
        "insurance_change": -out[0] / UNIT**2,
        "winner_effective_close_price": price / UNIT,
    }


RULES: dict[str, Rule] = {
    "cross_margin_portfolio.cross_margin": cross_margin,
    "cascade_feedback.cascade_rounds": cascade_rounds,
    "cascade_feedback.waterfall": waterfall,
}
