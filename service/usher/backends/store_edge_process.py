"""The process that owns the embedded vector index of one folder.

Started by `store_edge.EdgeStore`, which it answers over its standard input and output. It ends when its client asks,
when the pipe closes, and when the client's process dies, however that happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

from usher.backends import idf_probe
from usher.backends.index_identity import IndexIdentity, IndexRefused
from usher.backends.store_edge_engine import EdgeEngine
from usher.backends.store_edge_wire import (
    HEADER,
    READY,
    Call,
    CloseCall,
    CountCall,
    Reply,
    SearchCall,
    WirePoint,
    WriteCall,
    call_from,
    frame,
    pack_dense,
    unpack_classes,
    unpack_dense,
    unpack_sparse,
)

LOCK_WAIT_S = 2.0
"""How long a new process waits for the folder: one whose server was just killed is about to end."""

GROUP_SIZE = 64
GROUP_WAIT_S = 0.05

MEMORY = "/dev/shm"  # noqa: S108  # made by `tempfile` with a random name; a disk takes half a second for it
_PR_SET_PDEATHSIG = 1


def main(folder: str, identity: str, parent: str) -> int:
    answers = _private_output()
    try:
        _end_with(int(parent))
        engine = open_index(Path(folder), IndexIdentity(**json.loads(identity)))
    except Exception as error:  # the client must learn of any reason, and raises it again
        _send(answers, Reply(READY, error=_named(error)))
        return 1
    _send(answers, Reply(READY, count=engine.count()))
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as calls:
        serve(engine, calls, answers)
    return 0


def open_index(folder: Path, identity: IndexIdentity) -> EdgeEngine:
    """Raises `IndexRefused` if the folder is in use, its index is of another model, or the engine is unfit."""
    folder.mkdir(parents=True, exist_ok=True)
    _lock(folder)
    _check_identity(folder / "index.json", identity, str(folder))
    _probe(folder)
    return EdgeEngine.open(folder / "shard", identity.dimensions)


def serve(engine: EdgeEngine, calls: RawIOBase, answers: BinaryIO) -> None:
    """Answers calls in turn until the pipe closes or a call asks to end.

    A flush waits for the disk some forty times. So writes that stand in the pipe together are flushed together, and
    answered after that; none waits longer than `GROUP_WAIT_S` for others, nor behind more than `GROUP_SIZE`.
    """
    waiting: list[Reply] = []
    since = 0.0
    while True:
        full = len(waiting) >= GROUP_SIZE or time.monotonic() - since > GROUP_WAIT_S
        if waiting and (full or not _more(calls)):
            _answer_flushed(engine, waiting, answers)
            waiting = []
        call = _next_call(calls)
        if call is None or isinstance(call, CloseCall):
            break
        reply = _answered(engine, call)
        if isinstance(call, WriteCall) and call.flush and reply.error is None:
            since = since if waiting else time.monotonic()
            waiting.append(reply)
        else:
            _send(answers, reply)
    _answer_flushed(engine, waiting if call is None else [*waiting, Reply(call.id)], answers)
    engine.close()


def _answer_flushed(engine: EdgeEngine, replies: Sequence[Reply], answers: BinaryIO) -> None:
    try:
        engine.flush()
    except Exception as error:  # what could not be made durable is acknowledged to nobody
        replies = [Reply(reply.id, error=_named(error)) for reply in replies]
    for reply in replies:
        with contextlib.suppress(BrokenPipeError):  # the client is gone: there is nobody to tell
            _send(answers, reply)


def _answered(engine: EdgeEngine, call: SearchCall | WriteCall | CountCall) -> Reply:
    try:
        return _answer(engine, call)
    except Exception as error:  # one bad call must not end the process; its caller gets the error
        return Reply(call.id, error=_named(error))


def _answer(engine: EdgeEngine, call: SearchCall | WriteCall | CountCall) -> Reply:
    match call:
        case SearchCall():
            sparse = unpack_sparse(call.terms, call.weights)
            found = engine.search(unpack_classes(call.classes), unpack_dense(call.dense), sparse, call.k)
            return Reply(call.id, found=found)
        case WriteCall():
            engine.write(call.delete, call.upsert, call.move)
            return Reply(call.id)
        case CountCall():
            return Reply(call.id, count=engine.count())


def _more(calls: RawIOBase) -> bool:
    """Whether something stands in the pipe (or it is closed). The pipe is read without a buffer, so this sees all."""
    return bool(select.select([calls], [], [], 0)[0])


def _next_call(calls: RawIOBase) -> Call | None:
    header = _exactly(calls, HEADER.size)
    if header is None:
        return None
    body = _exactly(calls, HEADER.unpack(header)[0])
    return None if body is None else call_from(body)


def _exactly(calls: RawIOBase, size: int) -> bytes | None:
    """None if the pipe closes before there are `size` bytes."""
    got = bytearray()
    while len(got) < size:
        part = calls.read(size - len(got))
        if not part:
            return None
        got += part
    return bytes(got)


def _send(answers: BinaryIO, reply: Reply) -> None:
    answers.write(frame(reply))
    answers.flush()


def _named(error: Exception) -> tuple[str, str]:
    return type(error).__name__, str(error)


def _private_output() -> BinaryIO:
    """The pipe to the client. What a library prints goes to standard error, and cannot break the protocol."""
    private = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(private, "wb")


def _end_with(parent: int) -> None:
    """The kernel ends this process with its client's. Ctrl-C reaches both: the client decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before it could be asked for
        raise SystemExit(1)


def _lock(folder: Path) -> None:
    """Held until this process ends, by whatever means."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise IndexRefused(
                    f"The vector index {folder} is open in another process. Stop that process, or set another folder."
                ) from None
            time.sleep(0.05)


def _check_identity(record: Path, identity: IndexIdentity, where: str) -> None:
    """Compares with what stands beside the index; a new index is given its identity first, atomically."""
    if record.exists():
        return identity.check(json.loads(record.read_text()), where)
    draft = record.with_suffix(".draft")
    draft.write_text(json.dumps(identity.record()))
    draft.replace(record)
    return None


def _probe(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else folder, prefix="usher-") as scratch:
        engine = EdgeEngine.scratch(Path(scratch), idf_probe.IDENTITY.dimensions)
        engine.write([], [WirePoint.of(point) for point in idf_probe.planted()], [])
        dense = unpack_dense(pack_dense(idf_probe.DENSE))
        found = engine.search(idf_probe.CLASSES, dense, idf_probe.ASKED, idf_probe.K)
        engine.close()
    idf_probe.check(found, "The embedded engine")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
