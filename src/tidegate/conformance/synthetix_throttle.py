"""Synthetix v3: a liquidation capacity per rolling window, in base units and seconds."""

from tidegate.conformance.adapter import WAD, Found, Inputs, Rules, column
from tidegate.domain.units import unbounded
from tidegate.kernels import window


PEERS = ("synthetix",)


def _wad(number: float) -> int:
    return round(number * WAD)


def throttle(of: Inputs) -> Found:
    """Return the capacity of a window, and what each attempt to liquidate was given."""
    if "window_capacity" in of:
        capacity = _wad(of["window_capacity"])
    else:
        capacity = unbounded(window.fee_capacity)(
            _wad(of["maker_fee"]),
            _wad(of["taker_fee"]),
            _wad(of["skew_scale"]),
            _wad(of["multiplier"]),
            of["window_seconds"],
            WAD,
        )
    length, bypass = of.get("window_seconds", 0), _wad(of.get("max_liquidation_pd", 0))
    depth = _wad(of.get("skew_scale", 0))
    attempts = of["attempts"]
    at, lots = column(*(0 for _ in attempts)), column(*(0 for _ in attempts))
    liquidated: list[float] = []
    for n, attempt in enumerate(attempts):
        now, wanted = attempt["t"], _wad(attempt["size"])
        room = unbounded(window.window_room)(
            capacity,
            unbounded(window.used_since)(at, lots, now - length),
            unbounded(window.last_release)(at, lots),
            now,
            _wad(attempt.get("skew", 0)) if "skew" in attempt else depth,
            depth,
            bypass,
            WAD,
        )
        gone = unbounded(window.released)(wanted, room, capacity, attempt.get("endorsed", False))
        at[n], lots[n] = now, gone
        liquidated.append(gone / WAD)
    largest = max((_wad(a["size"]) for a in attempts), default=0)
    return {
        "window_capacity": capacity / WAD,
        "liquidated": liquidated,
        "windows": unbounded(window.windows_of)(largest, capacity),
    }


RULES: Rules = {"liquidation_throttle_window": throttle}
