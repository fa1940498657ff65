"""Derive: auctions of whole accounts, solvent and insolvent, and when withdrawals wait."""

from decimal import Decimal
from typing import Any

from tidegate.conformance.adapter import WAD, Found, Inputs, Rules, Unsupported
from tidegate.domain.units import unbounded
from tidegate.kernels import auction, curves


PEERS = ("derive",)

two_phases = unbounded(curves.two_phases)
buffered_margin = unbounded(auction.buffered_margin)
fraction_max = unbounded(auction.fraction_max)
insolvent_price = unbounded(auction.insolvent_price)
kept = unbounded(auction.kept)

# Their tests' own settings, where a case does not name any.
SETTINGS = {"starting": 1.0, "fast_cutoff": 0.8, "fast_len": 600, "slow_len": 7200}


def wad(number: Any) -> int:
    """Return a number of dollars, or a rate, at 1e18, exactly as it was written."""
    return int(Decimal(str(number)) * WAD)


def factor(v: Inputs) -> int:
    """Return the auction's price factor: given, or from its phases."""
    if "price_factor" in v:
        return wad(v["price_factor"])
    of: dict[str, Any] = {**SETTINGS, **v}
    start, cutoff = wad(of["starting"]), wad(of["fast_cutoff"])
    return two_phases(start, cutoff, of["elapsed"], of["fast_len"], of["slow_len"])


def times(amount: int, share: int) -> int:
    """Return a share, at 1e18, of an amount of either sign, towards zero."""
    part = kept(abs(amount), WAD - share, WAD)
    return part if amount >= 0 else -part


def solvent(v: Inputs, buffer: object) -> dict[str, int]:
    """Return buffered margin, price of the whole, and what a bidder for ``percent`` gets."""
    margin = wad(v.get("maintenance_margin", v.get("mm", 0)))
    value, reserved = wad(v.get("mark_to_market", v.get("mtm", 0))), wad(v.get("reserved_cash", 0))
    discount = factor(v)
    buffered = buffered_margin(margin, value, wad(buffer), WAD)
    cutoff = wad(v.get("cutoff", 0))
    most = fraction_max(buffered, value, reserved, discount, cutoff, WAD)
    whole = times(value - reserved, discount)
    got = min(wad(v.get("percent", 1)), most)
    return {
        "buffered": buffered,
        "whole": whole,
        "most": most,
        "got": got,
        "cash": times(whole, got),
    }


def sale(v: Inputs) -> Found:
    """Answer a bid in a solvent auction."""
    one = solvent(v, v.get("buffer", 0))
    return {
        "buffer_margin": one["buffered"] / WAD,
        "bid_price_full": one["whole"] / WAD,
        "max_fraction": one["most"] / WAD,
        "final_fraction": one["got"] / WAD,
        "cash_from_bidder": one["cash"] / WAD,
        "terminated": one["got"] == one["most"],
    }


def insolvent(v: Inputs) -> Found:
    """Answer the price of an insolvent account, and what the security module pays for a part."""
    margin, value = wad(v["maintenance_margin"]), wad(v["mark_to_market"])
    price = insolvent_price(margin, value, v["elapsed"], v["length"])
    paid = times(-price, wad(v.get("percent", 1)))
    return {"bid_price": price / WAD, "cash_to_bidder": paid / WAD}


def two_rounds(v: Inputs) -> Found:
    """Answer two bids of one auction."""
    first = solvent(v["round1"], v["buffer"])
    second = solvent(v["round2"], v["buffer"])
    # The first bidder's share is given: what it may be at most is not the case's subject.
    cash = times(first["whole"], wad(v["round1"]["percent"]))
    return {
        "round1_cash": cash / WAD,
        "round2_max_fraction": second["most"] / WAD,
        "round2_cash": second["cash"] / WAD,
    }


def crash(v: Inputs) -> Found:
    """Answer an auction whose account falls below the cash reserved for it: it restarts."""
    first, later, value = v["first_bid"], v["later"], wad(v["crash_mtm"])
    reserved = wad(later["reserved_cash"])
    paid = times(times(wad(first["mtm"]), wad(first["price_factor"])), wad(first["percent"]))
    left = value - reserved
    return {
        "first_cash": paid / WAD,
        "later_bid_price": times(wad(later["mtm"]) - reserved, wad(later["price_factor"])) / WAD,
        "can_terminate_after_crash": left < 0,
        "restart_mtm": left / WAD,
        "restart_price": insolvent_price(min(left, 0), left, 0, 1) / WAD,
    }


def withdrawals(v: Inputs) -> Found:
    """Answer whether withdrawals wait for the insolvent."""
    lacking = v["insolvent_accounts"] * -wad(v["maintenance_margin_each"])
    blocked = lacking > wad(v["security_module_cash"])
    return {"total_insolvent_mm": lacking / WAD, "withdraw_blocked": blocked}


def answer(v: Inputs) -> Found:
    """Answer ``dutch_auction_liquidation``: which question it is, its inputs say."""
    if "round1" in v:
        return two_rounds(v)
    if "first_bid" in v:
        return crash(v)
    if "insolvent_accounts" in v:
        return withdrawals(v)
    if "length" in v:
        return insolvent(v)
    if "mark_to_market" in v:
        return sale(v)
    if "elapsed" in v:
        return {"price_factor": factor(v) / WAD}
    why = "a question that its inputs do not tell"
    raise Unsupported(why)


RULES: Rules = {"dutch_auction_liquidation": answer}
