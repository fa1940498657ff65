"""Everything that the parts of a running service share."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from tidegate.service.door import Door
from tidegate.service.runner import Engine


T = TypeVar("T")


@dataclass(slots=True)
class Service:
    """The engine and the parts around it; a part is found by its class."""

    engine: Engine
    door: Door
    parts: dict[type[Any], Any] = field(default_factory=dict[type[Any], Any])

    def add(self, part: T) -> T:
        """Keep a part; it is found by its own class."""
        self.parts[type(part)] = part
        return part

    def part(self, kind: type[T]) -> T:
        """Return the part of this class; raise KeyError when this service has none."""
        return self.parts[kind]

    def has(self, kind: type[Any]) -> bool:
        """Return whether this service has such a part."""
        return kind in self.parts
