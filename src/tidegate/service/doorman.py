"""What answers before there is anything behind it: while a process stands by, or is starting."""

from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.service.asgi import Refusal, refuse


ALIVE: Final = "/healthz"
BESIDE: Final = frozenset({"/readyz", "/metrics"})


class Doorman:
    """Passes everything on to ``inner`` as soon as there is one; until then says why there is none.

    ``/healthz`` answers 200 meanwhile: a process that waits is in good health.
    """

    def __init__(self, why: str = "starting") -> None:
        self.inner: ASGIApp | None = None
        self.beside: ASGIApp | None = None  # what a standby shows of itself, `ops_routes`
        self.why = why
        self.leave: Callable[[], None] = _nobody  # lets go of whoever stays connected for long
        self.reload: Callable[[], object] = _nobody  # reads the key file again

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif self.inner is not None:
            await self.inner(scope, receive, send)
        elif self.beside and scope["type"] == "http" and scope["path"] in BESIDE:
            await self.beside(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == ALIVE:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": self.why.encode()})
        else:
            hint = "ask again, or ask the leader"
            no = Refusal(503, "not_leading", self.why, hint, retry_after_s=1.0)
            await refuse(no, scope, receive, send)


def _nobody() -> None:
    pass


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
