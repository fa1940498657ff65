"""A folder in which Parquet files appear one after another, followed from a place that is ours.

Files are taken whole and in the order of their names; a writer makes each under another name and
renames it when it is done (``0000000017.prices.parquet``). Whatever does not end in ``.parquet``,
or begins with a dot or an underscore, is left alone. A file that is not whole is waited for: it may
be a writer that does not rename, and what comes after it must not be taken before it.

The place is ``FILE:N``: of FILE, the first N items were taken, and all of every file before it.
With N = -1 nothing more of FILE will be.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

from tidegate.domain.errors import FeedBroken


LOOK_EVERY_S: Final = 0.2
CHUNK_MAX: Final = 1_024
LEFT_OUT: Final = -1
MAGIC: Final = b"PAR1"

T = TypeVar("T")


class Chunk(NamedTuple, Generic[T]):
    """Some items of one file, and the place after them."""

    place: str
    items: Sequence[T]


class ParquetTail(Generic[T]):
    """One folder.

    Parameters
    ----------
    read
        Turns a whole file into its items, in a thread of its own. What it raises ends `chunks`, and
        the file stays where it is: whoever has mended or removed it calls `chunks` again.
    after
        The place up to which everything was taken; None begins with the first file.
    """

    def __init__(
        self,
        folder: Path,
        read: Callable[[Path], Sequence[T]],
        *,
        after: str | None = None,
        chunk_max: int = CHUNK_MAX,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._folder, self._read = folder, read
        self._chunk_max, self._look_every_s = chunk_max, look_every_s
        self._file, self._taken = parsed(after) if after is not None else ("", 0)
        self._gone = {path.name for path in self._files() if path.name < self._file}
        if self._taken == LEFT_OUT:
            self._gone.add(self._file)
        self.trouble = ""  # in words, as long as nothing can be read

    def __repr__(self) -> str:
        return f"ParquetTail({self._folder}, after {self._file}:{self._taken})"

    @property
    def file(self) -> str:
        """The file that is being taken, or was last."""
        return self._file

    async def chunks(self) -> AsyncGenerator[Chunk[T]]:
        """Yield what is new, in order, for ever; close the generator to end.

        Raise FeedBroken when a file appears before one that was taken already, or when the file
        that was being taken has become another one.
        """
        while True:
            path = self._next()
            if path is None:
                await asyncio.sleep(self._look_every_s)
                continue
            items = await asyncio.to_thread(self._read, path)
            if path.name != self._file:
                self._file, self._taken = path.name, 0
            if len(items) < self._taken:
                what = f"must still have the {self._taken:_} items that were taken of it"
                raise self._broken(what, f"{len(items):_}")
            for start in range(self._taken, len(items), self._chunk_max):
                some = items[start : start + self._chunk_max]
                self._taken = start + len(some)
                yield Chunk(f"{self._file}:{self._taken}", some)
            self._gone.add(path.name)

    def skip(self) -> str:
        """Leave the next file out, or what is left of it; return the place behind it."""
        names = sorted(path.name for path in self._files())
        left = [n for n in names if n > self._file or (n == self._file and n not in self._gone)]
        assert left, "only a file that is there can be left out"
        self._file, self._taken = left[0], LEFT_OUT
        self._gone |= {name for name in names if name <= self._file}
        self.trouble = ""
        return f"{self._file}:{self._taken}"

    def _next(self) -> Path | None:
        """Return the next whole file, None as long as there is none."""
        files = self._files()
        late = [p.name for p in files if p.name < self._file and p.name not in self._gone]
        if late:
            self._gone.update(late)
            what = "must be the newest file: it was taken already"
            raise self._broken(what, f"{late[0]}, which comes before it by name")
        left = (p for p in files if p.name >= self._file and p.name not in self._gone)
        path = next(left, None)
        if path is None:
            self.trouble = "" if self._folder.is_dir() else f"{self._folder.name} is no folder"
            return None
        if not whole(path):
            self.trouble = f"{path.name} is not whole yet"
            return None
        self.trouble = ""
        return path

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        found = self._folder.glob("*.parquet")
        return sorted(p for p in found if p.name[0] not in "._" and p.is_file())

    def _broken(self, what: str, found: str) -> FeedBroken:
        self.trouble = f"{self._file}: {what}, found {found}"
        return FeedBroken(
            where=f"{self._folder.name}/{self._file}",
            what=what,
            found=found,
            hint="files are taken in the order of their names, and never change",
        )


def whole(path: Path) -> bool:
    """Tell whether a file begins and ends as a Parquet file does; the end is written last."""
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                return False
            size = file.seek(0, 2)
            file.seek(max(4, size - 4))
            return size >= 12 and file.read(4) == MAGIC
    except OSError:
        return False


def parsed(place: str) -> tuple[str, int]:
    """Return file and count of a place."""
    file, _, count = place.rpartition(":")
    assert file, f"no place in a folder: {place!r}"
    return file, int(count)
