"""What every venue must pass.

Inherit from a contract in a test module, say how to make one of yours, and let pytest collect the
subclass (its name begins with ``Test``). The assertions are the meaning of the promises in `ports`.
"""

from collections.abc import Sequence
from typing import ClassVar

from tidegate.domain.effects import OrdersPlaced
from tidegate.domain.events import Input, OrdersExpired, OrdersFilled
from tidegate.domain.units import SECOND, Nanos, unpack
from tidegate.ports import Venue


class VenueContract:
    """What every `Venue` promises to an engine that is never told when it was not listened to."""

    begin: ClassVar[Nanos] = Nanos(1_700_000_000 * SECOND)
    step: ClassVar[Nanos] = Nanos(SECOND // 10)
    patience: ClassVar[int] = 600  # steps until every order must have been answered for

    def make(self) -> Venue:
        """Return a venue that has traded nothing yet, ready to trade at ``begin``."""
        raise NotImplementedError

    def orders(self, first: int) -> OrdersPlaced:
        """Return some acceptable orders, numbered from ``first`` on."""
        raise NotImplementedError

    def answers(self, venue: Venue, begin: Nanos, steps: int | None = None) -> list[Input]:
        """Poll from ``begin`` on, checking what is true of every single answer."""
        heard: list[Input] = []
        for k in range(steps or self.patience):
            now = Nanos(begin + k * self.step)
            for event in venue.poll(now):
                assert isinstance(event, OrdersFilled | OrdersExpired), "a venue only answers"
                assert event.ts <= now, "an answer is not from the future"
                assert not heard or event.ts >= heard[-1].ts, "answers come in order of time"
                heard.append(event)
        return heard

    def test_silence_before_the_first_order(self) -> None:
        """Nothing was asked, nothing is answered."""
        assert self.answers(self.make(), self.begin, 50) == []

    def test_every_order_is_answered_in_full(self) -> None:
        """Fills and the expired rest make up each order: no lot is lost, none is invented."""
        venue = self.make()
        batches = [self.orders(1 << 20), self.orders(2 << 20)]
        for orders in batches:
            venue.submit(self.begin, orders)
        settled(batches, self.answers(venue, self.begin))

    def test_submitting_twice_is_submitting_once(self) -> None:
        """After a crash the engine submits what may or may not have arrived."""
        venue, orders = self.make(), self.orders(1 << 20)
        venue.submit(self.begin, orders)
        venue.submit(self.begin, orders)
        settled([orders], self.answers(venue, self.begin))

    def test_news_is_told_once(self) -> None:
        """What a poll has returned, the next one does not return again."""
        venue, orders = self.make(), self.orders(1 << 20)
        venue.submit(self.begin, orders)
        self.answers(venue, self.begin)
        late = Nanos(self.begin + self.patience * self.step)
        assert self.answers(venue, late, 50) == []


class DurableVenueContract(VenueContract):
    """What a `Venue` promises in addition when it outlives the engine beside it."""

    def reconnect(self, venue: Venue) -> Venue:
        """Return a new connection to the same exchange; ``venue`` died with its process."""
        raise NotImplementedError

    def test_what_was_not_heard_is_told_again(self) -> None:
        """A new connection told of an order's open lots answers for exactly those.

        The answers of the first connection count as heard up to any point one likes: the rest was
        lost with the process. Nothing trades twice, nothing stays unanswered.
        """
        whole, orders = self.make(), self.orders(1 << 20)
        whole.submit(self.begin, orders)
        for known in range(len(self.answers(whole, self.begin)) + 1):
            venue = self.make()
            venue.submit(self.begin, orders)
            heard = self.answers(venue, self.begin)[:known]
            left = open_orders(orders, heard)
            again = self.reconnect(venue)
            for rest in left:
                again.submit(Nanos(self.begin + self.patience * self.step), rest)
            settled(left, self.answers(again, Nanos(self.begin + self.patience * self.step)))


def open_orders(orders: OrdersPlaced, heard: Sequence[Input]) -> list[OrdersPlaced]:
    """Return what is left of ``orders`` after ``heard``, one batch an order."""
    left = {orders.first + k: n for k, n in enumerate(unpack(orders.lots).tolist())}
    for event in heard:
        if isinstance(event, OrdersFilled):
            fills = zip(unpack(event.order).tolist(), unpack(event.lots).tolist(), strict=True)
            for order, n in fills:
                left[order] -= n
        elif isinstance(event, OrdersExpired):
            left.update(dict.fromkeys(unpack(event.order).tolist(), 0))
    return [_one(orders, order - orders.first, n) for order, n in sorted(left.items()) if n]


def _one(orders: OrdersPlaced, row: int, lots: int) -> OrdersPlaced:
    cell = slice(8 * row, 8 * row + 8)
    return OrdersPlaced(
        first=orders.first + row,
        route=orders.route,
        account=orders.account[cell],
        instrument=orders.instrument[cell],
        lots=lots.to_bytes(8, "little", signed=True),
        limit=orders.limit[cell],
        share=orders.share[cell],
        at=orders.at,
    )


def settled(batches: Sequence[OrdersPlaced], heard: Sequence[Input]) -> None:
    """Assert that ``heard`` answers for every lot of ``batches`` once, and within the limits."""
    left: dict[int, int] = {}
    limit: dict[int, int] = {}
    for orders in batches:
        for k, (n, p) in enumerate(zip(unpack(orders.lots), unpack(orders.limit), strict=True)):
            left[orders.first + k], limit[orders.first + k] = int(n), int(p)
    for event in heard:
        if isinstance(event, OrdersFilled):
            columns = (unpack(c).tolist() for c in (event.order, event.lots, event.price))
            for order, n, price in zip(*columns, strict=True):
                assert order in left, f"order {order} is not open"
                assert n * left[order] > 0, f"order {order}: a fill has the order's own sign"
                assert abs(n) <= abs(left[order]), f"order {order}: more was filled than was open"
                better = (limit[order] - price) * (1 if n > 0 else -1)
                assert better >= 0, f"order {order}: filled beyond its limit"
                left[order] -= n
                if not left[order]:
                    del left[order]
            if event.left:  # after its last fill of this report, an order has what it says left
                last = dict(zip(unpack(event.order), unpack(event.left), strict=True))
                for order, rest in last.items():
                    assert rest == left.get(order, 0), f"order {order}: not what it has left"
        elif isinstance(event, OrdersExpired):
            for order in unpack(event.order).tolist():
                assert order in left, f"order {order} expired and was not open"
                del left[order]
    assert not left, f"never answered for: {sorted(left)}"
