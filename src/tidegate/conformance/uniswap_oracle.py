"""Mean tick and harmonic liquidity of a Uniswap v3 pool's accumulators."""

from typing import Final

from tidegate.conformance.adapter import Found, Inputs, Rule
from tidegate.domain.units import unbounded
from tidegate.kernels import aggregate


PEERS: Final = ("uniswap",)
SECONDS_BITS: Final = 160  # of the seconds per liquidity, 32 of them behind the point
SHIFT: Final = 32

_mean_tick = unbounded(aggregate.mean_tick)
_harmonic = unbounded(aggregate.harmonic_liquidity)


def consult(of: Inputs) -> Found:
    """Return what the pool's own average says over a period; a period of nothing is refused."""
    period = int(of["period"])
    if period == 0:
        return {"revert": "BP"}
    before, after = (int(n) for n in of["tick_cumulatives"])
    found: dict[str, object] = {"tick": _mean_tick(before, after, period)}
    first, last = (int(n) for n in of.get("spl", (0, 0)))
    if first != last:
        found["harmonic_liquidity"] = _harmonic(first, last, period, 1 << SECONDS_BITS, SHIFT)
    return found


RULES: Final[dict[str, Rule]] = {"oracles.uni_consult": consult}
