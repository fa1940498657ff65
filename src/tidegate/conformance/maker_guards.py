"""Maker's delayed price, median, breaker levels and automatic debt ceiling."""

from typing import Any, Final

from tidegate.conformance.adapter import RAY, Found, Inputs, Rule, Unsupported, column
from tidegate.domain.units import unbounded
from tidegate.kernels import aggregate


PEERS: Final = ("maker",)
STOPS: Final = {"kick": 1, "redo": 2, "take": 3}  # the level that stops each part of an auction

_delayed_step = unbounded(aggregate.delayed_step)
_sorted_median = unbounded(aggregate.sorted_median)
_drop_trips = unbounded(aggregate.drop_trips)
_line_after = unbounded(aggregate.line_after)
_permitted = unbounded(aggregate.permitted)


def osm(of: Inputs) -> Found:
    """Return each operation's outcome; a poke that does not pass changes nothing."""
    current, waiting, since, said = (int(of[name]) for name in ("cur", "nxt", "zzz", "src"))
    hop, stopped = int(of["hop"]), False
    results: list[Any] = []
    for op in of["ops"]:
        found: dict[str, Any] = {}
        match op["op"]:
            case "src":
                said = int(op["value"])
            case "void":
                current, waiting, stopped = 0, 0, True
                found = {"cur": 0, "nxt": 0, "stopped": True}
            case "stop" | "start":
                stopped = op["op"] == "stop"
                found = {"stopped": stopped}
            case "poke":
                moved, *after = _delayed_step(current, waiting, said, since, int(op["t"]), hop)
                if moved and not stopped:
                    current, waiting, since = after
                    found = {"cur": current, "nxt": waiting, "zzz": since}
                else:
                    found = {"revert": "not-passed"}
            case other:
                why = f"an operation {other!r}"
                raise Unsupported(why)
        results.append(found)
    return {"results": results}


def median(of: Inputs) -> Found:
    """Return the middle of a full, odd and ascending quorum."""
    value = _sorted_median(column(*of["values"]), int(of["bar"]))
    return {"median": value or None}


def trip_breaker(of: Inputs) -> Found:
    """Return whether anybody may stop the auctions, because the next price has fallen too far."""
    names = ("cur", "next", "tolerance", "stopped", "now", "locked_until")
    current, waiting, tolerance, level, now, locked = (int(of[name]) for name in names)
    after = _drop_trips(current, waiting, tolerance, RAY, level, now, locked)
    return {"trips": after != level, "stopped": after}


def autoline(of: Inputs) -> Found:
    """Return the debt ceiling after each call: once a block, up only once in ``ttl``."""
    line, raised, block = int(of["line0"]), 0, 0
    lines: list[int] = []
    for step in of["steps"]:
        if step["block"] != block:
            due = int(step["t"] >= raised + of["ttl"])
            after = _line_after(line, int(step["debt"]), int(of["gap"]), int(of["max_line"]), due)
            if after != line:
                block, raised = step["block"], step["t"] if after > line else raised
            line = after
        lines.append(line)
    return {"line": lines}


def breaker_levels(of: Inputs) -> Found:
    """Return which parts of an auction go on at a level of the breaker."""
    level = int(of["level"])
    return {part: bool(_permitted(level, stop - 1)) for part, stop in STOPS.items()}


RULES: Final[dict[str, Rule]] = {
    "maker_mom.osm": osm,
    "maker_mom.median": median,
    "maker_mom.trip_breaker": trip_breaker,
    "maker_mom.autoline": autoline,
    "maker_clip.breaker_levels": breaker_levels,
}
