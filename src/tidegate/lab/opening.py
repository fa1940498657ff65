"""The moment before: a venue, who holds what at it, and the prices at which it stands."""

import hashlib
from dataclasses import dataclass
from itertools import takewhile

import msgspec
import numpy as np

from tidegate.domain.errors import RecordingInvalid
from tidegate.domain.events import BookImported, CommitmentMade, Input, PriceObserved
from tidegate.domain.units import I64, unpack
from tidegate.domain.venue import Venue
from tidegate.drivers.recording import Recording


@dataclass(frozen=True, slots=True)
class Opening:
    """A book that worlds fall on. Instrument columns are in the order of the venue's."""

    venue: Venue
    book: BookImported  # its timestamp is the moment
    marks: I64  # [instruments] ticks > 0
    commitments: tuple[CommitmentMade, ...]
    notes: tuple[str, ...]  # what was inferred, completed or assumed

    @property
    def digest(self) -> str:
        """Identity of the book and its prices: same digest, same answers."""
        events = (self.book, self.commitments, self.marks.tolist(), self.venue)
        encoded = msgspec.msgpack.Encoder(order="deterministic").encode(events)
        return hashlib.blake2b(encoded, digest_size=8).hexdigest()

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the instruments' symbols, in the order of every column."""
        return tuple(i.symbol for i in self.venue.instruments)

    @classmethod
    def of(cls, recording: Recording) -> "Opening":
        """Return the first moment of a recording: its book, and the first price of everything.

        Raise RecordingInvalid where an instrument that somebody holds never gets a price.
        """
        events = iter(recording.events())
        book = next(events)
        assert isinstance(book, BookImported), "a recording begins with its book"
        marks = np.zeros(len(recording.venue.instruments), np.int64)
        pledged: list[CommitmentMade] = []

        def early(event: Input) -> bool:
            return event.ts <= recording.begins or not marks.all()

        for event in takewhile(early, events):
            if isinstance(event, PriceObserved) and not marks[event.instrument]:
                marks[event.instrument] = event.price
            elif isinstance(event, CommitmentMade):
                pledged.append(event)
        held = np.unique(unpack(book.instrument))
        for i in held[marks[held] == 0].tolist():
            raise RecordingInvalid(
                where="prices.parquet",
                what="must price every instrument that is held",
                found=f"none for {recording.venue.instruments[int(i)].symbol}",
            )
        # What nobody holds and nobody prices stands at one tick: nothing depends on it.
        return cls(
            venue=recording.venue,
            book=book,
            marks=np.maximum(marks, 1),
            commitments=tuple(pledged),
            notes=recording.venue.notes,
        )
