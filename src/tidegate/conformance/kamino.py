"""Kamino: a bonus never above the equity left, a threshold that wears down, and a price check."""

from typing import Final

from tidegate.conformance.adapter import WAD, Found, Inputs, Rule, scaled
from tidegate.domain.units import unbounded
from tidegate.kernels.bonus import excess_bonus
from tidegate.kernels.ramp import apart, worn


PEERS: Final = ("kamino",)

BPS = 10_000
DAY = 86_400


def bonus(inputs: Inputs) -> Found:
    """Answer `kamino.kamino_bonus`."""
    found = unbounded(excess_bonus)(
        scaled(inputs["ltv"], WAD),
        scaled(inputs["max_ltv"], WAD),
        scaled(inputs["min_bonus"], WAD),
        scaled(inputs["max_bonus"], WAD),
        scaled(inputs["no_bf_ltv"], WAD),
        scaled(inputs["bad_debt_bonus"], WAD),
        WAD,
    )
    return {"bonus": found / WAD}


def deleverage(inputs: Inputs) -> Found:
    """Answer `kamino.kamino_delev`."""
    rate = int(inputs["thr_bps_day"]) * WAD // BPS
    return {"ltv_threshold": unbounded(worn)(WAD, rate, int(inputs["secs"]), DAY) / WAD}


def twap(inputs: Inputs) -> Found:
    """Answer `kamino.kamino_twap`."""
    tolerance = int(inputs["tol_bps"])
    return {
        "ok": [
            not unbounded(apart)(int(case["price"]), int(case["twap"]), tolerance, BPS)
            for case in inputs["cases"]
        ]
    }


RULES: Final[dict[str, Rule]] = {
    "kamino.kamino_bonus": bonus,
    "kamino.kamino_delev": deleverage,
    "kamino.kamino_twap": twap,
}
