"""How far a risk steward may move a parameter in one step."""

from typing import Final

from tidegate.conformance.adapter import Found, Inputs, Rule
from tidegate.domain.units import unbounded
from tidegate.kernels import aggregate


PEERS: Final = ("chaos",)
BPS: Final = 10_000

_within_step = unbounded(aggregate.within_step)


def range_steward(of: Inputs) -> Found:
    """Return whether each change lies within its absolute or relative range."""
    valid: list[bool] = []
    for case in of["cases"]:
        value, wanted = int(case["from"]), int(case["to"])
        side = "inc" if wanted >= value else "dec"
        most, relative = int(case[f"max_{side}"]), int(case[f"{side}_rel"])
        valid.append(bool(_within_step(value, wanted, most, relative, BPS)))
    return {"valid": valid}


RULES: Final[dict[str, Rule]] = {"oracles.range_steward": range_steward}
