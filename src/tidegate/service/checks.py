"""The checks beside a running engine: pre-trade answers, fresh bases, and trials of parameters."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from tidegate.api.checks import PreTradeAnswer, ShadowAnswer, ShadowAsk
from tidegate.engine.state import State
from tidegate.safeguards.stack import Stack
from tidegate.service.pretrade import Desk, Look, Order, look
from tidegate.service.pretrade_say import answered
from tidegate.service.shadowrun import ShadowRuns


T = TypeVar("T")
LOOK_EVERY_S = 1.0  # how often the base is asked for its age


class Seen(Protocol):
    """What a read may look at on the crank thread."""

    @property
    def state(self) -> State:
        """The state after the last record; nothing of it may be kept."""
        ...

    @property
    def stack(self) -> Stack:
        """The stack it is governed by."""
        ...


R = TypeVar("R", bound=Seen)
R_co = TypeVar("R_co", bound=Seen, covariant=True)


class Asked(Protocol[R_co]):
    """The engine, as the checks need it: reads between two batches."""

    def ask(self, read: Callable[[R_co], T]) -> Awaitable[T]:
        """Run ``read`` on the crank thread and return what it returns."""
        ...


class Checks(Generic[R]):
    """Pre-trade checks and trials over one engine; `keep` runs beside it as long as it does."""

    def __init__(self, engine: Asked[R], desk: Desk, runs: ShadowRuns) -> None:
        self.desk, self.runs = desk, runs
        self._engine = engine

    async def pretrade(self, order_of: Callable[[R], Order]) -> PreTradeAnswer:
        """Judge one order. ``order_of`` turns names into rows, on the crank thread."""

        def read(seen: R) -> tuple[Look, list[str]]:
            state = seen.state
            found = look(state, seen.stack, order_of(seen))
            # Names are only ever added: the list may be read by row while it grows.
            return found, state.names

        found, names = await self._engine.ask(read)
        return await asyncio.to_thread(answered, self.desk, found, names)

    async def shadow(self, asked: ShadowAsk) -> ShadowAnswer:
        """Put changes on trial: the live book at once, the last days as far as they are."""

        def read(seen: R) -> bytes:
            return seen.state.dump()

        dump = await self._engine.ask(read)
        return await asyncio.to_thread(self.runs.ask, asked, dump)

    async def refresh(self) -> bool:
        """Make a new base if one is due; return whether one was made."""

        def read(seen: R) -> State | None:
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
