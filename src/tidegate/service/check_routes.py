"""The checks over HTTP: pre-trade answers, and trials of parameters with or without a proposal."""

import asyncio
from typing import Annotated, Final

import msgspec
import structlog
from msgspec import Meta

from tidegate.api.checks import (
    ParameterChange,
    PreTrade,
    PreTradeAnswer,
    ShadowAnswer,
    ShadowAsk,
    Window,
)
from tidegate.domain.errors import TidegateError
from tidegate.domain.events import Traded, Withdrawn
from tidegate.domain.units import Nanos
from tidegate.service.calls import Call, NotFound, Route
from tidegate.service.checks import LOOK_EVERY_S, Checks
from tidegate.service.desk import Desk as Governing
from tidegate.service.pretrade import Order
from tidegate.service.reading import Reading
from tidegate.service.runner import Busy
from tidegate.service.shadowrun import DONE, in_words


_LOG: Final = structlog.get_logger("tidegate.checks")


class Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which trials to list."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20


def routes() -> list[Route]:
    """Return the rows of pre-trade checks and of free-standing trials."""
    return [
        Route(
            "POST",
            "/v1/pretrade",
            pretrade,
            "Would this order be allowed, and what does it add to the venue's tail?",
            ask=PreTrade,
            answer=PreTradeAnswer,
            tag="checks",
        ),
        Route(
            "POST",
            "/v1/shadowruns",
            begin,
            "Try changes of parameters on the live book and on the last days.",
            role="governor",
            ask=ShadowAsk,
            answer=ShadowAnswer,
            status=202,
            tag="checks",
        ),
        Route(
            "GET",
            "/v1/shadowruns",
            listed,
            "The newest trials of this process, without their figures.",
            query=Page,
            answer=list[ShadowAnswer],
            tag="checks",
        ),
        Route(
            "GET",
            "/v1/shadowruns/{trial}",
            shown,
            "A trial, and how far it is.",
            answer=ShadowAnswer,
            tag="checks",
        ),
        Route(
            "DELETE",
            "/v1/shadowruns/{trial}",
            cancel,
            "End a trial that is not finished.",
            role="governor",
            answer=ShadowAnswer,
            tag="checks",
        ),
    ]


def proposal_routes() -> list[Route]:
    """Return the rows that try a proposal of the governance desk, and attach what was found."""
    under_way: set[asyncio.Task[None]] = set()  # a task that nobody holds may vanish
    trials: dict[str, str] = {}

    async def attached(call: Call, proposal: str, trial: str) -> None:
        found = await call.service.part(Checks).finished(trial)
        if found is None or found.status != DONE:
            return
        desk, words = call.service.part(Governing), in_words(found)
        while True:
            try:
                await desk.shadow(proposal, found.digest, words)
            except Busy:  # a trial takes hours: it is not given up for a queue that is full now
                await asyncio.sleep(LOOK_EVERY_S)
            except TidegateError as error:
                _LOG.warning("trial not attached", proposal=proposal, trial=trial, error=str(error))
                return
            else:
                return

    async def tried(call: Call) -> ShadowAnswer:
        proposal = call.path["id"]
        held = call.service.part(Governing).governance.proposals.get(proposal)
        if held is None:
            raise NotFound(proposal)
        changes = [ParameterChange(name=c.name, value=c.value) for c in held.body.changes]
        asked = ShadowAsk(changes=changes, days=call.body.days, step_s=call.body.step_s)
        found = await call.service.part(Checks).shadow(asked)
        trials[proposal] = found.trial
        task = asyncio.create_task(attached(call, proposal, found.trial))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        return found

    async def seen(call: Call) -> ShadowAnswer:
        found = call.service.part(Checks).runs.get(trials.get(call.path["id"], ""))
        if found is None:
            raise NotFound(call.path["id"])
        return found

    return [
        Route(
            "POST",
            "/v1/proposals/{id}/shadow",
            tried,
            "Try a proposal on the live book and on the last days; the digest is attached to it.",
            role="governor",
            ask=Window,
            answer=ShadowAnswer,
            status=202,
            tag="governance",
        ),
        Route(
            "GET",
            "/v1/proposals/{id}/shadow",
            seen,
            "The newest trial of a proposal, and how far it is.",
            answer=ShadowAnswer,
            tag="governance",
        ),
    ]


async def pretrade(call: Call) -> PreTradeAnswer:
    """Judge one order; names are looked up where it is judged, on the crank's thread."""
    prepared = call.service.door.prepare(call.body.order)

    def order_of(reading: Reading) -> Order:
        now = reading.state.now
        order = prepared.build(reading.names, Nanos(now if prepared.ts is None else prepared.ts))
        assert isinstance(order, Traded | Withdrawn)
        return order

    return await call.service.part(Checks).pretrade(order_of)


async def begin(call: Call) -> ShadowAnswer:
    """Begin a trial, or return the one that was asked for before."""
    return await call.service.part(Checks).shadow(call.body)


async def listed(call: Call) -> list[ShadowAnswer]:
    """Return the newest trials, the newest first."""
    found = call.service.part(Checks).runs.all()[-call.query.limit :][::-1]
    return [msgspec.structs.replace(answer, live=None, past=None) for answer in found]


async def shown(call: Call) -> ShadowAnswer:
    """Return one trial."""
    return _there(call, call.service.part(Checks).runs.get(call.path["trial"]))


async def cancel(call: Call) -> ShadowAnswer:
    """End one trial."""
    return _there(call, call.service.part(Checks).runs.cancel(call.path["trial"]))


def _there(call: Call, answer: ShadowAnswer | None) -> ShadowAnswer:
    if answer is None:
        raise NotFound(call.path["trial"])
    return answer
