"""The process: it owns the data folder, listens on a TCP port and on the operator's socket, and ends cleanly.

A command of the CLI that finds no server runs the same thing without the port, for as long as it needs it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn

from usher.connections import Connections, allow_many_files
from usher.data_folder import hold, socket_address
from usher.errors import UserError
from usher.logs import AccessLog, configure_logs
from usher.protocol import OperatorProtocol, Protocol
from usher.settings import Settings
from usher.websocket_protocol import OPTIONS, WebSocketProtocol

if TYPE_CHECKING:
    from litestar import Litestar

GRACE = 4
"""Seconds that requests get to end after their streams were told to."""
LAST_RESORT = 9.0
"""Seconds after a stop signal when the process ends whatever is left: what was acknowledged is durable already."""

SWITCH_SECONDS = 0.0005
"""How long a thread computes on while another wants its turn: the ledger's takes many short ones for each commit, and
the first word of an answer waits for two commits."""

MADE = 10_000
"""Objects made between two looks for those that hold each other: few do, and each look holds every stream up."""

_log = structlog.stdlib.get_logger("usher.server")


def serve(settings: Settings, announce: Callable[[str], None], *, log_level: int = logging.INFO) -> None:
    """Serve until SIGTERM or SIGINT, then end what runs, close the record and return.

    `announce` gets the server's URL once it answers.

    Raises:
        DataFolderBusy: another process owns the data folder.
        UserError: the address cannot be listened on.
    """
    import uvloop

    configure_logs(log_level)
    allow_many_files()
    sys.setswitchinterval(SWITCH_SECONDS)
    with hold(settings.home), public_socket(settings) as listening:
        uvloop.run(_serve(settings, listening, announce))


async def _serve(settings: Settings, listening: socket.socket, announce: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    with stop_on_signal(stop):
        async with running(settings, listening):
            gc.collect()
            gc.freeze()  # what lives as long as the server: to look at it all again would hold every stream up
            gc.set_threshold(MADE, 20, 20)
            announce(url_of(settings, listening))
            await stop.wait()
            _log.info("stopping")


@contextmanager
def stop_on_signal(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`; from then on the process has `LAST_RESORT` seconds to end."""
    last_resort = threading.Timer(LAST_RESORT, os._exit, [1])
    last_resort.daemon = True

    def on_signal() -> None:
        if not stop.is_set():
            last_resort.start()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        last_resort.cancel()


@asynccontextmanager
async def running(settings: Settings, listening: socket.socket | None) -> AsyncIterator[None]:
    """The whole of Usher, up and answering: on the operator's socket, and on `listening` where one is given.

    The caller owns the data folder. At the end: no new requests, streams end recorded, listeners close, and the
    services flush the record and end their children.
    """
    from usher.app import create_app, create_operator_app, open_services

    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings))
        operator_app = create_operator_app(services)
        await stack.enter_async_context(_started(operator_app))
        operator_listening = stack.enter_context(operator_socket(settings))
        listeners = [(Listener(operator_config(operator_app)), operator_listening)]
        if listening is not None:
            app = create_app(services)
            await stack.enter_async_context(_started(app))
            listeners.append((Listener(public_config(app, settings)), listening))
        tasks: list[asyncio.Task[None]] = []
        try:
            for listener, sock in listeners:
                tasks.append(await listener.begin(sock))
            yield
        finally:
            await services.live.drain()  # while its connections can still be told why
            for listener, _ in listeners:
                listener.should_exit = True
            await services.chat.drain()
            await asyncio.gather(*tasks)
            await _cancelled_ended([listener for listener, _ in listeners])
            await services.chat.drain()  # what had come in meanwhile


async def _cancelled_ended(listeners: Sequence[Listener]) -> None:
    """Let the requests end that were cancelled after `GRACE`: the record closes next, and their ends belong there."""
    if cancelled := {task for listener in listeners for task in listener.server_state.tasks}:
        await asyncio.wait(cancelled, timeout=1)


@asynccontextmanager
async def _started(app: Litestar) -> AsyncIterator[None]:
    """The app's start-up and shutdown hooks. They never see what the block raises: a task group in them would wrap it
    into a group, and nobody outside would know it again."""
    hooks = app.lifespan()
    await hooks.__aenter__()
    try:
        yield
    finally:
        await hooks.__aexit__(None, None, None)


class Listener(uvicorn.Server):
    """A uvicorn server among others in one process: signals and start-up belong to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = Connections()

    async def begin(self, sock: socket.socket) -> asyncio.Task[None]:
        """Return once it listens; the task ends some time after `should_exit` is set."""
        self.listening = asyncio.Event()
        serving = asyncio.create_task(self.serve([sock]))
        listening = asyncio.create_task(self.listening.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not self.started:
            listening.cancel()
            await serving  # it failed: raises why
        return serving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


def public_config(app: Litestar, settings: Settings) -> uvicorn.Config:
    return _config(
        app,
        http=Protocol,
        ws=WebSocketProtocol,
        **OPTIONS,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        proxy_headers=settings.trusted_proxy is not None,
        forwarded_allow_ips=settings.trusted_proxy or "",
    )


def operator_config(app: Litestar) -> uvicorn.Config:
    return _config(app, http=OperatorProtocol, ws="none", proxy_headers=False)


def _config(app: Litestar, **different: Any) -> uvicorn.Config:
    return uvicorn.Config(
        AccessLog(app),  # type: ignore[arg-type]  # ASGI in plain types; uvicorn's are typed dicts of its own
        lifespan="off",  # run by `running`, where an error can be told
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        **different,
    )


@contextmanager
def public_socket(settings: Settings) -> Iterator[socket.socket]:
    """The TCP socket, bound but not yet listening.

    Raises:
        UserError: the address is taken, or not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host.strip("[]"), settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        raise UserError(
            "USHER_PORT",
            f"({settings.host}:{settings.port}) cannot be listened on ({error.strerror})",
            "choose another with --port or USHER_PORT, or end the program that has it",
        ) from None
    with sock:
        yield sock


@contextmanager
def operator_socket(settings: Settings) -> Iterator[socket.socket]:
    """The operator's socket, mode 0600 from its first moment. A dead server's is replaced: the lock is ours."""
    path = settings.operator_socket
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        before = os.umask(0o177)
        try:
            with socket_address(path) as address:
                sock.bind(address)
        finally:
            os.umask(before)
        try:
            yield sock
        finally:
            path.unlink(missing_ok=True)


def url_of(settings: Settings, listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
