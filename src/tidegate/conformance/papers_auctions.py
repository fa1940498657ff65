"""Papers: call auctions, Dutch prices, commitments and shared secrets."""

from decimal import Decimal
from typing import Any

from tidegate.conformance.adapter import WAD, Found, Inputs, Rules, Unsupported, column
from tidegate.domain.commitments import commitment
from tidegate.domain.units import unbounded
from tidegate.kernels import curves, secrets, uniform


PEERS = ("paper",)

linear = unbounded(curves.linear)
stair = unbounded(curves.stair)
stair_time = unbounded(curves.stair_time)
linear_time = unbounded(curves.linear_time)
clearing_price = unbounded(uniform.clearing_price)
volume_at = unbounded(uniform.volume_at)
reconstruct = unbounded(secrets.reconstruct)


def wad(number: Any) -> int:
    """Return a number at 1e18, exactly as it was written."""
    return int(Decimal(str(number)) * WAD)


def call_auction(v: Inputs) -> Found:
    """Answer ``call_auction``."""
    bids, asks = ([(wad(p), wad(q)) for p, q in v[side]] for side in ("bids", "asks"))
    bid_price, bid = (column(*(row[n] for row in bids)) for n in range(2))
    ask_price, ask = (column(*(row[n] for row in asks)) for n in range(2))
    price = clearing_price(bid_price, bid, ask_price, ask, wad(v["ref"]), -1)
    if price == -1:
        return {"price": None, "volume": 0, "surplus": 0}
    demand, supply = volume_at(price, bid_price, bid, ask_price, ask)
    volume = min(demand, supply)
    return {"price": price / WAD, "volume": volume / WAD, "surplus": (demand - supply) / WAD}


def step_of(v: Inputs) -> tuple[int, int]:
    """Return step and cut of a price that falls by a factor; without a step it falls each unit."""
    return wad(v.get("step", 1)), wad(v["cut"])


def price(v: Inputs) -> Found:
    """Answer ``dutch_price``."""
    top, elapsed = wad(v["top"]), wad(v["t"])
    match v["kind"]:
        case "linear":
            found = linear(top, elapsed, wad(v["tau"]), WAD)
        case "stair_exp" | "exp":
            found = stair(top, elapsed, *step_of(v), WAD)
        case other:
            why = f"no curve is called {other}"
            raise Unsupported(why)
    return {"price": found / WAD}


def time_to(v: Inputs) -> Found:
    """Answer ``dutch_time_to``: when a price is first at or below its target."""
    if "target" not in v:
        return price(v)
    top, target = wad(v["top"]), wad(v["target"])
    match v["kind"]:
        case "linear":
            found = linear_time(top, target, wad(v["tau"]))
        case "stair_exp" | "exp":
            found = stair_time(top, target, *step_of(v), WAD)
        case other:
            why = f"no curve is called {other}"
            raise Unsupported(why)
    return {"t": None if found < 0 else found / WAD}


def commit(v: Inputs) -> Found:
    """Answer ``commit_hash``."""
    return {"sha256": commitment(bytes.fromhex(v["salt_hex"]), v["payload"].encode()).hex()}


def shamir(v: Inputs) -> Found:
    """Answer ``shamir_reconstruct``."""
    at, value = (column(*(share[n] for share in v["shares"])) for n in range(2))
    return {"secret": reconstruct(at, value, int(v["prime"]))}


RULES: Rules = {
    "breakers_auctions.call_auction": call_auction,
    "breakers_auctions.dutch_price": price,
    "breakers_auctions.dutch_time_to": time_to,
    "breakers_auctions.commit_hash": commit,
    "breakers_auctions.shamir_reconstruct": shamir,
}
