"""Small venues in trouble, for tests of paths: prices that jump, and a market that gives way."""

import msgspec
import numpy as np

from tidegate.lab.bench.path_world import guarded, populated, venue_of
from tidegate.lab.path_model import Law
from tidegate.safeguards.planner import Level
from tidegate.safeguards.stack import Stack
from tidegate.safeguards.waterfall import Tranche


UNIT = 1_000_000


def stack_of(accounts=60, markets=3, fund=100 * UNIT, planner=None, breaker=None, **waterfall):
    """Return the guarded stack of the benchmarks with some of its numbers changed."""
    declared = guarded(fund)
    for table, changes in (
        ("planner", planner or {}),
        ("breaker", breaker or {}),
        ("waterfall", waterfall),
    ):
        changed = msgspec.structs.replace(getattr(declared, table), **changes)
        declared = msgspec.structs.replace(declared, **{table: changed})
    return Stack.bind(declared, venue_of(accounts, markets))


def laws_of(price, worth=30_000 * UNIT, **changes):
    """Return laws by which ``worth`` sold at once moves a price by 1 %."""
    chosen = {"move": 10_000, "most": 50_000, "keep": 900_000} | changes
    return [Law(depth=max(1, worth // (int(p) * 10)), **chosen) for p in price]


def trouble(price, steps=30, seed=0, deviation=0.006):
    """Return prices of one path: noise, a crash of all markets, and a squeeze later on."""
    r = np.random.default_rng(seed).normal(0, deviation, (steps, len(price)))
    r[steps // 4] -= 0.08
    r[2 * steps // 3] += 0.12
    return np.maximum(1, (price * np.exp(np.cumsum(r, axis=0))).astype(np.int64))


TWO = (
    Tranche(name="first", initial=20 * UNIT, exhaustion=50 * UNIT),
    Tranche(name="second", initial=60 * UNIT, attachment=50 * UNIT),
)
# Every configuration in which kernel and engine must coincide, with what must occur in it.
COINCIDING = {
    "throttle, breaker, fund and queue": ({}, ()),
    "pro rata, everybody pays": (
        {"deleverage": "pro_rata", "fund_pays_first": False, "socialise": "equity"},
        ("socialised",),
    ),
    "at once, in part, with a haircut": (
        {
            "deleverage_when": "bankrupt",
            "close_share": 600_000,
            "haircut": 700_000,
            "score": "profit",
        },
        (),
    ),
    "two tranches, by size, oldest first": (
        {
            "tranches": TWO,
            "score": "size",
            "fund_share": 500_000,
            "planner": {"priority": "oldest", "netting": False, "in_flight_max": 2_000 * UNIT},
        },
        (),
    ),
    "no throttle, levels, savable first": (
        {
            "deleverage": "none",
            "planner": {
                "depth_share": 0,
                "target": 0,
                "priority": "savable",
                "levels": (Level(below=500_000, fraction=1_000_000),),
                "whole_below": 5_000 * UNIT,
                "first_stage": 200_000,
            },
        },
        ("bad_debt",),
    ),
}
WITHOUT_DELEVERAGING = ("no throttle, levels, savable first",)


def coinciding(name, seed=0, accounts=60):
    """Return (state, stack, laws, prices) of one configuration."""
    changes, _ = COINCIDING[name]
    stack = stack_of(accounts, **changes)
    state, price = populated(stack, accounts, near=0.03)
    return state, stack, laws_of(price), trouble(price, seed=seed)
