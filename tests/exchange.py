"""An exchange whose memory is a file: it outlives the engine beside it, and forgets nothing.

Every order it accepts is one line, fsynced before `submit` returns. What becomes of an order is a
function of its id and of when it was accepted, so that two runs can be compared order by order.
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tidegate.domain.events import OrdersExpired, OrdersFilled
from tidegate.domain.units import pack, unpack


LATENCY = 300_000_000
FAIR = 800_000  # ticks: nobody here asks for less, or pays more, than that or the order's limit


class Answer(NamedTuple):
    """What is said about one order: lots filled, or 0 for the end of the rest."""

    due: int
    lots: int


class Line(NamedTuple):
    """One accepted order, and one line of the log."""

    order: int
    account: int
    instrument: int
    lots: int
    limit: int
    accepted: int

    @property
    def price(self) -> int:
        """Return what every fill of this order costs, never worse than its limit."""
        return max(self.limit, FAIR) if self.lots < 0 else min(self.limit, FAIR)

    def answers(self) -> list[Answer]:
        """Return what will be said: filled at once, in two parts, in part, or refused."""
        first, second, third = (self.accepted + k * LATENCY for k in (1, 2, 3))
        half = self.lots // 2 if self.lots > 0 else -(-self.lots // 2)
        match ((self.order >> 20) * 31 + self.order) % 4:
            case 0:
                return [Answer(first, self.lots)]
            case 1 if half:
                return [Answer(first, half), Answer(second, self.lots - half)]
            case 2 if half:
                return [Answer(first, half), Answer(third, 0)]
            case _:
                return [Answer(second, 0)]


def accepted(path: Path) -> list[Line]:
    """Return every order the exchange has accepted, in the order in which they came."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Line(*json.loads(line)) for line in lines]


class FileVenue:
    """A `Venue` over a log of accepted orders; a new object is a new connection to it.

    ``between`` is called before each order of a batch is written, and once after the last.
    """

    def __init__(self, path: Path, between: Callable[[], object] = lambda: None) -> None:
        self.path = path
        self._between = between
        self._lines = {line.order: line for line in accepted(path)}
        self._told: dict[int, int] = {}  # open order: how many of its answers were told here
        self._log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def submit(self, now, orders):
        """Accept what is new; of what is known, tell again what the caller has not heard."""
        columns = (orders.account, orders.instrument, orders.lots, orders.limit)
        rows = zip(*(unpack(c).tolist() for c in columns), strict=True)
        for order, row in enumerate(rows, start=orders.first):
            self._between()
            if order not in self._lines:
                line = Line(order, *row, now)
                os.write(self._log, json.dumps(line).encode() + b"\n")
                self._lines[order] = line
            self._told[order] = self._heard(self._lines[order], still_open=row[2])
        os.fsync(self._log)
        self._between()

    @staticmethod
    def _heard(line: Line, still_open: int) -> int:
        """Return after how many answers exactly these lots are open."""
        left, told = line.lots, 0
        for answer in line.answers():
            if abs(left) <= abs(still_open):
                break
            left -= answer.lots
            told += 1
        return told

    def poll(self, now):
        """Return what is due and was not told yet, in order of time."""
        fills, ends = defaultdict(list), defaultdict(list)
        for order in sorted(self._told):
            line = self._lines[order]
            answers = line.answers()
            while self._told[order] < len(answers) and answers[self._told[order]].due <= now:
                due, lots = answers[self._told[order]]
                (fills if lots else ends)[due].append((order, lots, line.price))
                self._told[order] += 1
            if self._told[order] == len(answers):
                del self._told[order]
        news = []
        for due in sorted({*fills, *ends}):
            if due in fills:
                order, lots, price = (pack(np.array(c)) for c in zip(*fills[due], strict=True))
                news.append(OrdersFilled(ts=due, order=order, lots=lots, price=price))
            if due in ends:
                order = pack(np.array([row[0] for row in ends[due]]))
                news.append(OrdersExpired(ts=due, order=order, reason="gone"))
        return news

    def close(self):
        os.close(self._log)
