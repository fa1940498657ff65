"""A reading, as views are given it, of a state that nobody turns."""

from tidegate.engine.state import State
from tidegate.safeguards.stack import Stack
from tidegate.service.reading import Names, Reading


def reading(state: State, stack: Stack) -> Reading:
    at = {"mode": "armed", "epoch": 1, "leader": True, "waiting": 0}
    return Reading(state, stack, Names(state), state.seq - 1, **at)
