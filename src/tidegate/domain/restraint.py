"""What holds trading back at a moment: bands, pauses, flags, and the prices behind them."""

from typing import Final, NamedTuple, Self

import numpy as np

from tidegate.domain.units import I64


CELLS: Final = 64  # of a rolling window
DELAYS: Final = 24  # averaged prices behind a stable price
FINE: Final = 1_024  # of a tick, the unit of stable prices

# Windows of prices: behind the reference, behind the rolling band, behind the velocity.
REFERENCE: Final = 0
ROLLING: Final = 1
VELOCITY: Final = 2
RINGS: Final = 3

# Actions that can be paused by themselves, per instrument.
ACTIONS: Final = ("open", "close", "withdraw", "deposit", "liquidate", "deleverage", "borrow")

# Cells of the column `market`.
LEVEL: Final = 0  # market-wide levels already reached in this window
ANCHOR: Final = 1  # Ticks of the watched instrument when the window began
ANCHORED_AT: Final = 2
PAUSED_UNTIL: Final = 3
RUNG_SINCE: Final = 4  # when the ladder came to its rung
CEILING: Final = 5  # the rung it may not climb beyond ...
CEILING_UNTIL: Final = 6  # ... until then
MARKET_CELLS: Final = 7


class Restraint(NamedTuple):
    """One cell per instrument unless said otherwise; all zero: nothing holds anything back."""

    reference: I64  # Ticks, middle of the band; 0: none yet
    reference_at: I64
    low: I64  # Ticks, the band's ends; 0: no band
    high: I64
    phase: I64  # 0 normal, 1 at the band, 2 paused
    since: I64  # of the phase
    until: I64  # end of a pause
    ring_at: I64  # [instruments, RINGS, CELLS] when each cell began
    ring_low: I64
    ring_high: I64
    ring_total: I64
    ring_seen: I64  # 0: an empty cell
    pause: I64  # [(instruments + 1) * ACTIONS] 1: paused by a dated change; the last row is cash
    stable: I64  # [instruments, 5] see `kernels.stable_price.stable_step`; prices in 1/FINE ticks
    delays: I64  # [instruments, DELAYS]
    market: I64  # [MARKET_CELLS]

    @classmethod
    def empty(cls, instruments: int) -> Self:
        """Return what holds nothing back."""
        ring = (instruments, RINGS, CELLS)
        shapes: dict[str, tuple[int, ...]] = {
            "pause": ((instruments + 1) * len(ACTIONS),),
            "stable": (instruments, 5),
            "delays": (instruments, DELAYS),
            "market": (MARKET_CELLS,),
        }
        return cls(
            *(
                np.zeros(ring if n.startswith("ring") else shapes.get(n, (instruments,)), np.int64)
                for n in cls._fields
            )
        )

    def stirred(self) -> bool:
        """Return whether anything here was ever written: an untouched one decides nothing."""
        return any(bool(column.any()) for column in self)

    def flagged(self, instrument: int, action: str) -> bool:
        """Return whether ``action`` is paused in ``instrument`` by a dated change."""
        return bool(self.pause[pause_row(instrument, action)])


def pause_row(instrument: int, action: str) -> int:
    """Return the cell of the column `pause`; the instrument -1 is cash, counted from the end."""
    return instrument * len(ACTIONS) + ACTIONS.index(action)
