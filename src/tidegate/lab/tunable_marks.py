"""Which parameters of a stack are marked tunable, and the range that a search may try.

A mark is a key with ``*`` for any part, as `tunable.parameters` writes keys. It takes effect for a
parameter whose present value lies within the range: a safeguard that is off, or a threshold that
never trips, stays so, because switching one on is a decision and no tuning. Ranges are judgement:
wide enough to contain every shipped stack, narrow enough that both ends can be run by a venue.

Sizes of funds are not marked. More capital always looks better where capital costs nothing; how
much is needed is answered by `sizing`. They can still be named with a range of their own.
"""

from typing import Final, NamedTuple


SECOND: Final = 1_000_000_000


class Mark(NamedTuple):
    """A pattern of keys and the range within which values are tried; ``log``: by ratios."""

    pattern: str
    low: int
    high: int
    log: bool = False


SCALE: Final = "margin.scale"  # every tier's rates times this, in ppm

MARKS: Final = (
    Mark(SCALE, 600_000, 2_000_000),
    Mark("oracle.outlier_max", 5_000, 200_000, log=True),
    Mark("oracle.step_max", 5_000, 200_000, log=True),
    Mark("oracle.divergence_max", 5_000, 200_000, log=True),
    Mark("oracle.smoothing_ns", SECOND, 300 * SECOND, log=True),
    Mark("margin.instruments.*.penalty", 500, 50_000, log=True),
    Mark("margin.volatility.cover", 1_000_000, 10_000_000),
    Mark("breaker.hysteresis", 300_000, 950_000),
    Mark("breaker.cooldown_ns", 5 * SECOND, 600 * SECOND, log=True),
    Mark("breaker.reserved", 10_000, 500_000),
    Mark("breaker.steps.*.deviations", 2_000_000, 40_000_000, log=True),
    Mark("breaker.steps.*.distressed", 2_000, 500_000, log=True),
    Mark("breaker.steps.*.branching", 100_000, 10_000_000, log=True),
    Mark("breaker.steps.*.drawdown", 50_000, 900_000),
    Mark("breaker.steps.*.initial_scale", 1_000_001, 4_000_000),
    Mark("breaker.steps.*.pace", 50_000, 1_000_000),
    Mark("breaker.steps.*.band", 5_000, 200_000, log=True),
    Mark("planner.close_fraction", 50_000, 1_000_000),
    Mark("planner.target", 1_000_001, 2_000_000),
    Mark("planner.interval_ns", SECOND // 10, 60 * SECOND, log=True),
    Mark("planner.first_stage", 50_000, 999_999),
    Mark("planner.depth_share", 50_000, 3_000_000, log=True),
    Mark("planner.depth_reach", 2_000, 100_000, log=True),
    Mark("planner.window_ns", SECOND, 60 * SECOND, log=True),
    Mark("route.spread", 100_000, 5_000_000, log=True),
    Mark("route.adjustment", 1_000_000, 10_000_000, log=True),
    Mark("waterfall.fund_share", 10_000, 1_000_000, log=True),
    Mark("waterfall.close_share", 50_000, 999_999),
    Mark("waterfall.haircut", 100_000, 999_999),
)
