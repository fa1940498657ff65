"""The audit log: who did what from where, and what was refused; one JSON line each, no secrets.

It answers "who tried", also where nothing came of it. What was taken is proved by the journal: its
receipts name the key under ``source``. A stream of events over one WebSocket is two lines here, its
opening and its end with a count, and one record per event there.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, MutableMapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.service.asgi import IDENTITY, MUTED, address, header
from tidegate.service.auth import Identity, scrubbed


LOST: Final = "audit_lost"  # the alert for what `AuditLog` tells
FILE_MAX: Final = 64 * 2**20
FILES_MAX: Final = 16
REFUSED: Final[frozenset[int]] = frozenset({401, 403, 408, 413, 415, 429})
TEXT_MAX: Final = 256

Event = MutableMapping[str, Any]


def without_secrets(_logger: object, _method: str, event: Event) -> Event:
    """Strike out tokens in every text of a log line, at any depth; a processor of structlog."""
    for name, value in event.items():
        event[name] = _clean(value)
    return event


def _clean(value: Any) -> Any:  # noqa: ANN401 - a log line holds anything
    if isinstance(value, str):
        return scrubbed(value)
    if isinstance(value, bytes):
        return scrubbed(value.decode("utf-8", "replace"))
    if isinstance(value, Mapping):
        return {_clean(k): _clean(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType] - anything
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]  # pyright: ignore[reportUnknownVariableType] - anything
    return value


class AuditLog:
    """Append-only lines in a file of the operator's, rotated by size.

    A line that cannot be written (a full disk) stops nobody: the journal is what must not be lost.
    ``troubled`` is told, once until a line can be written again.
    """

    def __init__(
        self,
        path: Path,
        *,
        troubled: Callable[[str], None] = lambda _: None,
        file_max: int = FILE_MAX,
        files_max: int = FILES_MAX,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._handler = _File(path, troubled, file_max, files_max)
        # A logger of its own, known to nobody: what others set up for logging has no say here.
        lines = logging.Logger("tidegate.audit", logging.INFO)  # noqa: LOG001 - see above
        lines.addHandler(self._handler)
        self._log = structlog.wrap_logger(
            lines,
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
                without_secrets,
                structlog.processors.JSONRenderer(serializer=_line),
            ],
            wrapper_class=structlog.BoundLogger,
            cache_logger_on_first_use=True,
        )

    def __repr__(self) -> str:
        return f"AuditLog({self._handler.baseFilename})"

    def write(self, what: str, **facts: object) -> None:
        """Append one line."""
        self._log.info(what, **facts)

    def close(self) -> None:
        """Close the file; every line was already handed to the system."""
        self._handler.close()


class _File(RotatingFileHandler):
    def __init__(
        self, path: Path, troubled: Callable[[str], None], file_max: int, files_max: int
    ) -> None:
        super().__init__(path, maxBytes=file_max, backupCount=files_max, encoding="utf-8")
        self._troubled, self._told = troubled, False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.shouldRollover(record):
                self.doRollover()
                Path(self.baseFilename).chmod(0o600)
            logging.FileHandler.emit(self, record)
        except OSError:
            self.handleError(record)
        else:
            self._told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of logging
        del record
        if not self._told:
            self._told = True
            self._troubled(f"{self.baseFilename}: a line could not be written")


def _line(event: Event, **_: object) -> str:
    # `default=repr`: a log line never fails for what is in it.
    return json.dumps(event, default=repr, separators=(",", ":"))


class Audit:
    """The layer that writes the lines: outside of whatever may refuse, inside of safe headers."""

    def __init__(
        self, app: ASGIApp, *, log: AuditLog, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._log, self._steady = app, log, steady

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, and write down what became of it if that is of interest."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, status = self._steady(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            reading = scope["method"] in ("GET", "HEAD", "OPTIONS")
            if not scope.get(MUTED) and (status in REFUSED or not reading):
                took = self._steady() - begun
                self._log.write(
                    "request",
                    **_asked(scope, scope["method"]),
                    status=status or 500,
                    outcome=_outcome(status),
                    ms=round(took * 1000, 1),
                )

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, code, accepted, heard = self._steady(), 1006, False, 0

        async def receiving() -> Message:
            nonlocal heard, code
            message = await receive()
            if message["type"] == "websocket.receive":
                heard += 1
            elif message["type"] == "websocket.disconnect":
                code = message.get("code", 1005)
            return message

        async def sending(message: Message) -> None:
            nonlocal accepted, code
            kind = message["type"]
            if kind == "websocket.accept":
                accepted = True
                self._log.write("socket_opened", **_asked(scope, "WS"))
            elif kind == "websocket.close":
                code = message.get("code", 1000)
            elif kind == "websocket.http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receiving, sending)
        finally:
            if accepted:
                took = round(self._steady() - begun, 3)
                said = {"code": code, "messages": heard, "seconds": took}
                self._log.write("socket_closed", **_asked(scope, "WS"), **said)
            elif not scope.get(MUTED):
                self._log.write("socket_refused", **_asked(scope, "WS"), code=code)


def _asked(scope: Scope, method: str) -> dict[str, object]:
    """Return who asked for what; the query is left out: a ticket may be in it."""
    identity: Identity | None = scope.get(IDENTITY)
    said: dict[str, object] = {
        "method": method,
        "path": scope["path"][:TEXT_MAX],
        "from": address(scope),
        "key": identity.id if identity else None,
        "name": identity.name if identity else None,
    }
    once = header(scope, b"idempotency-key")
    if once is not None:
        said["idempotency_key"] = once[:TEXT_MAX].decode("latin-1")
    return said


def _outcome(status: int) -> str:
    if status in REFUSED:
        return "refused"
    return "done" if 200 <= status < 400 else "failed"
