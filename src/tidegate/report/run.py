"""What a report needs to know of one run; `drivers.replay.Run` is one, and so is anything alike."""

from typing import Protocol

from tidegate.drivers.casualties import Casualties
from tidegate.drivers.series import Series
from tidegate.drivers.verdict import Verdict
from tidegate.safeguards.stack import Stack


class Run(Protocol):
    """One stack's passage through a recording."""

    @property
    def name(self) -> str:
        """What the stack is called in tables and pictures."""
        ...

    @property
    def stack(self) -> Stack:
        """The stack, bound to the recording's venue."""
        ...

    @property
    def verdict(self) -> Verdict:
        """The numbers."""
        ...

    @property
    def series(self) -> Series:
        """The numbers over time."""
        ...

    @property
    def casualties(self) -> Casualties:
        """Who was hit."""
        ...

    @property
    def digest(self) -> str:
        """The state at the end."""
        ...

    @property
    def events(self) -> int:
        """How many events were stepped through."""
        ...
