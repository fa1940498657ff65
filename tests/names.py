"""A book of names and a reading, as views are given them."""

from typing import NamedTuple

from tidegate.domain.book import FIRST_USER
from tidegate.engine.state import State
from tidegate.safeguards.stack import Stack


class Names:
    def __init__(self, state: State) -> None:
        self._state = state

    def row(self, name: str) -> int:
        names = self._state.names
        return names.index(name) + FIRST_USER if name in names else -1

    def name(self, row: int) -> str:
        return self._state.names[row - FIRST_USER]

    @property
    def all(self) -> list[str]:
        return self._state.names


class Reading(NamedTuple):
    state: State
    stack: Stack
    names: Names
    head: int
    mode: str = "armed"
    epoch: int = 1
    leader: bool = True


def reading(state: State, stack: Stack) -> Reading:
    return Reading(state, stack, Names(state), state.seq - 1)
