"""The checks beside a running engine: pre-trade answers, fresh bases, and trials of parameters."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import structlog

from tidegate.api.checks import PreTradeAnswer, ShadowAnswer, ShadowAsk
from tidegate.engine.state import State
from tidegate.lab.marginal import copy_for_base
from tidegate.service.pretrade import Desk, Look, Order, look
from tidegate.service.pretrade_say import answered
from tidegate.service.reading import Reading
from tidegate.service.runner import Busy, Stopped
from tidegate.service.shadowrun import RUNNING, WAITING, ShadowRuns


T = TypeVar("T")
LOOK_EVERY_S = 1.0  # how often the base is asked for its age, and a trial for its end
JUDGING_MAX: Final = 64
UNDER_WAY = {WAITING, RUNNING}

_LOG: Final = structlog.get_logger("tidegate.checks")


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
        self._judging = 0  # orders
        self._one = (
            asyncio.Lock()
        )  # one trial at a time begins, each with a copy of the book

    async def pretrade(self, order_of: Callable[[Reading], Order]) -> PreTradeAnswer:
        """Judge one order. ``order_of`` turns names into rows, on the crank thread.

        Raise Busy where `JUDGING_MAX` others are judged: what waits is bounded, as for events.
        """

        def read(seen: Reading) -> tuple[Look, list[str]]:
            state = seen.state
            found = look(state, seen.stack, order_of(seen))
            # Names are only ever added: the list may be read by row while it grows.
            return found, state.names

        if self._judging >= JUDGING_MAX:
            msg = f"{self._judging} orders are being judged; ask again later"
            raise Busy(msg)
        self._judging += 1
        try:
            found, names = await self._engine.ask(read)
            return await asyncio.to_thread(answered, self.desk, found, names)
        finally:
            self._judging -= 1

    async def shadow(self, asked: ShadowAsk) -> ShadowAnswer:
        """Put changes on trial: the live book at once, the last days as far as they are."""

        def read(seen: Reading) -> State:
            return copy_for_base(seen.state)

        async with self._one:
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
        """Keep the base fresh until cancelled, or until the engine stops.

        A base that cannot be made must not end the engine beside it: it is logged, the one before
        grows too old, and limits that rest on it are taken as the settings say.
        """
        while True:
            try:
                await self.refresh()
            except Stopped:
                raise
            except Exception:  # noqa: BLE001 (what only advises must not end what it advises)
                _LOG.exception("no base for pre-trade checks")
            await asyncio.sleep(LOOK_EVERY_S)
