"""The process that asks Casbin: a `Job` in on standard input, a `Reply` out on standard output, for as long as there is
a server at the other end.

It has the lowest priority, and works `SHARE` of the time: after each piece of work it sleeps in proportion. (Its start
is not counted.)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import BinaryIO

import msgspec

from usher_policy.catalog import Catalog
from usher_policy.conditions import Context
from usher_policy.lines import rows
from usher_policy.oracle import Oracle
from usher_policy.rules import Permission, RoleLink, Rules, read_rules
from usher_policy.vocabulary import Action, Effect, Principal, ancestors

PREFIX = struct.Struct(">I")
SHARE = 0.05
"""Of one core."""
PIECE = 0.02
"""Seconds of work after which it sleeps."""
ROWS = 2_000
"""Rows of a rule file between two looks at the time."""
NICE = 19
_PR_SET_PDEATHSIG = 1


class Question(msgspec.Struct, frozen=True):
    """About one object, or about a document with all that it requires."""

    names: tuple[str, ...]
    action: str
    document: bool


class Asking(msgspec.Struct, frozen=True):
    """Somebody's questions. `readers` are the reader lists among what they are about."""

    user: str
    groups: tuple[str, ...]
    now: datetime
    purpose: str | None
    questions: tuple[Question, ...]
    readers: dict[str, tuple[str, ...]]


class Job(msgspec.Struct, frozen=True):
    """`rules` is a rule file, or None for the one of the last job."""

    asking: tuple[Asking, ...]
    narrowed: bool
    rules: str | None = None


class Reply(msgspec.Struct, frozen=True):
    """`failed` is the kind of error that there was instead of answers."""

    answers: tuple[tuple[bool, ...], ...] = ()
    failed: str = ""


class Pace:
    """Sleeps so that work takes at most `SHARE` of the time."""

    def __init__(self, spent: Callable[[], float] = time.process_time, sleep: Callable[[float], None] = time.sleep):
        self._spent = spent
        self._sleep = sleep
        self._paid = spent()

    def rest(self) -> None:
        """Pay for what was done since the last time, once it is a piece."""
        used = self._spent() - self._paid
        if used >= PIECE:
            self._sleep(used * (1 - SHARE) / SHARE)
            self._paid = self._spent()


def main(parent: str) -> int:
    """Serve jobs until standard input ends."""
    jobs, replies = _pipes()
    _end_with(int(parent))
    os.nice(NICE)
    import casbin  # type: ignore[import-untyped]  # noqa: F401 - it ships no types; the first question would wait for it

    write_frame(replies, b"ready")
    pace, rules = Pace(), Rules()
    while (frame := read_frame(jobs)) is not None:
        job = msgspec.msgpack.decode(frame, type=Job)
        del frame
        try:
            rules = rules if job.rules is None else _read(job, pace)
            reply = Reply(tuple(answers(rules, one, pace) for one in job.asking))
        except Exception as error:  # whatever Casbin raises: the server asks on, and says that there was no answer
            reply = Reply(failed=type(error).__name__)
        del job
        write_frame(replies, msgspec.msgpack.encode(reply))
        pace.rest()
    return 0


def _read(job: Job, pace: Pace) -> Rules:
    text = job.rules or ""
    return narrowed(text, job.asking, pace) if job.narrowed else read_rules(text)


def answers(rules: Rules, asking: Asking, pace: Pace) -> tuple[bool, ...]:
    """Casbin's. What it remembers of the names goes with it: there is one for each that asks."""
    principal = Principal(asking.user, frozenset(asking.groups))
    lists = {name: frozenset(subjects) for name, subjects in asking.readers.items()}
    oracle, context = Oracle(rules, Catalog(readers=lists), [principal]), Context(asking.now, asking.purpose)
    found = []
    for question in asking.questions:
        pace.rest()
        if question.document:
            found.append(oracle.readable(principal, frozenset(question.names), context))
        else:
            found.append(oracle.enforce(principal, question.names[0], Action(question.action), context))
    return tuple(found)


def narrowed(text: str, asking: Sequence[Asking], pace: Pace) -> Rules:
    """Of a rule file those rules that could match one of the questions, by the model's own matcher: of the action, on
    the object or a collection above it, and of a subject that one who asks is or reaches."""
    above: dict[str, list[str]] = defaultdict(list)
    for row in _paced(text, "g", pace):
        above[row[0]].append(row[1])
    reached = _reached(above, {name for one in asking for name in (one.user, *one.groups)})
    asked = {
        (name, question.action)
        for one in asking
        for question in one.questions
        for obj in question.names
        for name in (obj, *ancestors(obj))
    }
    permissions = [
        Permission(sub, obj, Action(act), Effect(eft), cond)
        for sub, obj, act, eft, cond in _paced(text, "p", pace)
        if (obj, act) in asked and sub in reached
    ]
    links = [RoleLink(member, role) for member in sorted(reached) for role in above.get(member, ())]
    return Rules(tuple(permissions), tuple(links))


def _paced(text: str, kind: str, pace: Pace) -> Iterable[tuple[str, ...]]:
    for number, row in enumerate(rows(text)):
        if number % ROWS == 0:
            pace.rest()
        if row.kind == kind:
            yield row.values


def _reached(above: dict[str, list[str]], names: set[str]) -> set[str]:
    """Over however many links: how many count, Casbin says."""
    reached, edge = set(names), set(names)
    while edge:
        edge = {role for name in edge for role in above.get(name, ())} - reached
        reached |= edge
    return reached


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """The two pipes for frames alone: a library that prints meets /dev/null."""
    jobs, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    return jobs, replies


def _end_with(parent: int) -> None:
    """End when the server does, however that happens; at the latest when the pipe closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


def read_frame(pipe: BinaryIO) -> bytes | None:
    """The next frame, or None at the end of the pipe."""
    prefix = pipe.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    (length,) = PREFIX.unpack(prefix)
    frame = pipe.read(length)
    return frame if len(frame) == length else None


def write_frame(pipe: BinaryIO, frame: bytes) -> None:
    pipe.write(PREFIX.pack(len(frame)) + frame)
    pipe.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main(sys.argv[1]))
