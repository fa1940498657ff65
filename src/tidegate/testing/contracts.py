"""What every journal and every venue must pass.

Inherit from a contract in a test module, say how to make one of yours, and let pytest collect the
subclass (its name begins with ``Test``). The assertions are the meaning of the promises in `ports`.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, get_args, get_type_hints

from tidegate.domain.effects import Decision, OrdersPlaced, Rejected
from tidegate.domain.errors import ConfigInvalid, JournalCorrupt
from tidegate.domain.events import ClockTicked, Input, OrdersExpired, OrdersFilled
from tidegate.domain.units import SECOND, Nanos, unpack
from tidegate.drivers.live import LiveJournal
from tidegate.ports import Record, Snapshot, Venue


def history(n: int, first: int = 0) -> list[Record]:
    """Return ``n`` small records that follow one another from ``first`` on, all different."""
    return [
        Record(
            seq,
            ClockTicked(ts=Nanos(1_000 + seq)),
            tuple(Rejected(code=f"code {k}", detail=f"of record {seq}") for k in range(seq % 4)),
        )
        for seq in range(first, first + n)
    ]


def specimens(union: Any, extreme: int) -> list[Any]:  # noqa: ANN401 - a union has no better type
    """Return one instance of each class of ``union``, every integer in it being ``extreme``."""
    texts = ("", "Grüße, 市场 \x00 \U0001f30a")
    of: dict[Any, Any] = {
        int: extreme,
        bool: True,
        str: texts[extreme > 0],
        bytes: bytes(range(256)) if extreme > 0 else b"",
        tuple[str, ...]: texts if extreme > 0 else (),
    }
    made: list[Any] = []
    for kind in get_args(union):
        hints = get_type_hints(kind)
        fields = {
            f: of[getattr(hints[f], "__supertype__", hints[f])] for f in kind.__struct_fields__
        }
        made.append(kind(**fields))
    return made


def refusal(act: Callable[[], object], kind: type[Exception]) -> str:
    """Return the message with which ``act`` is refused; fail when it is not."""
    try:
        act()
    except kind as error:
        return str(error)
    msg = f"{kind.__name__} was expected and nothing was raised"
    raise AssertionError(msg)


class JournalContract:
    """What every `Journal` promises, durable or not."""

    def make(self) -> LiveJournal:
        """Return a new, empty journal."""
        raise NotImplementedError

    def test_an_empty_journal_has_no_head(self) -> None:
        """Record numbers begin at 0, so an empty journal stands before that."""
        journal = self.make()
        assert (journal.head, journal.taken, list(journal.read())) == (-1, 0, [])
        assert journal.latest() is None
        journal.close()

    def test_what_was_appended_is_read_in_order(self) -> None:
        """Batches leave no trace: only the order of records counts."""
        journal, records = self.make(), history(23)
        for begin, end in ((0, 1), (1, 1), (1, 11), (11, 23)):
            journal.append(records[begin:end])
            assert journal.head == end - 1
        assert list(journal.read()) == records
        journal.close()

    def test_reading_begins_where_it_is_asked_to(self) -> None:
        """In the middle of a batch as well as at its edge; after the head there is nothing."""
        journal, records = self.make(), history(12)
        journal.append(records[:5])
        journal.append(records[5:])
        for after in range(-1, 13):
            assert list(journal.read(after)) == records[after + 1 :]
        journal.close()

    def test_every_kind_of_record_survives(self) -> None:
        """Whole int64 range, empty and full columns, any text; equal after the round trip."""
        journal = self.make()
        for extreme in (-(2**63), 0, 2**63 - 1):
            effects = tuple(specimens(Decision, extreme))
            events = specimens(Input, extreme)
            first = journal.head + 1
            records = [Record(first + k, event, effects) for k, event in enumerate(events)]
            journal.append(records)
            assert list(journal.read(first - 1)) == records
        journal.close()

    def test_records_must_follow(self) -> None:
        """A gap, a repetition and a swap are refused by number, and nothing of them is kept."""
        journal = self.make()
        journal.append(history(4))
        for wrong, expected in (
            (history(1, first=5), 4),
            (history(1, first=3), 4),
            (history(2, first=4) + history(1, first=7), 6),
            (history(2, first=4)[::-1], 4),
        ):
            message = refusal(lambda wrong=wrong: journal.append(wrong), JournalCorrupt)
            assert f"record {expected}" in message
            assert journal.head == 3
        journal.append(history(2, first=4))
        assert list(journal.read()) == history(6)
        journal.close()

    def test_it_knows_where_the_feed_goes_on(self) -> None:
        """Answers of a venue are records, and no part of the feed."""
        journal = self.make()
        events: list[Input] = [
            ClockTicked(ts=Nanos(1)),
            OrdersFilled(ts=Nanos(2), order=b"", lots=b"", price=b""),
            ClockTicked(ts=Nanos(3)),
            OrdersExpired(ts=Nanos(4), order=b"", reason="gone"),
        ]
        journal.append([Record(k, event, ()) for k, event in enumerate(events)])
        assert (journal.head, journal.taken) == (3, 2)
        journal.append([Record(4, events[1], ()), Record(5, events[0], ())])
        assert (journal.head, journal.taken) == (5, 3)
        journal.close()

    def test_it_belongs_to_one_stack(self) -> None:
        """Claiming again is harmless, claiming for another is refused with both named."""
        journal = self.make()
        journal.claim("this one")
        journal.append(history(1))
        journal.claim("this one")
        message = refusal(lambda: journal.claim("that one"), ConfigInvalid)
        assert "this one" in message
        assert "that one" in message
        journal.close()

    def test_the_newest_snapshot_within_reach_counts(self) -> None:
        """A snapshot of a record that the journal does not have is of no use."""
        journal = self.make()
        journal.append(history(8))
        for seq in (1, 3, 5, 7):
            journal.save(Snapshot(seq, f"digest {seq}", bytes([seq]) * 1000))
            assert journal.latest() == Snapshot(seq, f"digest {seq}", bytes([seq]) * 1000)
        assert journal.head == 7
        journal.close()
        ahead = self.make()
        ahead.save(Snapshot(0, "early", b""))
        assert ahead.latest() is None
        ahead.close()


class DurableJournalContract(JournalContract):
    """What a `Journal` promises in addition when its records outlive the process."""

    def reopen(self, journal: LiveJournal) -> LiveJournal:
        """Return a new journal over what ``journal`` wrote; ``journal`` is closed already."""
        raise NotImplementedError

    def test_everything_survives_reopening(self) -> None:
        """Records, head, the feed's place, the owner and the snapshot."""
        journal = self.make()
        journal.claim("owner")
        journal.append(history(7))
        journal.append(history(2, first=7))
        journal.save(Snapshot(4, "digest", b"state"))
        journal.close()
        again = self.reopen(journal)
        assert (again.head, again.taken) == (8, 9)
        assert list(again.read()) == history(9)
        assert again.latest() == Snapshot(4, "digest", b"state")
        assert "owner" in refusal(lambda: again.claim("another"), ConfigInvalid)
        again.append(history(1, first=9))
        again.close()
        third = self.reopen(again)
        assert list(third.read()) == history(10)
        third.close()

    def test_nothing_is_taken_after_closing(self) -> None:
        """An append that cannot be durable must not look as if it were."""
        journal = self.make()
        journal.append(history(1))
        journal.close()
        refusal(lambda: journal.append(history(1, first=1)), Exception)
        again = self.reopen(journal)
        assert again.head == 0
        again.close()

    def test_there_is_one_writer(self) -> None:
        """The second is refused while the first lives, and welcome afterwards."""
        journal = self.make()
        message = refusal(lambda: self.reopen(journal), ConfigInvalid)
        assert "one process" in message
        journal.append(history(1))
        journal.close()
        again = self.reopen(journal)
        assert again.head == 0
        again.close()


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
