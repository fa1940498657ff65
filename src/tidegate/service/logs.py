"""Logs: one JSON object a line for machines, colours on a terminal, and nothing secret in either.

Everything goes through one chain, the lines of uvicorn and of other libraries too. What a caller
sent is never logged; what remains is struck through for tokens, tickets and passwords in addresses.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

from tidegate.service.audit import Event, without_secrets


LOUD: Final = ("uvicorn.access", "httpx", "httpcore", "nats")  # at information level
_PASSWORD: Final = re.compile(r"(?<=://)([^\s/@:]*):[^\s/@]+@")
_TICKET: Final = re.compile(r"\b((?:ticket|token|password|api_?key)=)[^\s&\"']+", re.IGNORECASE)


def without_passwords(_logger: object, _method: str, event: Event) -> Event:
    """Strike out passwords in addresses, and tickets in queries; a processor of structlog."""
    for name, value in event.items():
        event[name] = _clean(value)
    return event


def _clean(value: Any) -> Any:  # noqa: ANN401 - a log line holds anything
    if isinstance(value, str):
        return _TICKET.sub(r"\1***", _PASSWORD.sub(r"\1:***@", value))
    if isinstance(value, Mapping):
        return {k: _clean(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType] - anything
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]  # pyright: ignore[reportUnknownVariableType] - anything
    if isinstance(value, BaseException):
        return _clean(repr(value))
    return value


def configure(
    *, stream: TextIO | None = None, machine: bool | None = None, level: str = "INFO"
) -> None:
    """Send every log line of this process through one chain; called once, by whoever starts it.

    ``machine`` chooses JSON; None: unless ``stream`` is a terminal. uvicorn must be told
    ``log_config=None``, or it would set up its own.
    """
    out = sys.stderr if stream is None else stream
    machine = not out.isatty() if machine is None else machine
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # tests and restarts set it up anew
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _plain,
                structlog.processors.format_exc_info,
                without_secrets,
                without_passwords,
                _renderer(machine=machine),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        one = logging.getLogger(name)
        one.handlers, one.propagate = [], True
        one.setLevel(logging.NOTSET)
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)


def _plain(_logger: object, _method: str, event: Event) -> Event:
    event.pop("color_message", None)  # uvicorn's line once more, with colours
    return event


def _renderer(*, machine: bool) -> Processor:
    if machine:
        return structlog.processors.JSONRenderer(serializer=_line)
    plain = structlog.dev.plain_traceback
    return structlog.dev.ConsoleRenderer(exception_formatter=plain, timestamp_key="at")


def _line(event: Event, **_: object) -> str:
    # `default=repr`: a log line never fails for what is in it.
    return json.dumps(event, default=repr, separators=(",", ":"))
