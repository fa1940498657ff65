"""The folder of recordings: what lies below it and may be replayed, each proved once."""

from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

from tidegate.api.replaying import RecordingNow, RecordingRefused
from tidegate.domain.errors import TidegateError
from tidegate.domain.venue import Venue
from tidegate.drivers.recording import load
from tidegate.drivers.recording_schema import VENUE_FILE
from tidegate.service.calls import NotFound


DEPTH_MAX: Final = 3  # folders below the one that was named
RECORDINGS_MAX: Final = 200
BYTES_MAX: Final = 4 * 2**30  # of one recording: its columns are read whole


class Held(NamedTuple):
    """One recording that was proved."""

    path: Path
    now: RecordingNow
    venue: Venue


class Recordings:
    """Recordings below one folder. Names come from looking, so that none leads out of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._known: dict[str, tuple[object, Held | RecordingRefused]] = {}

    def look(self) -> tuple[list[RecordingNow], list[RecordingRefused]]:
        """Return what is there and what of it is refused, by name; reads what has changed."""
        with self._lock:
            found = self._all()
        held = [one.now for one in found if isinstance(one, Held)]
        return held, [one for one in found if isinstance(one, RecordingRefused)]

    def get(self, name: str) -> Held:
        """Return a recording by its name; raise NotFound, or TidegateError for a bad one."""
        with self._lock:
            self._all()
            known = self._known.get(name)
        if known is None:
            msg = f"no recording {name!r} lies in the folder of recordings"
            raise NotFound(msg)
        _, one = known
        if isinstance(one, RecordingRefused):
            raise TidegateError(one.error)
        return one

    def _all(self) -> list[Held | RecordingRefused]:
        root = self._folder.resolve()
        fresh: dict[str, tuple[object, Held | RecordingRefused]] = {}
        for path in self._folders(root):
            name = path.relative_to(root).as_posix()
            files = [f for f in sorted(path.iterdir()) if f.is_file()]
            stats = [(f.name, f.stat()) for f in files]
            mark = [(n, s.st_size, s.st_mtime_ns) for n, s in stats]
            known = self._known.get(name)
            if known is None or known[0] != mark:
                known = (mark, _proved(path, name, sum(s.st_size for _, s in stats)))
            fresh[name] = known
        self._known = fresh
        return [one for _, one in fresh.values()]

    def _folders(self, root: Path) -> list[Path]:
        found: list[Path] = []
        waiting = [(root, 0)]
        while waiting and len(found) < RECORDINGS_MAX:
            here, depth = waiting.pop()
            if depth and (here / VENUE_FILE).is_file():
                found.append(here)
            elif depth < DEPTH_MAX and here.is_dir():
                below = sorted((p for p in here.iterdir() if p.is_dir()), reverse=True)
                # A link that leads elsewhere is not below this folder.
                waiting += [(p, depth + 1) for p in below if not p.is_symlink()]
        return found


def _proved(path: Path, name: str, size: int) -> Held | RecordingRefused:
    if size > BYTES_MAX:
        error = f"{size:,} bytes; a recording that is replayed here has at most {BYTES_MAX:,}"
        return RecordingRefused(name=name, error=error)
    try:
        recording = load(path)
    except (TidegateError, OSError) as error:
        return RecordingRefused(name=name, error=str(error))
    now = RecordingNow(
        name=name,
        venue=recording.venue.name,
        digest=recording.digest,
        accounts=len(recording.names),
        events=recording.n_events,
        begin=recording.begins,
        end=recording.ends,
    )
    return Held(path, now, recording.venue)
