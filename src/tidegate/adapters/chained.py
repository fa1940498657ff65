"""How every durable journal is written: by one leader at a time, and behind a fence.

Each writer that opens a journal raises its epoch, and every write proves, in its own transaction,
that the epoch is still its own. Whoever was taken over without knowing it is refused.
"""

import zlib
from abc import abstractmethod
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Final

from tidegate.adapters.chain import FORMAT, Chain, Head, checksum, tag_of
from tidegate.adapters.codec import corrupt, encode_batch, follow
from tidegate.adapters.memory import same_owner
from tidegate.domain.errors import ConfigInvalid, LeaderLost, TidegateError
from tidegate.domain.events import ENDOGENOUS
from tidegate.ports import Receipt, Record, Snapshot


SNAPSHOTS_KEPT: Final = 3
RECEIPTS_KEPT: Final = 65_536  # of one source; a key that is older is not recognised any more


class WriterElsewhere(ConfigInvalid):
    """Another process writes this journal: stand by, or read beside it."""


class ChainedJournal(Chain):
    """A durable `Journal`; a store fills in the abstract methods.

    Parameters
    ----------
    name
        What errors call the journal; it holds no secret.
    readonly
        Whether it only reads, beside whoever writes.
    receipts_kept
        Receipts kept of each source, newest first.
    """

    BEGIN_WRITING = "BEGIN"
    FENCE = "SELECT epoch FROM leader"

    def __init__(self, name: str, *, readonly: bool, receipts_kept: int) -> None:
        assert receipts_kept >= 1, "the newest receipt is the place of its source"
        super().__init__(name, readonly=readonly)
        self._broken = readonly
        self._receipts_kept = receipts_kept
        self._numbers: dict[bytes, int] = {}  # source: number of its newest receipt
        self._tags: set[bytes] | None = None  # of receipts that may be kept; most keys are new
        self._tags_max = 0  # then those of forgotten receipts are let go

    @abstractmethod
    def _run_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row."""

    def _insert(self, first: int, frame: bytes) -> None:
        """Keep one frame."""
        self._run(
            "INSERT INTO batches (first, frame, epoch) VALUES (?, ?, ?)", first, frame, self._epoch
        )

    def _noted(self, head: Head) -> None:
        """Hear that ``head`` is durable."""

    def _commit(self) -> None:
        """Pass the one moment from which the batch is durable."""
        self._run("COMMIT")

    def _opened(self) -> None:
        """Verify the end of the journal; become its next writer unless it is only read."""
        super()._opened()
        if self._readonly:
            return
        with self._guarded():
            self._run(self.BEGIN_WRITING)
            self._epoch = self._run(self.FENCE).fetchone()[0] + 1
            self._run("UPDATE leader SET epoch = ?", self._epoch)
            self._run("COMMIT")
        # Whoever was overtaken may have committed a last batch in between; no more can follow.
        self._head = self._verified_head()

    def claim(self, identity: str) -> None:
        """Belong to ``identity``; ConfigInvalid when the journal belongs to another one."""
        if self._head.identity:
            same_owner(self.name, self._head.identity, identity)
            return
        self._must_write()
        head = self._head._replace(identity=identity)
        with self._writing():
            self._move_head(head)
            self._commit()
        self._head = head

    def append(self, records: Sequence[Record], receipts: Sequence[Receipt] = ()) -> None:
        """Make records and receipts durable in one transaction; see `Journal.append`.

        After a failure the journal takes nothing more: whether the batch became durable is then
        known only to whoever opens it anew. A full disk raises CapacityExceeded.
        """
        self._must_write()
        follow(records, self._head.seq)
        if not records and not receipts:
            return
        head, frame = self._head, b""
        if records:
            frame, link = encode_batch(records, head.link)
            taken = sum(not isinstance(record.event, ENDOGENOUS) for record in records)
            head = Head(records[-1].seq, head.taken + taken, head.identity, link)
        self._broken = True
        with self._writing():
            self._move_head(head)
            if records:
                self._insert(records[0].seq, frame)
            self._keep(receipts)
            self._commit()
        self._broken = False
        self._head = head
        self._noted(head)

    def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot durably with the link of its record, and the two before it."""
        self._must_write()
        link = self.link_of(snapshot.seq)
        with self._writing():
            self._put(snapshot._replace(link=link))
            self._run(
                "DELETE FROM snapshots WHERE seq NOT IN "
                "(SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?)",
                SNAPSHOTS_KEPT,
            )
            self._run("COMMIT")

    def adopt(self, source: Chain) -> None:
        """Take over everything that ``source`` holds at this moment, verified, in one transaction.

        For backups and for moving between stores. Raise ConfigInvalid unless this journal is empty.
        The epoch is carried over, so that it only ever grows.
        """
        self._must_write()
        if self._head.seq >= 0 or self._head.identity:
            raise ConfigInvalid(
                where=self.name,
                what="must be empty: a journal is never written over",
                found=f"{self._head.seq + 1} records",
            )
        self._broken = True
        with source.steady(), self._writing():
            for first, frame in source.frames():
                self._insert(first, frame)
            if source.format >= FORMAT:
                self._keep(list(source.receipts()))
            for seq in source.snapshots():
                found = source.snapshot(seq)
                if found is not None:
                    self._put(found._replace(link=source.link_of(seq)))
            self._move_head(source.end)
            epoch = max(self._epoch, source.epoch)
            self._run("UPDATE leader SET epoch = ?", epoch)
            self._commit()
            head = source.end
        self._broken = False
        self._head, self._epoch = head, epoch
        self._noted(head)

    def _put(self, snapshot: Snapshot) -> None:
        state = zlib.compress(snapshot.state, 1)
        said = (snapshot.seq, snapshot.digest, state, snapshot.link)
        self._run("DELETE FROM snapshots WHERE seq = ?", snapshot.seq)
        self._run(
            "INSERT INTO snapshots (seq, digest, state, link, checksum) VALUES (?, ?, ?, ?, ?)",
            *(*said, checksum(*said)),
        )

    def receipt(self, source: str, key: str) -> Receipt | None:
        """Return what was taken under this key; see `Journal.receipt`.

        A writer knows by heart which keys may have been taken, and asks the store for those only.
        """
        if self._readonly:
            return super().receipt(source, key)
        if self._tags is None or len(self._tags) > self._tags_max:
            with self._guarded():
                self._tags = {row[0] for row in self._run("SELECT tag FROM receipts").fetchall()}
            self._tags_max = 2 * len(self._tags) + RECEIPTS_KEPT
        return super().receipt(source, key) if tag_of(source, key) in self._tags else None

    def _keep(self, receipts: Sequence[Receipt]) -> None:
        """Give the receipts numbers within their sources, keep them, and forget the oldest ones."""
        newest: dict[bytes, Sequence[object]] = {}
        for receipt in receipts:
            source, key = receipt.source.encode(), receipt.key.encode()
            number = self._numbers[source] = self._number(source) + 1
            said = (source, number, key, receipt.first, receipt.last, receipt.ask.encode())
            tag = tag_of(receipt.source, receipt.key)
            newest[tag] = (*said, checksum(*said), tag)
        if self._tags is not None:
            self._tags |= newest.keys()
        if newest:
            self._run_many(
                "INSERT INTO receipts (source, number, key, first, last, ask, checksum, tag)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (tag) DO UPDATE SET number = excluded.number,"
                " first = excluded.first, last = excluded.last, ask = excluded.ask,"
                " checksum = excluded.checksum",
                newest.values(),
            )
        for source in {receipt.source.encode() for receipt in receipts}:
            self._run(
                "DELETE FROM receipts WHERE source = ? AND number <= ?",
                *(source, self._numbers[source] - self._receipts_kept),
            )

    def _number(self, source: bytes) -> int:
        if source not in self._numbers:
            found = self._run("SELECT max(number) FROM receipts WHERE source = ?", source)
            self._numbers[source] = found.fetchone()[0] or 0
        return self._numbers[source]

    def _must_write(self) -> None:
        if self._broken:
            msg = f"{self.name}: it is open for reading only, or an append has failed\n"
            raise TidegateError(msg + "hint: start again from the journal")

    def _move_head(self, head: Head) -> None:
        moved = self._run(
            "UPDATE head SET seq = ?, taken = ?, identity = ?, link = ?, checksum = ?"
            " WHERE seq = ?",
            *(*head, head.checksum, self._head.seq),
        )
        if moved.rowcount != 1:
            raise corrupt(self._head.seq + 1, "somebody else has written to this journal")

    @contextmanager
    def _writing(self) -> Generator[None]:
        """Begin a transaction that only the leader may commit."""
        with self._guarded():
            self._run(self.BEGIN_WRITING)
            (epoch,) = self._run(self.FENCE).fetchone()
            if epoch != self._epoch:
                self._broken = True
                msg = (
                    f"{self.name}: another process has taken it over (epoch {epoch}, ours was "
                    f"{self._epoch}); nothing of this was kept\nhint: this process may stand by"
                )
                raise LeaderLost(msg)
            yield
