"""A bound on clients that do not read what they asked for."""

from __future__ import annotations

import asyncio

SEND_SECONDS = 30.0
"""How long a connection may have more to send than its buffer takes (64 KiB, down to 16 KiB again)."""


class SendLimited(asyncio.Protocol):
    """Beside a uvicorn protocol: drops a connection whose client stops reading. Its answers end as those whose client
    has left, and do not wait, open, with what they may no longer say once a key is revoked."""

    transport: asyncio.Transport
    _patience: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._forget()
        self._patience = asyncio.get_running_loop().call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._forget()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _forget(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
