"""Who is connected, and for whom there is room.

A connection is a stranger's until a request on it was admitted, its body included, or a WebSocket has proved whose it
is. Strangers may have few connections: the newest is let in and the oldest goes, so that whoever opens many and says
nothing stops nobody but themselves.
"""

from __future__ import annotations

import asyncio
import resource
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from uvicorn.server import ServerState

MOST_STRANGERS = 1_024
"""With the limit on heads of requests, strangers make the process hold some 100 MiB at most."""
MOST_CONNECTIONS = 8_192
"""More people than that need a second server."""
OWN_FILES = 512
"""Files and sockets that the process keeps for itself: databases, the model, the store."""
MOST_FILES = 65_536
"""Open files that the process asks for; TLS handshakes that have not ended are not counted as connections."""
LAST_WORD = 1.0
"""Seconds that a connection has for the end that it is told."""


class Guest(Protocol):
    """A connection as its `Connections` see it."""

    def known(self) -> bool:
        """True once it has shown whose it is."""

    def turn_away(self) -> None:
        """Tell the client that there is no room, and end."""


class Connections(ServerState):
    """What is open on one listener. `most` is `MOST_CONNECTIONS`, or fewer where the process may open fewer files."""

    def __init__(self) -> None:
        super().__init__()
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = min(MOST_CONNECTIONS, max(files - OWN_FILES, files // 2))
        self._strangers: dict[Guest, None] = {}  # the oldest first; also those who have become known since

    def came(self, guest: Guest) -> None:
        """One more. If that is too many, the oldest stranger goes; if there is no other, then the guest does."""
        self._strangers[guest] = None
        while len(self._strangers) > MOST_STRANGERS or (len(self.connections) > self.most and self._strangers):
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            if not oldest.known():
                oldest.turn_away()
                return

    def left(self, guest: Guest) -> None:
        self._strangers.pop(guest, None)


class Counted(asyncio.Protocol, ABC):
    """Beside a uvicorn protocol: a connection that counts. Its listener's state is a `Connections`."""

    transport: asyncio.Transport

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)  # type: ignore[call-arg]  # the uvicorn protocol's
        self.among: Connections = server_state

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.among.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.among.left(self)
        super().connection_lost(exc)

    @abstractmethod
    def known(self) -> bool:
        """True once it has shown whose it is."""

    @abstractmethod
    def refuse_room(self) -> None:
        """Tell the client that there is no room, and close."""

    def turn_away(self) -> None:
        """Say so, and wait for no answer."""
        self.refuse_room()
        asyncio.get_running_loop().call_later(LAST_WORD, self.transport.abort)


def admitted(scope: Mapping[str, Any] | None) -> bool:
    """True if the guard, or a WebSocket's first frame, has put its grant into the connection's scope."""
    return scope is not None and "grant" in scope["state"]


def allow_many_files() -> None:
    """Let the process open more files than the usual 1,024, as many as `MOST_FILES` where the system permits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
