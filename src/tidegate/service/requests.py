"""What waits for the crank: requests and reads, and how a batch of requests becomes events."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import msgspec

from tidegate.api.answers import Taken
from tidegate.domain.events import Input
from tidegate.domain.units import Nanos
from tidegate.engine.state import State
from tidegate.ports import Receipt, Record
from tidegate.service.door import Prepared
from tidegate.service.reading import Names, Reading


@dataclass(slots=True)
class Request:
    """Events that belong together, and whoever waits for them to be durable."""

    asks: Sequence[Prepared | Input]
    source: str
    key: str
    digest: str
    arrived: Nanos
    begun: float
    kept: object  # by the observer
    alone: bool  # see `Prepared`, as ``opens``
    opens: Sequence[str]
    answer: "Future[Taken]" = field(default_factory=Future[Taken])
    taken: Taken | None = None


@dataclass(slots=True)
class Read:
    """Something to be looked at between two batches."""

    read: Callable[[Reading], object]
    answer: "Future[object]" = field(default_factory=Future[object])


@dataclass(slots=True)
class Batch:
    """Some requests on their way through the crank; see `drivers.live.Intake`."""

    requests: list[Request]
    first: int
    names: Names
    state: State
    ends: list[int] = field(default_factory=list[int])  # records after each request, in all

    def events(self) -> Iterator[Input]:
        """See `Intake`."""
        n = 0
        for request in self.requests:
            for ask in request.asks:
                yield self._event(ask, request.arrived)
                n += 1
            self.ends.append(n)

    def _event(self, ask: Prepared | Input, arrived: Nanos) -> Input:
        # What happened earlier and is heard only now is dated to now: the crank's time never
        # runs backwards. A price keeps the time at which it was published.
        now = self.state.now
        if isinstance(ask, Prepared):
            return ask.build(self.names, Nanos(max(arrived if ask.ts is None else ask.ts, now)))
        return ask if ask.ts >= now else msgspec.structs.replace(ask, ts=Nanos(now))

    def whole(self, records: int) -> int:
        """See `Intake`."""
        return max((end for end in self.ends if end <= records), default=0)

    def receipts(self, records: Sequence[Record]) -> Sequence[Receipt]:
        """See `Intake`."""
        return [
            Receipt(r.source, r.key, self.first + begin, self.first + end - 1, r.digest)
            for r, begin, end in self.spans(len(records))
            if r.key
        ]

    def spans(self, records: int) -> Iterator[tuple[Request, int, int]]:
        """Yield each complete request with its first record and the one after its last."""
        begin = 0
        for request, end in zip(self.requests, self.ends, strict=False):
            if end <= records:
                yield request, begin, end
            begin = end
