"""Casbin in a child process: the `Casbin` port."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence

import anyio
import msgspec

from usher.backends.shadow_casbin_child import PREFIX, Asking, Job, Question, Reply
from usher.ports.shadow import CasbinFailed, LoadRules, Sample

START_SECONDS = 60.0
ANSWER_SECONDS = 1800.0
"""For a million rules, of which it reads a twentieth of the time."""
MOST_BYTES = 2**20
"""Of a reply."""
ENVIRONMENT = {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
"""All that the child inherits: none of the server's settings or secrets."""


class CasbinChild:
    """One child, made at the first question and again after a failure; questions are asked one after the other. It ends
    with the server, and before it if the server is told to stop."""

    def __init__(self) -> None:
        self._child: Process | None = None
        self._has: tuple[int, str] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return self._child.pid if self._child else None

    async def ask(self, samples: Sequence[Sample], rules: LoadRules, narrowed: bool) -> list[tuple[bool, ...]]:
        try:
            child = await self._ready_child()
            version = (samples[0].policy_version, samples[0].policy_digest)
            text = await rules() if narrowed or self._has != version else None
            self._has = None if narrowed else version
            return await _answers(child, Job(tuple(map(_asking, samples)), narrowed, text), samples)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the child, at once."""
        child, self._child, self._has = self._child, None, None
        if child is None:
            return
        if child.returncode is None:
            child.kill()
        with anyio.CancelScope(shield=True):  # a killed process is gone in milliseconds
            await _drained(child)

    async def _ready_child(self) -> Process:
        if self._child is not None and self._child.returncode is None:
            return self._child
        await self.close()
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "usher.backends.shadow_casbin_child",
            str(os.getpid()),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
        if await _frame(self._child, START_SECONDS) != b"ready":
            raise CasbinFailed("Casbin's process did not start")
        return self._child


async def _answers(child: Process, job: Job, samples: Sequence[Sample]) -> list[tuple[bool, ...]]:
    """Raises `CasbinFailed`, also for answers to other questions."""
    frame = msgspec.msgpack.encode(job)
    assert child.stdin is not None  # noqa: S101 - it was asked for
    try:
        child.stdin.write(PREFIX.pack(len(frame)))
        child.stdin.write(frame)
        await child.stdin.drain()
    except OSError:
        raise CasbinFailed("Casbin's process has ended") from None
    try:
        reply = msgspec.msgpack.decode(await _frame(child, ANSWER_SECONDS), type=Reply)
    except msgspec.DecodeError:
        raise CasbinFailed("Casbin's process gave no readable answer") from None
    if reply.failed:
        raise CasbinFailed(f"Casbin raised {reply.failed}")
    if [len(one) for one in reply.answers] != [len(sample.asked) for sample in samples]:
        raise CasbinFailed("Casbin's process answered other questions")
    return list(reply.answers)


async def _frame(child: Process, within: float) -> bytes:
    """The next frame. Raises `CasbinFailed`."""
    assert child.stdout is not None  # noqa: S101 - it was asked for
    try:
        async with asyncio.timeout(within):
            (length,) = PREFIX.unpack(await child.stdout.readexactly(PREFIX.size))
            if length > MOST_BYTES:
                raise CasbinFailed("Casbin's process gave no readable answer")
            return await child.stdout.readexactly(length)
    except TimeoutError:
        raise CasbinFailed(f"Casbin's process gave no answer in {within:g} seconds") from None
    except (OSError, EOFError):
        raise CasbinFailed("Casbin's process has ended") from None


async def _drained(child: Process) -> None:
    """Read a killed child's pipe to its end and reap it, so that nothing of it stays open."""
    assert child.stdin is not None  # noqa: S101 - it was asked for
    assert child.stdout is not None  # noqa: S101 - it was asked for
    child.stdin.close()
    while await child.stdout.read(2**16):
        pass
    await child.wait()


def _asking(sample: Sample) -> Asking:
    return Asking(
        user=sample.principal.user,
        groups=tuple(sorted(sample.principal.groups)),
        now=sample.now,
        purpose=sample.purpose,
        questions=tuple(Question(asked.names, asked.action, asked.access_class is not None) for asked in sample.asked),
        readers={name: tuple(subjects) for name, subjects in sample.readers.items()},
    )
