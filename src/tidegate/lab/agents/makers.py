"""Market makers who widen in a storm, leave in a worse one, and come back when it is over.

They act on the depth that others see. What the weather shows is taken first; makers show a share of
that, and two populations of them share again: shares multiply, in any order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tidegate.domain.events import Input
from tidegate.domain.units import I64, Nanos
from tidegate.lab.agents.bystander import Bystander
from tidegate.lab.agents.columns import choices, lognormal, price_now, uniform
from tidegate.lab.weather import F64


QUIET: Final = 0.002  # move of one step from which on a maker shows less


@dataclass(slots=True, kw_only=True)
class Makers(Bystander):
    """``count`` makers of one instrument who together show its whole depth.

    Each leaves when the price has moved by more than its tolerance within ``window`` steps, and
    returns after as many steps as its patience without such a move. Who stays shows less the larger
    the last step's move was: half of it at twice `QUIET`.
    """

    count: int = 50
    instrument: int = 0
    tolerance: tuple[float, float] = (0.01, 0.08)
    patience: int = 20
    window: int = 6
    share: float = field(init=False, default=1.0)  # of the weather's depth, now
    _size: F64 = field(init=False)
    _tolerance: F64 = field(init=False)
    _patience: I64 = field(init=False)
    _away: I64 = field(init=False)  # steps until each returns
    _prices: list[float] = field(init=False)

    def gather(self) -> Iterator[Input]:
        """Draw sizes, tolerances and patience."""
        streams, n = self.desk.streams, self.count
        self._size = lognormal(streams, self.stream("size"), n, 1.0, 1.0)
        self._tolerance = uniform(streams, self.stream("tolerance"), n, *self.tolerance)
        self._patience = 1 + choices(streams, self.stream("patience"), n, self.patience)
        self._away = np.zeros(n, np.int64)
        self._prices = [float(self.desk.state.mark[self.instrument])]
        yield from ()

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """Look at the last moves, and show what is still to be shown."""
        del step
        i = self.instrument
        self._prices = [*self._prices[-self.window :], price_now(self.desk, i, now)]
        path = np.log(np.array(self._prices))
        moved, last = float(np.ptp(path)), abs(float(path[-1] - path[-2]))
        self._away = np.where(
            moved > self._tolerance, self._patience, np.maximum(self._away - 1, 0)
        )
        staying = float(self._size[self._away == 0].sum() / self._size.sum())
        self.share = staying / (1.0 + max(0.0, last / QUIET - 1.0))
        self.desk.market.show(i, self.desk.market.shown(i) * self.share)
        yield from ()
