"""What a read may look at on the crank's thread: the state, and its accounts by name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from tidegate.domain.auctions import auction_slot
from tidegate.domain.book import FIRST_USER
from tidegate.domain.orders import order_slot
from tidegate.engine.state import State
from tidegate.ports import Record
from tidegate.safeguards.stack import Stack


class Names:
    """Accounts by name and by row, always as fresh as the state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._rows: dict[str, int] = {}
        self._known = 0  # names that are in `_rows`

    def of(self, state: State) -> bool:
        """Return whether these are the names of ``state``."""
        return self._state is state

    @property
    def all(self) -> list[str]:
        """Names of the users' accounts, in the order of their rows from `FIRST_USER` on."""
        return self._state.names

    def row(self, name: str) -> int:
        """Return the row of an account; -1 for none."""
        names, rows = self._state.names, self._rows
        while self._known < len(names):
            # The door opens a name once; a journal of another hand may hold it twice.
            rows.setdefault(names[self._known], self._known + FIRST_USER)
            self._known += 1
        return rows.get(name, -1)

    def name(self, row: int) -> str:
        """Return the name of a user's account; raise IndexError for the system's rows."""
        if row < FIRST_USER:
            raise IndexError(row)
        return self._state.names[row - FIRST_USER]

    def ordered_in(self, order: int) -> int:
        """Return the instrument of an order in flight; -1 for none."""
        orders, book = self._state.orders, self._state.book
        slot = int(order_slot(orders, order))
        return -1 if slot < 0 else int(book.instrument[orders.row[slot]])

    def sold_in(self, auction: int) -> int:
        """Return the instrument of an open auction; -1 for none."""
        auctions, book = self._state.auctions, self._state.book
        slot = int(auction_slot(auctions, auction)) if auctions.key.size else -1
        return -1 if slot < 0 else int(book.instrument[auctions.row[slot]])


class Reading(NamedTuple):
    """What a read may look at, on the crank's thread; nothing of it may be kept or written."""

    state: State
    stack: Stack
    names: Names
    head: int  # last durable record
    mode: str
    epoch: int
    leader: bool
    waiting: int  # events in the queue


Listener: TypeAlias = Callable[[Sequence[Record], Reading], None]
