"""The server's log: one JSON object a line (coloured text on a terminal), on standard error.

Nothing that a person wrote or read goes in: of an exception its type and place but not its message, of another
library's record its template but not its arguments, of a request its path but not its query.
"""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, merge_contextvars

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = structlog.stdlib.get_logger("usher.access")
_VALUES = re.compile(r"[\n<('\"]")


def configure_logs(level: int) -> None:
    """Set up structlog and the standard library's logging for this process: `logging.INFO` for a server, `WARNING`
    for a command, whose output is not a log."""
    on_terminal = sys.stderr.isatty()
    render = structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            place_of_error,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[OtherLibraries()], level=logging.WARNING, force=True)


def place_of_error(logger: object, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace an exception (`error=…` or `exc_info=…`) by its type and where it was raised, innermost last."""
    error = event.pop("exc_info", None) or event.get("error")
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["place"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)[-8:]]
    return event


class OtherLibraries(logging.Handler):
    """Carries other libraries' warnings into the log, without the values in them. asyncio writes them into the template
    itself ("Task exception was never retrieved", then the task with its exception): its words end before them."""

    def emit(self, record: logging.LogRecord) -> None:
        known = structlog.stdlib.get_logger(record.name)
        error = record.exc_info[1] if record.exc_info else None
        fields: dict[str, Any] = {"logger": record.name} | ({"error": error} if error else {})
        words = str(record.msg).strip()
        known.log(record.levelno, _VALUES.split(words, 1)[0] if record.name == "asyncio" else words, **fields)


class AccessLog:
    """ASGI middleware: a request id for every request, and one line when it has ended.

    The line has the path as it was sent (percent-encoded), never the query. Whoever authenticates the request binds
    the principal's pseudonym as `principal`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        clear_contextvars()
        bind_contextvars(request=request_id)
        status = 0
        began = time.perf_counter()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close":
                status = status or 403
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            took = round((time.perf_counter() - began) * 1000, 1)
            _log.info("request", method=scope.get("method", "WS"), path=_path(scope), status=status, ms=took)


def _path(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or b""
    return raw.partition(b"?")[0].decode("ascii", "backslashreplace")
