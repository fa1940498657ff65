"""One path through the true engine: a book, one path of weather, who acts in it, and a stack."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from tidegate.domain.events import Input, PriceObserved
from tidegate.domain.units import Nanos, Ticks
from tidegate.domain.venue import Venue
from tidegate.drivers.replay import Observer, Replay
from tidegate.drivers.streams import Streams
from tidegate.drivers.verdict import Meter
from tidegate.lab.opening import Opening
from tidegate.lab.outcome import Outcome
from tidegate.lab.population import Desk, Population, ticks_at
from tidegate.lab.weather import Weather
from tidegate.safeguards.stack import SafeguardStack, Stack


@dataclass(slots=True)
class _History:
    """The exogenous events of one path, made as the replay asks for them: agents see its state."""

    opening: Opening
    venue: Venue
    weather: Weather
    crowd: Sequence[Population]
    desk: Desk = field(init=False)

    def events(self, *, shadow: bool = False) -> Iterator[Input]:
        """Yield the book, the opening prices, and then step by step what agents and prices do."""
        del shadow
        begins = self.opening.book.ts
        yield self.opening.book
        self._show(0)
        yield from self._prices(0, Nanos(begins))
        yield from self.opening.commitments
        for population in self.crowd:
            yield from _dated(population.begin(self.desk), Nanos(begins))
        for step in range(1, self.weather.steps + 1):
            now = Nanos(begins + step * self.weather.step_ns)
            self.desk.turning.until(now)  # into the book that was shown until now
            self._show(step)
            for population in self.crowd:
                yield from _dated(population.act(step, now), now)
            yield from self._prices(step, now)

    def _show(self, step: int) -> None:
        for i, share in enumerate(self.weather.depth[0, step].tolist()):
            self.desk.market.show(i, share)

    def _prices(self, step: int, now: Nanos) -> Iterator[Input]:
        ticks = ticks_at(self.opening, self.weather, step).tolist()
        for i, fair in enumerate(ticks):
            for source in range(len(self.venue.sources)):
                price = fair
                for population in self.crowd:
                    price = population.said(step, i, source, price)
                yield PriceObserved(
                    ts=now, instrument=i, source=source, price=Ticks(price), published=now
                )


def _dated(events: Iterable[Input], now: Nanos) -> Iterator[Input]:
    for event in events:
        yield event if event.ts == now else msgspec.structs.replace(event, ts=now)


def turn(
    opening: Opening,
    declaration: SafeguardStack,
    weather: Weather,
    *,
    root: int,
    path: int,
    crowd: Sequence[Population] = (),
    impact: bool = True,
    observers: Sequence[Observer] = (),
) -> Outcome:
    """Return what came of one path: ``weather`` holds it alone, ``path`` is its number.

    The venue's lots come from `Streams(root, path)`: two stacks meet the same latency, faults and
    keepers. ``impact`` false leaves out what forced trades do to prices. The clock ticks once a
    step of the weather: a world of long steps is a coarse one.
    """
    assert weather.price.shape[0] == 1, "one path at a time"
    venue = msgspec.structs.replace(opening.venue, step_ns=Nanos(weather.step_ns))
    stack = Stack.bind(declaration, venue)
    history = _History(opening, venue, weather, crowd)
    meter = Meter(stack)
    turning = Replay(
        recording=history,
        stack=stack,
        impact=impact,
        observers=[meter.observe, *observers],
        streams=Streams(root=root, path=path),
    )
    history.desk = Desk(opening, weather, Streams(root=root, path=path), turning)
    turning.run()
    profits: dict[str, int] = {}
    for population in crowd:
        profits.update(population.profit())
    verdict = meter.verdict(turning.state)
    return Outcome.of(path, verdict, meter.casualties.deficit, profits)
