"""A witness beside the journal: how far it had come, in a file that SQLite cannot roll back.

SQLite forgets, silently and by design, whatever follows the first damaged page of its write-ahead
log: a bit flipped there, or a log that was not copied along, would look like a younger journal. So
after every commit this small file is overwritten in place. It is never ahead of what is durable
(the commit's fsync came first), and if it is behind that only means that the process died between
the two; it needs no fsync of its own.
"""

import os
from pathlib import Path
from typing import Final, Self

from tidegate.domain.errors import JournalCorrupt


_SIZE: Final = 64  # within one sector: it is there or it is not, never half


class Witness:
    """The last head that somebody was told about."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @classmethod
    def beside(cls, journal: Path) -> Self:
        """Return the witness of ``journal``."""
        return cls(journal.with_name(f"{journal.name}-head"))

    def seen(self) -> tuple[int, bytes]:
        """Return the head that was seen committed last and its link; -1 where nothing is known.

        A missing file is no contradiction: the journal alone was copied or restored.
        """
        return self._read() if self._path.exists() else (-1, b"")

    def check(self, seen: int, witnessed: bytes, head: int, link: bytes) -> None:
        """Refuse a journal that lost its tail since `seen`, or is another one of equal length."""
        if seen > head:
            msg = (
                f"record {head + 1}: it is missing, and so is every record up to {seen}, which "
                f"{self._path} has seen committed\nhint: restore the journal with its -wal file; "
                f"to go on without these records, remove {self._path.name}"
            )
            raise JournalCorrupt(msg)
        if seen == head >= 0 and witnessed != link:
            msg = (
                f"record {head}: it is not the one that {self._path} has seen committed\n"
                f"hint: restore the two files together"
            )
            raise JournalCorrupt(msg)

    def note(self, head: int, link: bytes) -> None:
        """Remember that the journal is durable up to ``head``."""
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(self._file, self._line(head, link), 0)

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @staticmethod
    def _line(head: int, link: bytes) -> bytes:
        return f"{head} {link.hex()}".ljust(_SIZE - 1).encode() + b"\n"

    def _read(self) -> tuple[int, bytes]:
        line = self._path.read_bytes()
        try:
            words = line.decode("ascii").split()
            head, link = int(words[0]), bytes.fromhex(words[1])
        except (ValueError, IndexError):
            head, link = -1, b""
        if line != self._line(head, link):
            msg = (
                f"{self._path}: it must hold the last record number and its link, "
                f"found {line[:_SIZE]!r}\nhint: remove it if the journal can be read to its end"
            )
            raise JournalCorrupt(msg)
        return head, link
