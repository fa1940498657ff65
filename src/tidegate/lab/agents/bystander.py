"""What populations without a hidden aim share: honest sources, and nothing to report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tidegate.domain.events import Input
from tidegate.domain.units import Nanos
from tidegate.lab.population import Desk


@dataclass(slots=True, kw_only=True)
class Bystander:
    """A population that minds its own business. Its streams begin with its name.

    Two populations of one kind in one crowd need two names, or they draw the same lots.
    """

    name: str
    desk: Desk = field(init=False)

    def begin(self, desk: Desk) -> Iterator[Input]:
        """Take a place and draw who is there."""
        self.desk = desk
        yield from self.gather()

    def gather(self) -> Iterator[Input]:
        """Draw the columns; say what happens right after the opening."""
        yield from ()

    def act(self, step: int, now: Nanos) -> Iterator[Input]:
        """Do nothing, if not said otherwise."""
        del step, now
        yield from ()

    def said(self, step: int, instrument: int, source: int, ticks: int) -> int:
        """Leave every price as it is."""
        del step, instrument, source
        return ticks

    def profit(self) -> Mapping[str, int]:
        """Report nothing: it has no aim that a stack could be judged by."""
        return {}

    def stream(self, column: str) -> str:
        """Return the name of a column's stream."""
        return f"{self.name}.{column}"
