"""Shadow mode: a venue that sends nothing, and the switch between advising, armed and halted.

The engine beside it decides as it always does. What it would have ordered stays in the journal as
an order that expired with a reason, and can be held against what the venue itself did (`compared`).
"""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.events import Input, OrdersExpired
from tidegate.domain.units import I64, Nanos, pack
from tidegate.ports import Venue


ARMED, ADVISING, HALTED = "armed", "advising", "halted"
MODES: Final = (ARMED, ADVISING, HALTED)
SHIFT: Final = 20  # of order ids, as in `engine.state`: the record that placed them lies above


class Advising:
    """A `Venue` that lets every order expire, ``hold_ns`` after it was handed over.

    Held for no time, an order is placed anew with the next price: the engine still sees the account
    as it was. A longer hold writes fewer records and says the same. Ids only grow, so the highest
    one seen says which were answered; a new process is told of those in flight again, oldest first,
    and answers them again.
    """

    def __init__(self, *, reason: str = ADVISING, hold_ns: int = 0) -> None:
        assert hold_ns >= 0
        self.reason = reason
        self._hold_ns = hold_ns
        self._seen = -1
        self._waiting: deque[tuple[int, I64]] = deque()  # when it expires, order ids

    def submit(self, now: Nanos, orders: OrdersPlaced) -> None:
        """Take a batch and send it nowhere; ids seen before are ignored."""
        n = len(orders.lots) // 8
        ids = np.arange(max(orders.first, self._seen + 1), orders.first + n, dtype=np.int64)
        if ids.size:
            self._seen = int(ids[-1])
            self._waiting.append((now + self._hold_ns, ids))

    def poll(self, now: Nanos) -> Sequence[Input]:
        """Return that the orders handed over long enough ago have expired."""
        news: list[Input] = []
        while self._waiting and (not self._hold_ns or self._waiting[0][0] <= now):
            at, ids = self._waiting.popleft()
            news.append(OrdersExpired(ts=Nanos(min(at, now)), order=pack(ids), reason=self.reason))
        return news


class Switch:
    """A `Venue` in front of another one: armed it passes orders on, else it lets them expire.

    Which orders reached the venue must be known after a crash, too. It follows from the journal:
    ``turns`` are (record, mode), and an order placed by record n went where the last turn before n
    says. So one that was sent is asked about again even when the engine is halted by now, and one
    that was held back is never sent afterwards.

    Parameters
    ----------
    venue
        What is behind it. It is polled in every mode: orders that have left are still answered.
    mode
        In force before the first turn.
    turns
        What the journal says, oldest first; given before the crank starts.
    hold_ns
        See `Advising`.
    """

    def __init__(
        self,
        venue: Venue,
        *,
        mode: str = ADVISING,
        turns: Iterable[tuple[int, str]] = (),
        hold_ns: int = 0,
    ) -> None:
        assert mode in MODES
        self._venue = venue
        self._held = {m: Advising(reason=m, hold_ns=hold_ns) for m in (ADVISING, HALTED)}
        self._stopping = Advising(reason=HALTED)  # see `stop`
        self._turns: list[tuple[int, str]] = [(-1, mode)]
        self._stopped = threading.Event()  # by whoever cannot wait for the journal
        for seq, to in turns:
            self.turn(seq, to)

    @property
    def mode(self) -> str:
        """What becomes of the next order."""
        return HALTED if self._stopped.is_set() else self._turns[-1][1]

    def stop(self) -> None:
        """Hold every order back from now on, until the journal says otherwise: see `turn`.

        What is held back until then expires at once: were it still in flight when the record of the
        stop comes, a new process would take it for one that was sent.
        """
        self._stopped.set()

    def turn(self, seq: int, mode: str) -> None:
        """Take what record ``seq`` has made of the mode; orders of later records follow it."""
        assert mode in MODES
        assert seq >= self._turns[-1][0], "turns come in the order of the journal"
        self._turns.append((seq, mode))
        self._stopped.clear()

    def submit(self, now: Nanos, orders: OrdersPlaced) -> None:
        """Pass a batch on, or hold it back."""
        placed = orders.first >> SHIFT
        mode = next(m for at, m in reversed(self._turns) if at < placed or at < 0)
        held = self._held.get(mode)
        if placed > self._turns[-1][0] and self._stopped.is_set():
            held = self._stopping
        (held or self._venue).submit(now, orders)

    def poll(self, now: Nanos) -> Sequence[Input]:
        """Return what the venue has answered, and the ends of what was held back."""
        news = [*self._venue.poll(now)]
        for held in (*self._held.values(), self._stopping):
            news += held.poll(now)
        return sorted(news, key=lambda event: event.ts)
