"""Says what is being compiled while it is, so that a first run is not taken for a standstill."""

# The library that compiles has no types.
# pyright: reportUnknownMemberType=false

import time
from collections.abc import Callable
from typing import Any, Final

from numba.core import event


SAID_EVERY: Final = 2.0  # seconds between two lines


class Compiling(event.Listener):
    """Hears of every kernel that is compiled; what comes from the cache is not heard of.

    A kernel is compiled with those it calls: seconds are those of the outermost, counted are ours.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self.kernels = 0
        self.seconds = 0.0
        self._say, self._clock = say, clock
        self._begun: list[float] = []
        self._said = -SAID_EVERY

    def on_start(self, event: Any) -> None:  # noqa: ANN401 - numba's event
        """Take the time, and say what is compiled when it was not said for a while."""
        now = self._clock()
        self._begun.append(now)
        function = event.data["dispatcher"].py_func
        if not function.__module__.startswith("tidegate."):
            return
        self.kernels += 1
        if now - self._said < SAID_EVERY:
            return
        self._said = now
        spent = self.seconds + now - self._begun[0]
        room, name = function.__module__.rpartition(".")[2], function.__name__
        self._say(f"compiling kernel {self.kernels}, {room}.{name}; {spent:.0f} s so far")

    def on_end(self, event: Any) -> None:  # noqa: ANN401 - ditto
        """Count the time of what nobody else was compiled for."""
        del event
        begun = self._begun.pop()
        if not self._begun:
            self.seconds += self._clock() - begun


def listen(say: Callable[[str], None]) -> Compiling:
    """Say from now on what is compiled in this process; one listener does for all of it."""
    listener = Compiling(say, time.monotonic)
    event.register("numba:compile", listener)
    return listener
