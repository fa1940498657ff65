"""A spot oracle by weighted median and an irregular moving average, as documented."""

from typing import Final

from tidegate.conformance.adapter import Found, Inputs, Rule
from tidegate.conformance.decimals import fixed, plain
from tidegate.safeguards.oracle import weighted_median
from tidegate.signals.averages import irregular_average


PEERS: Final = ("docs",)


def median(of: Inputs) -> Found:
    """Return the least price at which half of the weight has voted."""
    return {"oracle": plain(weighted_median([(fixed(p), int(w)) for p, w in of["price_weight"]]))}


def ema(of: Inputs) -> Found:
    """Return the average after each sample."""
    return {"ema": irregular_average(of["samples_dt_value"], of["tau_s"])}


RULES: Final[dict[str, Rule]] = {
    "oracle_guard.weighted_median": median,
    "oracle_guard.ema_150s": ema,
}
