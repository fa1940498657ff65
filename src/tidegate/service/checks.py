"""The checks beside a running engine: pre-trade answers, fresh bases, and trials of parameters."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from tidegate.api.checks import PreTradeAnswer, ShadowAnswer, ShadowAsk
from tidegate.engine.state import State
from tidegate.lab.marginal import copy_for_base
from tidegate.service.pretrade import Desk, Look, Order, look
from tidegate.service.pretrade_say import answered
from tidegate.service.reading import Reading
from tidegate.service.shadowrun import RUNNING, WAITING, ShadowRuns


T = TypeVar("T")
LOOK_EVERY_S = 1.0  # how often the base is asked for its age, and a trial for its end
UNDER_WAY = {WAITING, RUNNING}


class Asked(Protocol):
    """The engine, as the checks need it: reads between two batches."""

    def ask(self, read: Callable[[Reading], T]) -> Awaitable[T]:
        """Run ``read`` on the crank thread and return what it returns."""
        ...


class Checks:
    """Pre-trade checks and trials over one engine; `keep` runs beside it as long as it does."""

    def __init__(self, engine: Asked, desk: Desk, runs: ShadowRuns) -> None:
        self.desk, self.runs = desk, runs
        self._engine = engine

    async def pretrade(self, order_of: Callable[[Reading], Order]) -> PreTradeAnswer:
        """Judge one order. ``order_of`` turns names into rows, on the crank thread."""

        def read(seen: Reading) -> tuple[Look, list[str]]:
            state = seen.state
            found = look(state, seen.stack, order_of(seen))
            # Names are only ever added: the list may be read by row while it grows.
            return found, state.names

        found, names = await self._engine.ask(read)
        return await asyncio.to_thread(answered, self.desk, found, names)

    async def shadow(self, asked: ShadowAsk) -> ShadowAnswer:
        """Put changes on trial: the live book at once, the last days as far as they are."""

        def read(seen: Reading) -> State:
            return copy_for_base(seen.state)

        book = await self._engine.ask(read)
        return await asyncio.to_thread(self.runs.ask, asked, book)

    async def finished(self, trial: str) -> ShadowAnswer | None:
        """Wait until a trial is done, failed or cancelled; None for one that is not known."""
        # It ends in another process: nobody here could set an event.
        while (found := self.runs.get(trial)) and found.status in UNDER_WAY:  # noqa: ASYNC110 - ditto
            await asyncio.sleep(LOOK_EVERY_S)
        return found

    async def refresh(self) -> bool:
        """Make a new base if one is due; return whether one was made."""

        def read(seen: Reading) -> State | None:
            return self.desk.copy_if_due(seen.state)

        copy = await self._engine.ask(read)
        if copy is None:
            return False
        await asyncio.to_thread(self.desk.renew, copy)
        return True

    async def keep(self) -> None:
        """Keep the base fresh until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(LOOK_EVERY_S)
