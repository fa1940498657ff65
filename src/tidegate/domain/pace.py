"""What pacing remembers: what was released lately, the schedule in force, and stages cut up."""

from typing import Final, NamedTuple, Self

import numpy as np

from tidegate.domain.units import I64


LOG_CELLS: Final = 64  # moments of release that are told apart, per instrument and side
SLICES_MAX: Final = 64  # of one schedule
SEED_BYTES: Final = 32

NO_SCHEDULE, ANY_SPEED, CONSTRAINED, INFEASIBLE = 0, 1, 2, 3
REGIMES: Final = ("none", "any", "constrained", "infeasible")

SELLS, BUYS = 0, 1  # the sides, as everywhere: forced sales come first


class Pace(NamedTuple):
    """[instruments, 2] cells unless said otherwise; as it begins, nothing is paced."""

    log_at: I64  # [instruments, 2, LOG_CELLS] Nanos of a release
    log_lots: I64  # [instruments, 2, LOG_CELLS] 0: an empty cell
    plan_lots: I64  # [instruments, 2, SLICES_MAX]
    plan_count: I64  # slices of the schedule
    plan_at: I64  # when it began
    plan_interval: I64  # between two slices
    plan_regime: I64  # index into `REGIMES`
    seed: I64  # [SEED_BYTES + 1] one byte a cell, then 1 once a seed was drawn
    cut_at: I64  # [accounts_max] when the account's stage was cut up; -1: it is not
    cut_secret: I64  # [accounts_max] what that stage's sizes and times are drawn from
    cut_stage: I64  # [positions_max] when the stage that this row belongs to was cut up; -1: never
    cut_owner: I64  # [positions_max] account of that stage
    cut_lots: I64  # [positions_max] signed trade of the whole stage
    cut_done: I64  # [positions_max] of it, what was netted or ordered

    @classmethod
    def empty(cls, instruments: int, accounts: int, positions: int) -> Self:
        """Return a memory without content for fixed capacities."""
        both = (instruments, 2)
        shapes: dict[str, tuple[int, ...]] = {
            "log_at": (*both, LOG_CELLS),
            "log_lots": (*both, LOG_CELLS),
            "plan_lots": (*both, SLICES_MAX),
            "seed": (SEED_BYTES + 1,),
            "cut_at": (accounts,),
            "cut_secret": (accounts,),
            "cut_stage": (positions,),
            "cut_owner": (positions,),
            "cut_lots": (positions,),
            "cut_done": (positions,),
        }
        made = cls(*(np.zeros(shapes.get(name, both), np.int64) for name in cls._fields))
        made.cut_at[:] = -1
        made.cut_stage[:] = -1
        return made

    def used(self) -> tuple[str, ...]:
        """Return the columns that hold anything: others do not decide the future."""
        groups = {
            "log": self.log_lots.any(),
            "plan": self.plan_regime.any(),
            "seed": self.seed.any(),
            "cut": (self.cut_stage >= 0).any(),
        }
        return tuple(name for name in self._fields if groups[name.split("_")[0]])
