"""Whether every source still speaks: a silent feed looks just like a calm market."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tidegate.domain.events import DepthObserved, PriceObserved
from tidegate.domain.venue import Venue
from tidegate.ports import Alerts, Record


SILENT: Final = "feed_silent"
AFTER_S: Final = 10.0
DEPTH: Final = "depth"


class Silence:
    """Listens to records, and tells once for each silence which source has said nothing.

    Parameters
    ----------
    sources
        Who must speak: pairs of instrument and source, see `expected`. What has not spoken since
        the start counts from the start.
    after_s
        How long a silence may be.
    """

    def __init__(
        self,
        sources: Iterable[tuple[str, str]],
        venue: Venue,
        alerts: Alerts,
        *,
        after_s: float = AFTER_S,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        begun = steady()
        self._heard = dict.fromkeys(sources, begun)
        self._symbols = [i.symbol for i in venue.instruments]
        self._sources = list(venue.sources)
        self._alerts, self._after_s, self._steady = alerts, after_s, steady
        self._lock = threading.Lock()
        self._silent: set[tuple[str, str]] = set()

    def listen(self, records: Sequence[Record], _reading: object = None) -> None:
        """Hear what became durable: a listener of the engine, on its thread."""
        spoke: set[tuple[str, str]] = set()
        for record in records:
            event = record.event
            if isinstance(event, PriceObserved):
                if 0 <= event.source < len(self._sources):
                    spoke.add((self._symbol(event.instrument), self._sources[event.source]))
            elif isinstance(event, DepthObserved):
                spoke.add((self._symbol(event.instrument), DEPTH))
        if spoke:
            now = self._steady()
            with self._lock:
                for source in spoke & self._heard.keys():
                    self._heard[source] = now

    def check(self) -> list[tuple[str, str]]:
        """Return who is silent now; tell of those who were not at the last look."""
        now = self._steady()
        with self._lock:
            since = {s: now - heard for s, heard in self._heard.items()}
            silent = {s for s, age in since.items() if age >= self._after_s}
            fresh, self._silent = silent - self._silent, silent
        for symbol, source in sorted(fresh):
            detail = f"{source} has said nothing of {symbol} for {since[symbol, source]:.0f} s"
            self._alerts.raised(SILENT, detail)
        return sorted(silent)

    def ages(self) -> dict[tuple[str, str], float]:
        """Return how long ago each source spoke, in seconds."""
        now = self._steady()
        with self._lock:
            return {source: now - heard for source, heard in self._heard.items()}

    def _symbol(self, instrument: int) -> str:
        inside = 0 <= instrument < len(self._symbols)
        return self._symbols[instrument] if inside else ""


def expected(venue: Venue, *, depth: bool = False) -> list[tuple[str, str]]:
    """Return every source of prices for every instrument, and the order books if asked for."""
    sources = [*venue.sources, *([DEPTH] if depth else [])]
    return [(i.symbol, source) for i in venue.instruments for source in sources]
