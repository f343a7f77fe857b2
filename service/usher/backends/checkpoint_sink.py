"""Checkpoints carried to a place that the server cannot rewrite: appended to a file, or given to a command."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

import structlog

from usher.errors import UserError

TIME_LIMIT = 10.0
"""Seconds for one delivery."""
RETRY = 10.0
"""Seconds after which what could not be delivered is tried again, if no newer checkpoint comes before."""
VARIABLE = "USHER_CHECKPOINT_SINK"

_log = structlog.stdlib.get_logger("usher.checkpoint_sink")


class SinkFailed(Exception):
    """A checkpoint was not delivered; the message follows the sink's name ("exits with 1") and names no path."""


class CheckpointSink:
    """Delivers checkpoints from a thread of its own, at least once each, the newest only where it cannot keep up.

    What it cannot deliver it tries again; it holds nobody up and stops nothing.
    """

    def __init__(self, deliver: Callable[[str], None], *, limit: float = TIME_LIMIT, retry: float = RETRY) -> None:
        """`deliver` raises `SinkFailed`; a delivery that lasts longer than `limit` seconds is told as one that hangs.
        See `of`."""
        self._deliver, self._limit, self._retry = deliver, limit, retry
        self._changed = threading.Condition()
        self._waiting: str | None = None
        self._closing = False
        self._problem: str | None = None
        self._begun: float | None = None
        self._thread = threading.Thread(target=self._run, name="usher-checkpoint-sink", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, setting: str, *, limit: float = TIME_LIMIT, retry: float = RETRY) -> Self:
        """The sink of a setting: `|command`, or a file's path. Raises `UserError` where it cannot work."""
        if setting.startswith("|"):
            words = shlex.split(setting[1:])
            if shutil.which(words[0]) is None:
                raise UserError(VARIABLE, "names a program that is not there", "correct or unset it")
            return cls(partial(give, words, limit), limit=limit, retry=retry)
        try:
            append(Path(setting), "")
        except SinkFailed as error:
            raise UserError(VARIABLE, str(error), "name a file in a folder that is there and writable") from None
        return cls(partial(append, Path(setting)), limit=limit, retry=retry)

    def put(self, note: str) -> None:
        """Have a checkpoint delivered. From any thread; does not wait."""
        with self._changed:
            self._waiting = note
            self._changed.notify()

    def state(self) -> str:
        """ "ok", or why checkpoints do not arrive."""
        begun = self._begun
        if begun is not None and time.monotonic() - begun > self._limit + 1:
            return "hangs"
        return self._problem or "ok"

    def close(self) -> None:
        """Deliver what waits, and end; gives up after the time limit."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(self._limit + 1)
        if self._waiting is not None:
            _log.error("checkpoint_not_delivered", problem=self.state())

    def _run(self) -> None:
        while (note := self._next()) is not None:
            if self._delivered(note):
                continue
            with self._changed:
                if self._closing:
                    return
                if self._waiting is note:
                    self._changed.wait(self._retry)

    def _next(self) -> str | None:
        """The newest checkpoint that is not delivered yet, as soon as there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closing)
            return self._waiting

    def _delivered(self, note: str) -> bool:
        self._begun = time.monotonic()
        try:
            self._deliver(note)
        except Exception as error:  # whatever it is, this thread must go on
            self._tell(str(error) if isinstance(error, SinkFailed) else f"fails ({type(error).__name__})")
            return False
        finally:
            self._begun = None
        self._tell(None)
        with self._changed:
            if self._waiting is note:
                self._waiting = None
        return True

    def _tell(self, problem: str | None) -> None:
        """Log a change of state once."""
        before, self._problem = self._problem, problem
        if problem is not None and problem != before:
            _log.error("checkpoint_sink_failed", problem=problem)
        elif problem is None and before is not None:
            _log.warning("checkpoint_sink_works_again")


def append(path: Path, note: str) -> None:
    """Add a note to the end of a file, durably, whole or not at all as far as the file allows. Raises `SinkFailed`."""
    try:
        # Non-blocking, so that a pipe without a reader is an error and not a wait.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
        try:
            _write(descriptor, note.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SinkFailed(f"cannot be written ({error.strerror})") from error


def _write(descriptor: int, data: bytes) -> None:
    before = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, data) != len(data):
            raise SinkFailed("takes a part of a checkpoint only")
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)
    except (OSError, SinkFailed):
        with suppress(OSError):  # a file that can only grow keeps the torn note
            os.ftruncate(descriptor, before)
        raise


def give(words: list[str], limit: float, note: str) -> None:
    """Run a command with a note on its standard input; no shell is between, and none of Usher's variables, which may
    hold secrets, reaches it. Raises `SinkFailed`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("USHER_")}
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own command; no shell is between
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
    except OSError as error:
        raise SinkFailed(f"cannot be started ({error.strerror})") from error
    with process:
        try:
            process.communicate(note.encode(), timeout=limit)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise SinkFailed(f"takes longer than {limit:g} s") from None
    if process.returncode:
        raise SinkFailed(f"exits with {process.returncode}")
