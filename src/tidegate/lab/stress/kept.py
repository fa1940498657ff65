"""Finished paths on disk: an interrupted stress goes on where it was, and a larger one adds.

A path's place is named by everything its outcome depends on: the book and its prices, the world,
the stack, the seed, the code, and the path's own number. How many paths were asked for is no part
of it, nor are the other stacks.
"""

import hashlib
import pickle
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tidegate.lab.farm_code import code_digest
from tidegate.lab.outcome import Outcome
from tidegate.lab.sample import Piece
from tidegate.lab.sealed import unsealed, write_sealed


@dataclass(slots=True)
class Kept:
    """A folder of outcomes, one small file each; None keeps nothing."""

    folder: Path | None
    # Pieces of one plan share their objects: each combination is named once. The piece is kept with
    # its name, so that no other object can take the place of one of its own.
    _names: dict[tuple[int, int, int, int, tuple[str, ...]], tuple[Piece, str]] = field(
        default_factory=dict[tuple[int, int, int, int, tuple[str, ...]], tuple[Piece, str]]
    )

    def get(self, piece: Piece) -> Outcome | None:
        """Return a kept outcome; None where there is none, or a damaged one."""
        file = self._file(piece)
        if file is None:
            return None
        try:
            content = unsealed(file.read_bytes())
        except OSError:
            return None
        return None if content is None else msgspec.msgpack.decode(content, type=Outcome)

    def put(self, piece: Piece, outcome: Outcome) -> None:
        """Keep an outcome: a reader sees all of it or nothing."""
        file = self._file(piece)
        if file is not None:
            write_sealed(file, msgspec.msgpack.encode(outcome))

    def _file(self, piece: Piece) -> Path | None:
        if self.folder is None:
            return None
        key = (id(piece.opening), id(piece.stacks[0]), id(piece.world), piece.root, piece.agents)
        if key not in self._names:
            self._names[key] = (piece, _name(piece))
        return self.folder / self._names[key][1] / f"{piece.path:08d}"


def _name(piece: Piece) -> str:
    """Return the folder of all paths of this book, world, stack and seed, on this code."""
    (stack,) = piece.stacks
    digest = hashlib.blake2b(digest_size=12)
    said = piece.world.describe()
    about = (piece.opening.digest, piece.world.name, said, stack.digest, str(piece.root))
    for part in (*about, *piece.agents):
        digest.update(f"{len(part)}:{part}".encode())
    digest.update(pickle.dumps(piece.world, protocol=5))
    digest.update(code_digest().encode())
    return digest.hexdigest()
