"""What pacing writes: releases, schedules, seeds and cut stages."""

from typing import Final

import numpy as np

from tidegate.domain.effects import (
    CutDropped,
    Decision,
    LotsReleased,
    ScheduleKept,
    SeedKept,
    SliceTaken,
    StageCut,
)
from tidegate.domain.pace import SEED_BYTES
from tidegate.domain.units import unpack
from tidegate.engine.state import State
from tidegate.kernels.slices import cut_rows, take_rows
from tidegate.kernels.window import log_release


PACING: Final = (LotsReleased, ScheduleKept, SeedKept, StageCut, SliceTaken, CutDropped)


def keep_pace(state: State, effect: Decision) -> None:
    """Apply one effect of `PACING`."""
    p = state.pace
    match effect:
        case LotsReleased(instrument=i, side=side):
            log_release(p.log_at[i, side], p.log_lots[i, side], effect.at, effect.lots, effect.keep)
        case ScheduleKept(instrument=i, side=side):
            slices = unpack(effect.slices)
            p.plan_lots[i, side] = 0
            p.plan_lots[i, side, : slices.size] = slices
            p.plan_count[i, side], p.plan_at[i, side] = slices.size, effect.at
            p.plan_interval[i, side], p.plan_regime[i, side] = effect.interval, effect.regime
        case SeedKept():
            p.seed[:SEED_BYTES] = np.frombuffer(effect.seed, np.uint8)
            p.seed[SEED_BYTES] = 1
        case StageCut():
            account, instrument = unpack(effect.account), unpack(effect.instrument)
            lots, secret = unpack(effect.lots), unpack(effect.secret)
            done = cut_rows(state.book, p, account, instrument, lots, secret, effect.at)
            assert done == account.size, "a stage of no position was cut"
        case SliceTaken():
            account, instrument = unpack(effect.account), unpack(effect.instrument)
            done = take_rows(state.book, p, account, instrument, unpack(effect.lots))
            assert done == account.size, "a slice of no position was taken"
        case CutDropped():
            p.cut_at[unpack(effect.account)] = -1
        case _:
            raise AssertionError(effect)
