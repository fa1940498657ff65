"""Synthetix v3: fills, margins and a market's size, all by its skew."""

from decimal import Decimal
from typing import Any, Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rules, Unsupported
from tidegate.domain.units import unbounded
from tidegate.kernels import skew


PEERS: Final = ("synthetix",)

skew_fill, size_margin = unbounded(skew.skew_fill), unbounded(skew.size_margin)
margin_due, open_interest = unbounded(skew.margin_due), unbounded(skew.open_interest)


def _wad(number: float) -> int:
    return int(Decimal(str(number)) * WAD)


def _units(wad: int) -> float:
    return wad // WAD if wad % WAD == 0 else wad / WAD


def _gain(size: int, now: int, then: int) -> int:
    return size * (now - then) // WAD


def _fill(inputs: Inputs) -> Found:
    price, size = _wad(inputs["oracle"]), _wad(inputs["size"])
    fill = skew_fill(price, _wad(inputs["skew_before"]), size, _wad(inputs["skew_scale"]))
    return {"fill_price": _units(fill), "pnl": _units(_gain(size, price, fill))}


def _margin(inputs: Inputs) -> Found:
    size, price = _wad(inputs["size"]), _wad(inputs["price"])
    least = _wad(inputs.get("minimum_position_margin", 0))
    initial = size_margin(
        size,
        _wad(inputs["skew_scale"]),
        _wad(inputs["initial_margin_fraction"]),
        _wad(inputs["minimum_imr"]),
        WAD,
    )
    rates = {"initial": initial, "maintenance": initial * _wad(inputs["mm_scalar"]) // WAD}
    found: dict[str, Any] = {}
    for name, rate in rates.items():
        found[f"{name}_margin_ratio"] = _units(rate)
        found[f"{name}_margin"] = _units(margin_due(size, price, rate, least, WAD))
    return found


def _account(inputs: Inputs) -> Found:
    gains = {
        p["market"]: _gain(_wad(p["size"]), _wad(inputs["prices"][p["market"]]), _wad(p["entry"]))
        for p in inputs["positions"]
    }
    margin = _wad(inputs["collateral_usd"]) + sum(gains.values())
    return {
        "pnl": {name: _units(gain) for name, gain in gains.items()},
        "available_margin": _units(margin),
    }


def _sequence(inputs: Inputs) -> Found:
    size, tilt = _wad(inputs["initial_size"]), _wad(inputs["initial_skew"])
    held, found = 0, list[dict[str, Any]]()
    for order in inputs["orders"]:
        size = open_interest(size, held, _wad(order))
        held, tilt = held + _wad(order), tilt + _wad(order)
        found.append({"order": order, "market_size": _units(size), "skew": _units(tilt)})
    return {"sequence": found}


def answer(inputs: Inputs) -> Found:
    """Answer `skew_margin_and_fill`: one of four questions, told by what is given."""
    match inputs:
        case {"oracle": _, "skew_before": _}:
            return _fill(inputs)
        case {"minimum_imr": _}:
            return _margin(inputs)
        case {"positions": _}:
            return _account(inputs)
        case {"orders": _}:
            return _sequence(inputs)
        case _:
            why = "none of fill, margin, account and sequence of orders"
            raise Unsupported(why)


RULES: Rules = {"skew_margin_and_fill": answer}
