"""What every journal must pass.

Inherit from a contract in a test module, say how to make one of yours, and let pytest collect the
subclass (its name begins with ``Test``). The assertions are the meaning of the promises in `ports`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, get_args, get_type_hints

from tidegate.domain.effects import Decision, Rejected
from tidegate.domain.errors import ConfigInvalid, JournalCorrupt, LeaderLost, TidegateError
from tidegate.domain.events import ClockTicked, Input, OrdersExpired, OrdersFilled
from tidegate.domain.units import Nanos
from tidegate.drivers.live import LiveJournal
from tidegate.ports import Receipt, Record, Snapshot


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


def unlinked(snapshot: Snapshot | None) -> tuple[int, str, bytes]:
    """Return what was saved; the link is the journal's own addition."""
    assert snapshot is not None
    return snapshot.seq, snapshot.digest, snapshot.state


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

    def test_a_receipt_is_kept_with_its_records(self) -> None:
        """What was taken under a key is found again; another source's key is another key."""
        journal = self.make()
        assert journal.receipt("feed", "a") is None
        assert journal.place("feed") is None
        journal.append(history(3), [Receipt("feed", "a", 0, 1, "ask"), Receipt("web", "a", 2, 2)])
        journal.append(history(1, first=3), [Receipt("feed", "b", 3, 3)])
        assert journal.receipt("feed", "a") == Receipt("feed", "a", 0, 1, "ask")
        assert journal.receipt("web", "a") == Receipt("web", "a", 2, 2)
        assert journal.receipt("feed", "c") is None
        assert journal.receipt("", "a") is None
        assert (journal.place("feed"), journal.place("web")) == ("b", "a")
        journal.close()

    def test_a_place_moves_without_records(self) -> None:
        """A message of which nothing was taken is behind us all the same."""
        journal = self.make()
        journal.append(history(2))
        journal.append([], [Receipt("stream", "17", 2, 1)])
        assert (journal.head, journal.place("stream")) == (1, "17")
        journal.append(history(1, first=2))
        assert list(journal.read()) == history(3)
        journal.close()

    def test_the_newest_receipt_under_a_key_counts(self) -> None:
        """Also when a key returns in the same batch."""
        journal = self.make()
        again = [Receipt("s", "x", 0, 0), Receipt("s", "y", 0, 0), Receipt("s", "x", 1, 1)]
        journal.append(history(2), again)
        assert journal.receipt("s", "x") == again[-1]
        assert journal.place("s") == "x"
        journal.append(history(1, first=2), [Receipt("s", "y", 2, 2)])
        assert journal.receipt("s", "y") == Receipt("s", "y", 2, 2)
        assert journal.place("s") == "y"
        journal.close()

    def test_a_receipt_may_be_of_any_text(self) -> None:
        """Clients choose their keys; no quote, no zero byte and no length does harm."""
        journal = self.make()
        long = "".join(chr(0x4E00 + k * k % 20_000) for k in range(10_000))
        texts = ("", "'; DROP TABLE receipts; --", "Grüße, 市场 \x00 \U0001f30a", long)
        kept = [Receipt(text[:99], text, k, k, text) for k, text in enumerate(texts)]
        journal.append(history(len(texts)), kept)
        assert [journal.receipt(text[:99], text) for text in texts] == kept
        assert [journal.place(text[:99]) for text in texts] == list(texts)
        journal.close()

    def test_reading_may_begin_at_a_link(self) -> None:
        """Whoever knows the link of a record needs no chain before it."""
        journal = self.make()
        links: list[bytes] = []
        for first in range(0, 12, 3):
            journal.append(history(3, first=first))
            links.append(journal.link)
        for at, link in enumerate(links):
            after = 3 * at + 2
            assert list(journal.read(after, link)) == history(11 - after, first=after + 1)
        journal.close()

    def test_the_newest_snapshot_within_reach_counts(self) -> None:
        """A snapshot of a record that the journal does not have is of no use."""
        journal = self.make()
        journal.append(history(8))
        for seq in (1, 3, 5, 7):
            journal.save(Snapshot(seq, f"digest {seq}", bytes([seq]) * 1000))
            assert unlinked(journal.latest()) == (seq, f"digest {seq}", bytes([seq]) * 1000)
        assert journal.head == 7
        journal.close()
        ahead = self.make()
        ahead.save(Snapshot(0, "early", b""))
        assert ahead.latest() is None
        ahead.close()


class DurableJournalContract(JournalContract):
    """What a `Journal` promises in addition when its records outlive the process."""

    def make(self, receipts_kept: int = 1_000) -> LiveJournal:
        """Return a new, empty journal that keeps so many receipts of each source."""
        raise NotImplementedError

    def reopen(self, journal: LiveJournal) -> LiveJournal:
        """Return a new writer over what ``journal`` wrote; ``journal`` is closed already."""
        raise NotImplementedError

    def beside(self, journal: LiveJournal) -> LiveJournal:
        """Return a reader of what ``journal`` goes on to write."""
        raise NotImplementedError

    def usurp(self, journal: LiveJournal) -> LiveJournal:
        """Return a new writer in the place of ``journal``, which does not know of its loss."""
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
        assert unlinked(again.latest()) == (4, "digest", b"state")
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

    def test_receipts_survive_reopening(self) -> None:
        """They were durable with their records."""
        journal = self.make()
        kept = [Receipt("feed", f"{k}", k, k, "ask") for k in range(5)]
        for k, receipt in enumerate(kept):
            journal.append(history(1, first=k), [receipt])
        journal.close()
        again = self.reopen(journal)
        assert [again.receipt("feed", f"{k}") for k in range(5)] == kept
        assert again.place("feed") == "4"
        again.append(history(1, first=5), [Receipt("feed", "next", 5, 5)])
        assert again.place("feed") == "next"
        again.close()

    def test_the_newest_receipts_of_each_source_are_kept(self) -> None:
        """A busy source forgets its own oldest ones, and nobody else's."""
        journal = self.make(receipts_kept=3)
        journal.append(history(1), [Receipt("rare", "only", 0, 0)])
        for k in range(1, 8):
            journal.append(history(1, first=k), [Receipt("busy", f"{k}", k, k)])
        journal.append(history(2, first=8), [Receipt("busy", f"{k}", k, k) for k in (8, 9)])
        assert [k for k in range(12) if journal.receipt("busy", f"{k}")] == [7, 8, 9]
        assert journal.receipt("rare", "only") == Receipt("rare", "only", 0, 0)
        journal.close()

    def test_every_writer_raises_the_epoch(self) -> None:
        """The number by which a leader is told from the one before it."""
        journal = self.make()
        first = journal.epoch
        assert first >= 1
        journal.append(history(1))
        journal.close()
        again = self.reopen(journal)
        assert again.epoch == first + 1
        beside = self.beside(again)
        assert beside.epoch == first + 1
        beside.close()
        again.close()

    def test_an_old_leader_is_fenced_off(self) -> None:
        """It lost the journal without knowing it: nothing it writes from then on is kept."""
        journal = self.make()
        journal.claim("owner")
        journal.append(history(3), [Receipt("feed", "a", 0, 2)])
        usurper = self.usurp(journal)
        assert usurper.epoch == journal.epoch + 1
        late = Receipt("feed", "late", 3, 4)
        for act in (
            lambda: journal.append(history(2, first=3), [late]),
            lambda: journal.append(history(2, first=3), [late]),
            lambda: journal.append([], [late]),
            lambda: journal.save(Snapshot(2, "digest", b"state")),
        ):
            refusal(act, TidegateError)
        usurper.append([Record(3, ClockTicked(ts=Nanos(7)), ())])
        refusal(lambda: journal.append(history(2, first=3), [late]), TidegateError)
        found = list(usurper.read())
        assert found == [*history(3), Record(3, ClockTicked(ts=Nanos(7)), ())]
        assert usurper.receipt("feed", "late") is None
        assert usurper.latest() is None
        journal.close()
        usurper.close()

    def test_the_first_word_to_an_old_leader_is_what_happened(self) -> None:
        """Whichever it tries first: a batch, a place, a snapshot."""
        acts: tuple[Callable[[LiveJournal], None], ...] = (
            lambda old: old.append(history(1, first=1)),
            lambda old: old.append([], [Receipt("feed", "late", 1, 0)]),
            lambda old: old.save(Snapshot(0, "digest", b"state")),
        )
        for act in acts:
            journal = self.make()
            journal.append(history(1))
            usurper = self.usurp(journal)
            message = refusal(partial(act, journal), LeaderLost)
            assert "taken it over" in message
            assert (usurper.head, list(usurper.read())) == (0, history(1))
            journal.close()
            usurper.close()

    def test_others_read_beside_the_writer(self) -> None:
        """A reader sees what was durable when it last looked, and writes nothing."""
        journal = self.make()
        journal.claim("owner")
        journal.append(history(4), [Receipt("feed", "a", 0, 3)])
        reader = self.beside(journal)
        assert list(reader.read()) == history(4)
        journal.append(history(5, first=4), [Receipt("feed", "b", 4, 8)])
        journal.save(Snapshot(6, "digest", b"state"))
        assert (reader.head, list(reader.read())) == (3, history(4))
        seen = reader.head, reader.link
        assert reader.refresh() == 8
        assert list(reader.read(*seen)) == history(5, first=4)
        assert (reader.taken, reader.place("feed")) == (9, "b")
        assert unlinked(reader.latest()) == (6, "digest", b"state")
        for act in (
            lambda: reader.append(history(1, first=9)),
            lambda: reader.save(Snapshot(8, "digest", b"state")),
        ):
            refusal(act, TidegateError)
        reader.close()
        journal.append(history(1, first=9))
        journal.close()

    def test_a_snapshot_knows_where_the_chain_goes_on(self) -> None:
        """Its link verifies what follows it, in the middle of a batch as well as at its edge."""
        journal = self.make()
        journal.append(history(7))
        journal.append(history(5, first=7))
        for seq in (0, 3, 6, 7, 10, 11):
            journal.save(Snapshot(seq, "digest", b"state"))
            found = journal.latest()
            assert found is not None
            assert found.seq == seq
            assert list(journal.read(seq, found.link)) == history(11 - seq, first=seq + 1)
            wrong = found.link[:-1] + bytes([found.link[-1] ^ 1])
            message = refusal(lambda s=seq, w=wrong: list(journal.read(s, w)), JournalCorrupt)
            assert f"record {seq}:" in message
        journal.close()

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
