"""How records become bytes: one frame a batch, and one link of a hash chain a record.

A frame is a header (magic, first sequence number, count, bytes that follow, the link before) and
then, for each record, its length, its link and its payload. The payload is msgpack of
(event, effects), where each of them carries its class name as a tag. A link is blake2b over the
link before it, the sequence number and the payload: changing, dropping or swapping anything breaks
the chain at that very record. Integers of the layout are little-endian.
"""

import hashlib
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

import msgspec

from tidegate.domain.effects import Decision
from tidegate.domain.errors import JournalCorrupt
from tidegate.domain.events import Input
from tidegate.ports import Record


ORIGIN: Final = bytes(16)  # the link before record 0

_MAGIC: Final = b"TGJ1"
_HEADER: Final = Struct("<4sQIQ16s")  # magic, first seq, records, bytes that follow, link before
_RECORD: Final = Struct("<I16s")  # bytes of the payload, link
_SEQ: Final = Struct("<Q")

_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final[msgspec.msgpack.Decoder[tuple[Input, tuple[Decision, ...]]]] = (
    msgspec.msgpack.Decoder(tuple[Input, tuple[Decision, ...]])
)


class Sealed(NamedTuple):
    """A verified record that nobody has decoded yet."""

    seq: int
    link: bytes
    payload: bytes


def link_of(previous: bytes, seq: int, payload: bytes) -> bytes:
    """Return the link that ties ``payload`` to its number and to everything before it."""
    return hashlib.blake2b(previous + _SEQ.pack(seq) + payload, digest_size=16).digest()


def encode_batch(records: Sequence[Record], previous: bytes) -> tuple[bytes, bytes]:
    """Return the frame of ``records``, which follow the link ``previous``, and its last link.

    Equal records give equal bytes. The sequence numbers are trusted: see `follow`.
    """
    encode, pack, link = _ENCODER.encode, _RECORD.pack, previous
    parts: list[bytes] = [b""]
    for record in records:
        payload = encode((record.event, record.effects))
        link = link_of(link, record.seq, payload)
        parts += (pack(len(payload), link), payload)
    size = sum(map(len, parts))
    parts[0] = _HEADER.pack(_MAGIC, records[0].seq, len(records), size, previous)
    return b"".join(parts), link


def open_batch(frame: object, first: int, previous: bytes | None) -> Iterator[Sealed]:
    """Yield the records of ``frame``, which must begin at ``first`` after the link ``previous``.

    None takes the frame's own word for the link before it. Raise JournalCorrupt, naming the record,
    at the first byte that is not as it was written.
    """
    if not isinstance(frame, bytes) or len(frame) < _HEADER.size:
        raise corrupt(first, "its batch has no header")
    magic, begins, count, size, before = _HEADER.unpack_from(frame)
    if magic != _MAGIC or begins != first or count < 1 or size != len(frame) - _HEADER.size:
        raise corrupt(first, "the header of its batch is damaged")
    if previous is not None and before != previous:
        raise corrupt(first, "it does not continue the record before it")
    at = _HEADER.size
    for seq in range(first, first + count):
        if at + _RECORD.size > len(frame):
            raise corrupt(seq, "its batch ends before it")
        length, link = _RECORD.unpack_from(frame, at)
        at += _RECORD.size
        payload = frame[at : at + length]
        at += length
        if len(payload) != length or link_of(before, seq, payload) != link:
            raise corrupt(seq, "it does not match its checksum")
        yield Sealed(seq, link, payload)
        before = link
    if at != len(frame):
        raise corrupt(first + count, f"{len(frame) - at} bytes follow the last record of a batch")


def count_of(frame: object) -> int:
    """Return how many records ``frame`` says it holds; `open_batch` verifies it."""
    if not isinstance(frame, bytes) or len(frame) < _HEADER.size:
        return 0
    count: int = _HEADER.unpack_from(frame)[2]
    return count


def decode(sealed: Sealed) -> Record:
    """Return the record; raise JournalCorrupt where a valid payload is none of our classes."""
    try:
        event, effects = _DECODER.decode(sealed.payload)
    except msgspec.MsgspecError as error:
        raise corrupt(
            sealed.seq, f"it is intact and cannot be read by this version ({error})"
        ) from error
    return Record(sealed.seq, event, effects)


def follow(records: Sequence[Record], head: int) -> None:
    """Refuse ``records`` that do not continue right after ``head``, one by one."""
    for expected, record in enumerate(records, start=head + 1):
        if record.seq != expected:
            raise corrupt(expected, f"was given record {record.seq} in its place")


def corrupt(seq: int, what: str) -> JournalCorrupt:
    """Return the error for record ``seq``."""
    return JournalCorrupt(f"record {seq}: {what}")
