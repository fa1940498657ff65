"""A venue that fetches its orders: they wait in the state, are told over the API, and are answered.

Nothing is sent from here. Whoever executes reads orders from the stream or the list, and tells
fills and expiries as events; so a submitted order needs no memory but the engine's own, and
submitting it again after a crash changes nothing.
"""

from collections.abc import Sequence

from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.events import Input
from tidegate.domain.units import Nanos


class Outbox:
    """A `ports.Venue` whose answers come through the door like everything else."""

    mode = "armed"

    def submit(self, now: Nanos, orders: OrdersPlaced) -> None:
        """Do nothing: the orders are in the journal, and leave with its record."""
        del now, orders

    def poll(self, now: Nanos) -> Sequence[Input]:
        """Return nothing; see the class."""
        del now
        return ()
