"""A circuit breaker: a server that keeps failing is left alone for a while."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Breaker:
    """Opens after `failures` failures in a row; after `pause` seconds lets one request through as a probe, and closes
    when one succeeds (Nygard, "Release It!", 2nd edition, chapter 5). `now` is a monotonic time in seconds."""

    failures: int = 5
    pause: float = 10.0
    _failed: int = 0
    _opened: float | None = None
    _probing: bool = False

    @property
    def open(self) -> bool:
        """True while requests are turned away, but for a probe."""
        return self._opened is not None

    def admit(self, now: float) -> bool:
        """True if a request may go out. Each admitted request ends in one of the three calls below."""
        admitted = self.admits(now)
        self._probing = self._probing or (admitted and self._opened is not None)
        return admitted

    def admits(self, now: float) -> bool:
        """Whether `admit` would let a request through."""
        return self._opened is None or (not self._probing and now - self._opened >= self.pause)

    def succeeded(self) -> None:
        """The server answered."""
        self._failed, self._opened, self._probing = 0, None, False

    def failed(self, now: float) -> None:
        """The server did not answer, or badly."""
        self._failed += 1
        if self._probing or self._failed >= self.failures:
            self._opened = now
        self._probing = False

    def undecided(self) -> None:
        """The request ended without telling anything of the server: it was cancelled, or was itself wrong."""
        self._probing = False
