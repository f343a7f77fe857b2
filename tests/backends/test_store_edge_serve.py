"""How the embedded store's process answers, with an engine that only notes what it is told."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from usher.backends import store_edge_process
from usher.backends.store_edge_process import serve
from usher.backends.store_edge_wire import HEADER, Call, CloseCall, CountCall, Reply, WriteCall, frame, reply_from


class NotingEngine:
    """Notes its calls in `log`; fails where it is told to."""

    def __init__(self, log: list[str], failing: str = "") -> None:
        self.log, self.failing = log, failing

    def _note(self, name: str) -> None:
        self.log.append(name)
        if name == self.failing:
            raise OSError(f"{name} failed")

    def write(self, *_: Any) -> None:
        self._note("write")

    def flush(self) -> None:
        self._note("flush")

    def close(self) -> None:
        self._note("close")

    def count(self) -> int:
        self._note("count")
        return 3


class NotingPipe(io.BytesIO):
    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self.log = log

    def write(self, data: Any) -> int:
        self.log.append(f"answer {reply_from(bytes(data)[HEADER.size :]).id}")
        return super().write(data)


def answered(calls: Sequence[Call], folder: Path, failing: str = "") -> tuple[list[str], list[Reply]]:
    """What was done and answered, for calls that all stand in the pipe already."""
    log: list[str] = []
    answers = NotingPipe(log)
    sent = folder / "calls"
    sent.write_bytes(b"".join(frame(call) for call in calls))
    with sent.open("rb", buffering=0) as pipe:
        serve(NotingEngine(log, failing), pipe, answers)  # type: ignore[arg-type]  # a stand-in
    replies, data = [], answers.getvalue()
    while data:
        end = HEADER.size + HEADER.unpack(data[: HEADER.size])[0]
        replies.append(reply_from(data[HEADER.size : end]))
        data = data[end:]
    return log, replies


def write(n: int, *, flush: bool = True) -> WriteCall:
    return WriteCall(n, [], [], [], flush)


def test_a_write_is_answered_after_the_flush(tmp_path: Path) -> None:
    """What is acknowledged is on the disk; writes that stand together share one flush."""
    log, _ = answered([write(1), write(2), CloseCall(3)], tmp_path)
    assert log == ["write", "write", "flush", "answer 1", "answer 2", "answer 3", "close"]


def test_a_part_of_a_write_is_answered_at_once(tmp_path: Path) -> None:
    """Only the last part of a large write promises anything."""
    log, _ = answered([write(1, flush=False), write(2)], tmp_path)
    assert log == ["write", "answer 1", "write", "flush", "answer 2", "close"]


def test_a_search_does_not_wait_for_a_flush(tmp_path: Path) -> None:
    """Reads between waiting writes are answered before them."""
    log, replies = answered([write(1), CountCall(2), write(3)], tmp_path)
    assert log == ["write", "count", "answer 2", "write", "flush", "answer 1", "answer 3", "close"]
    assert replies[0].count == 3


def test_a_group_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of writes cannot put the flush off for ever: not by number, not by time."""
    calls = [write(n) for n in range(1, 6)]
    monkeypatch.setattr(store_edge_process, "GROUP_SIZE", 2)
    assert answered(calls, tmp_path)[0].count("flush") == 3
    monkeypatch.setattr(store_edge_process, "GROUP_SIZE", 100)
    monkeypatch.setattr(store_edge_process, "GROUP_WAIT_S", -1.0)
    assert answered(calls, tmp_path)[0].count("flush") == 5 + 1


def test_a_failed_flush_is_acknowledged_to_nobody(tmp_path: Path) -> None:
    """All that waited for it get the error."""
    _, replies = answered([write(1), write(2)], tmp_path, failing="flush")
    assert [(reply.id, reply.error) for reply in replies] == [(n, ("OSError", "flush failed")) for n in (1, 2)]


def test_a_failed_write_fails_alone(tmp_path: Path) -> None:
    """Its caller gets the error, and the process goes on."""
    _, replies = answered([write(1), CountCall(2)], tmp_path, failing="write")
    assert [(reply.id, reply.error is None) for reply in replies] == [(1, False), (2, True)]


def test_half_a_call_is_no_call(tmp_path: Path) -> None:
    """A client that dies while it sends leaves a flushed, closed index."""
    log: list[str] = []
    (tmp_path / "calls").write_bytes(frame(write(1))[:-1])
    with (tmp_path / "calls").open("rb", buffering=0) as pipe:
        serve(NotingEngine(log), pipe, io.BytesIO())  # type: ignore[arg-type]  # a stand-in
    assert log == ["flush", "close"]
