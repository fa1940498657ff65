"""Maker: price curves, takes, resets, and how much of a vault goes up for auction."""

from collections.abc import Callable
from typing import Any, Final

from tidegate.conformance.adapter import RAY, WAD, Found, Inputs, Rules
from tidegate.domain.units import unbounded
from tidegate.kernels import auction, curves


PEERS = ("maker",)

linear = unbounded(curves.linear)
stair = unbounded(curves.stair)
stair_error = unbounded(curves.stair_error)
stair_error_max = unbounded(curves.stair_error_max)
put_up = unbounded(auction.put_up)
owed = unbounded(auction.owed)
room = unbounded(auction.room)
seized = unbounded(auction.seized)
start_price = unbounded(auction.start_price)
incentive = unbounded(auction.incentive)
incentive_due = unbounded(auction.incentive_due)
stale = unbounded(auction.stale)
taken = unbounded(auction.taken)
raised = unbounded(auction.raised)
outbids = unbounded(auction.outbids)
undercuts = unbounded(auction.undercuts)

KICK, REDO, TAKE = 1, 2, 3  # the breaker's levels from which each is stopped
REFUSED: Final = {
    auction.NO_ROOM: "liquidation-limit-hit",
    auction.DUSTY: "dusty-auction-from-partial-liquidation",
}


def curve(calc: Inputs) -> Callable[[int, int], int]:
    """Return the price as a function of top and seconds."""
    match calc["type"]:
        case "linear":
            tau = int(calc["tau"])
            return lambda top, elapsed: linear(top, elapsed, tau, RAY)
        case "stair":
            step, cut = int(calc["step"]), int(calc["cut"])
            return lambda top, elapsed: stair(top, elapsed, step, cut, RAY)
        case _:
            cut = int(calc["cut"])
            return lambda top, elapsed: stair(top, elapsed, 1, cut, RAY)


def prices(v: Inputs) -> Found:
    """Answer ``abaci``."""
    price = curve(v["calc"])
    return {"price": [price(int(v["top"]), int(at)) for at in v["dur"]]}


def step_error(v: Inputs) -> Found:
    """Answer ``abaci_stair_ratio``: the bound of one step's rounding, unless a step exceeds it."""
    calc, top = v["calc"], int(v["top"])
    found = stair_error(top, int(calc["step"]), int(calc["cut"]), RAY, int(v["horizon"]))
    return {"max_step_error": max(stair_error_max(top, RAY), found)}


def kick(v: Inputs) -> Found:
    """Answer ``clip_kick``."""
    tip, chip, tab = (int(v[name]) for name in ("tip", "chip", "tab"))
    if int(v.get("stopped", 0)) >= KICK:
        return {"revert": "stopped-incorrect"}
    top = start_price(int(v["feed"]), int(v["buf"]), RAY)
    for name, number in (("tab", tab), ("lot", int(v.get("lot", 1))), ("top-price", top)):
        if number <= 0:
            return {"revert": f"zero-{name}"}
    return {"top": top, "coin": incentive(tip, chip, tab, WAD)}


class Clip:
    """One auction and its settings, as a sequence of operations changes them."""

    def __init__(self, v: Inputs) -> None:
        """Begin at second 0."""
        self.set = {"tip": 0, "chip": 0, "stopped": 0, **v}
        self.price_at = curve(v["calc"])
        self.tab, self.lot, self.top = int(v["tab"]), int(v["lot"]), int(v["top"])
        self.tic, self.dirt, self.live = 0, self.tab, True

    def of(self, name: str) -> int:
        """Return a setting."""
        return int(self.set[name])

    def status(self, now: int) -> tuple[bool, int]:
        """Return whether the auction needs a reset, and its price."""
        elapsed = now - self.tic
        price = self.price_at(self.top, elapsed)
        return stale(elapsed, self.of("tail"), price, self.top, self.of("cusp"), RAY), price

    def do(self, op: Inputs) -> Found:
        """Return what one operation answers."""
        match op["op"]:
            case "set":
                self.set |= {name: value for name, value in op.items() if name != "op"}
                return {}
            case "status":
                redo, price = self.status(int(op["t"]))
                return {"needs_redo": redo, "price": price, "lot": self.lot, "tab": self.tab}
            case "redo":
                return self.redo(int(op["t"]))
            case "yank":
                return self.yank()
            case _:
                return self.take(op)

    def redo(self, now: int) -> Found:
        """Begin anew at the oracle's price."""
        if self.of("stopped") >= REDO:
            return {"revert": "stopped-incorrect"}
        if not self.live:
            return {"revert": "not-running-auction"}
        if not self.status(now)[0]:
            return {"revert": "cannot-reset"}
        self.tic, feed = now, self.of("feed")
        self.top = start_price(feed, self.of("buf"), RAY)
        if self.top <= 0:
            return {"revert": "zero-top-price"}
        paid = incentive_due(self.tab, self.lot, feed, self.of("chost"))
        coin = incentive(self.of("tip"), self.of("chip"), self.tab, WAD) if paid else 0
        return {"top": self.top, "tic": self.tic, "coin": coin}

    def yank(self) -> Found:
        """Call the auction off: what is left of the lot is returned."""
        if not self.live:
            return {"revert": "not-running-auction"}
        returned, self.live = self.lot, False
        self.dirt -= self.tab
        self.lot = self.tab = 0
        return {"ended": True, "returned": returned, "dirt": self.dirt}

    def take(self, op: Inputs) -> Found:
        """Sell some of the lot."""
        if self.of("stopped") >= TAKE:
            return {"revert": "stopped-incorrect"}
        if not self.live:
            return {"revert": "not-running-auction"}
        redo, price = self.status(int(op["t"]))
        if redo:
            return {"revert": "needs-reset"}
        if int(op["max"]) < price:
            return {"revert": "too-expensive"}
        asked = (self.lot, self.tab, price, int(op["amt"]), self.of("chost"))
        part = taken(*asked)
        if part == auction.ALL_OR_NOTHING:
            return {"revert": "no-partial-purchase"}
        owe = raised(*asked)
        self.tab, self.lot = self.tab - owe, self.lot - part
        sold_out, done = self.lot == 0, self.tab == 0
        self.live = not (sold_out or done)
        self.dirt = 0 if sold_out else self.dirt - owe
        returned = self.lot if done and not sold_out else 0
        if not self.live:
            self.lot = self.tab = 0
        return {
            "price": price,
            "slice": part,
            "owe": owe,
            "tab": self.tab,
            "lot": self.lot,
            "ended": not self.live,
            "returned": returned,
            "dirt": self.dirt,
        }


def clip(v: Inputs) -> Found:
    """Answer ``clip``: an auction through a list of operations."""
    one = Clip(v)
    return {"results": [one.do(op) for op in v["ops"]]}


def bark(v: Inputs) -> Found:
    """Answer ``bark``: how much of an unsafe vault goes up for auction."""
    of: dict[str, int] = {name: int(value) for name, value in v.items()}
    ink, art, rate, chop = of["ink"], of["art"], of["rate"], of["chop"]
    if not of.get("live", 1):
        return {"revert": "not-live"}
    if not (of["spot"] > 0 and ink * of["spot"] < art * rate):
        return {"revert": "not-unsafe"}
    space = room(of["Hole"], of["Dirt"], of["hole"], of["dirt"])
    dart = put_up(art, rate, chop, space, of["dust"], WAD)
    if dart < 0:
        return {"revert": REFUSED[dart]}
    dink, tab = seized(ink, dart, art), owed(dart, rate, chop, WAD)
    if dink <= 0:
        return {"revert": "null-auction"}
    return {
        "dart": dart,
        "dink": dink,
        "tab": tab,
        "ink_left": ink - dink,
        "art_left": art - dart,
        "Dirt": of["Dirt"] + tab,
        "dirt": of["dirt"] + tab,
    }


def flip(v: Inputs) -> Found:
    """Answer ``flip_tend``: rising bids, then a shrinking lot."""
    beg, tab, bid, lot = (int(v[name]) for name in ("beg", "tab", "bid", "lot"))
    results: list[bool] = []
    for op in v["ops"]:
        if op["op"] == "tend":
            good = outbids(int(op["bid"]), bid, beg, tab, WAD)
            bid = int(op["bid"]) if good else bid
        else:
            good = bid == tab and undercuts(int(op["lot"]), lot, beg, WAD)
            lot = int(op["lot"]) if good else lot
        results.append(good)
    return {"results": results}


def flop(v: Inputs) -> Found:
    """Answer ``flop``: a shrinking lot; without any bid it grows and begins anew."""
    beg, pad, lot = (int(v[name]) for name in ("beg", "pad", "lot"))
    bid, results = False, list[Any]()
    for op in v["ops"]:
        if op["op"] == "dent":
            good = undercuts(int(op["lot"]), lot, beg, WAD)
            lot, bid = (int(op["lot"]), True) if good else (lot, bid)
            results.append(good)
        elif bid:
            results.append(False)
        else:
            lot = start_price(lot, pad, WAD)
            results.append(lot)
    return {"results": results}


RULES: Rules = {
    "maker_abaci.abaci": prices,
    "maker_abaci.abaci_stair_ratio": step_error,
    "maker_clip.clip_kick": kick,
    "maker_clip.clip": clip,
    "maker_dog.bark": bark,
    "maker_mom.flip_tend": flip,
    "maker_mom.flop": flop,
}
