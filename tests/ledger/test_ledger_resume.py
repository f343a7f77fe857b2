"""A verification that goes on where the last one stood: what it finds, what it leaves, what it says."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.tamper_acts import EVENTS
from tests.ledger.tamper_kit import (
    HELD,
    SIZE,
    Act,
    Case,
    Original,
    first_difference,
    loaded,
    made,
    rows_of,
    verified,
)

from usher.ledger.verify import Means, Verdict, verify, verify_opened
from usher.ledger.verify.source import SqliteSource

STOOD = max(HELD)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return made(tmp_path_factory.mktemp("original"))


@pytest.fixture(params=["ring", "key"])
def means(request: pytest.FixtureRequest, original: Original, tmp_path: Path) -> Means:
    """Of whoever verified the log when it had 18 events, with the key ring or with the public key."""
    ring = original.ring if request.param == "ring" else None
    found = Means(ring, original.ring.public_key, resume=tmp_path / "state")
    with loaded(original.older[STOOD]) as connection:
        assert verified(connection, found).ok
    return found


def of(data: bytes, means: Means) -> Verdict:
    with loaded(data) as connection:
        return verified(connection, means)


def state(means: Means) -> dict[str, Any]:
    assert means.resume is not None
    found: dict[str, Any] = json.loads(means.resume.read_bytes())
    return found


class Watched(SqliteSource):
    """Counts the events that are read, and can end it all at one."""

    def __init__(self, connection: sqlite3.Connection, stop: int | None = None) -> None:
        super().__init__(connection)
        self.read, self._stop = 0, stop

    def rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        for row in super().rows(query, *values):
            if "leaf" in query:
                self.read += 1
                if row[0] == self._stop:
                    raise KeyboardInterrupt
            yield row


def test_what_was_verified_is_not_read_again(original: Original, means: Means) -> None:
    """The verdict is that of the whole log, and says from where on it was read, by whose word, and what that leaves."""
    with loaded(original.data) as connection:
        source = Watched(connection)
        verdict = verify_opened(lambda: nullcontext(source), means)
    whole = of(original.data, replace(means, resume=None))
    assert (verdict.ok, verdict.resumed_from, source.read) == (True, STOOD, SIZE - STOOD)
    assert replace(verdict, resumed_from=0, warnings=()) == whole
    assert f"events 1 to {STOOD} were verified before and not read again" in verdict.warnings[0]
    assert any("no key vouches" in text for text in verdict.warnings) is (means.ring is None)
    assert state(means)["size"] == SIZE


def test_one_that_is_cut_off_is_gone_on_with(original: Original, tmp_path: Path) -> None:
    """From the last checkpoint before it was cut off."""
    means = Means(original.ring, resume=tmp_path / "state")
    with loaded(original.data) as connection:
        source = Watched(connection, stop=STOOD + 3)
        with pytest.raises(KeyboardInterrupt):
            verify_opened(lambda: nullcontext(source), means)
    assert state(means)["size"] in HELD
    verdict = of(original.data, means)
    assert verdict.ok
    assert verdict.resumed_from in HELD


@pytest.mark.parametrize("act", EVENTS)
def test_later_changes_are_found_as_by_reading_all(original: Original, means: Means, act: Act) -> None:
    """A change after where it stood gives the same first bad event; one before that can stay unseen, and is said to."""
    assert means.resume is not None
    stood = means.resume.read_bytes()
    for seed in range(4):
        means.resume.write_bytes(stood)
        with loaded(original.data) as connection:
            case = Case(original, connection, random.Random(f"{act.__name__} {seed}"))  # noqa: S311  # a fixed sample
            act(case)
            verdict, now = verified(connection, means), rows_of(connection)
            note = state(means)["checkpoint"] if verdict.ok else json.loads(stood)["checkpoint"]
            whole = verified(connection, replace(means, resume=None, held=note))
        if verdict.ok:
            first = first_difference(original.rows, now)
            assert first is not None
            assert first <= STOOD == verdict.resumed_from
        else:
            assert (verdict.first_bad, verdict.resumed_from) == (whole.first_bad, 0), (seed, verdict.problems)


def test_an_older_copy_is_found_each_time(original: Original, means: Means) -> None:
    """The saved checkpoint is one that is held: what it says is not forgotten with the log that contradicts it."""
    for _ in range(3):
        verdict = of(original.older[min(HELD)], means)
        assert (verdict.ok, verdict.first_bad) == (False, min(HELD) + 1), verdict.problems
    assert state(means)["size"] == STOOD
    assert of(original.data, means).ok


def test_nothing_is_kept_of_what_is_not_whole(original: Original, tmp_path: Path) -> None:
    """Also where the events are: content that was changed is found each time, not only the first."""
    means = Means(public_key=original.ring.public_key, resume=tmp_path / "state")
    with loaded(original.data) as connection:
        connection.execute("UPDATE content SET ciphertext = zeroblob(90) WHERE rowid = 1")
        for _ in range(2):
            verdict = verified(connection, means)
            assert (verdict.ok, verdict.first_bad) == (False, min(HELD))


def damaged(text: dict[str, Any]) -> list[bytes]:
    """A state with one thing changed each, and what is none."""
    whole = json.dumps(text).encode()
    others: list[dict[str, Any]] = [
        text | {"size": STOOD + 1},
        text | {"size": 10**30},
        text | {"version": 2},
        text | {"edge": text["edge"][:-1] + ("1" if text["edge"][-1] == "0" else "0")},
        text | {"edge": ""},
        text | {"order": {"time": 5, "open": [["a"]]}},
        text | {"order": {}},
        text | {"content": {}},
        text | {"content": {"committed": "x", "unexplained": 3}},
        text | {"origin": "usher/other"},
        text | {"checkpoint": "nonsense"},
        text | {"more": 1},
        {},
    ]
    return [b"", b"[]", b"\xff", whole[:-40], b"[" * 100_000, *(json.dumps(other).encode() for other in others)]


def test_a_damaged_state_is_never_gone_on_with(original: Original, means: Means) -> None:
    """All is read instead, and that is said; with the ring, any other state is one, for a MAC is on it."""
    assert means.resume is not None
    text = state(means)
    others = damaged(text)
    if means.ring is not None:
        others += [json.dumps(text | {"order": text["order"] | {"time": "0"}}).encode()]
        others += [json.dumps(text | {"mac": ""}).encode()]
    for data in others:
        means.resume.write_bytes(data)
        verdict = of(original.data, means)
        if (b'"more"' not in data and b'"checkpoint": "nonsense"' not in data) or means.ring is not None:
            assert verdict.resumed_from == 0, data
            assert "verified from the first event on" in verdict.warnings[0]
        assert verdict.ok, (data, verdict.problems)
        if data.startswith(b'{"version":') or not data:
            assert state(means)["size"] == SIZE
        else:
            assert means.resume.read_bytes() == data


def test_a_file_of_another_kind_is_never_written_over(original: Original, tmp_path: Path) -> None:
    """Such as the ledger itself, whose name was given by mistake."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(original.data)
    verdict = verify(path, ring=original.ring, resume=path)
    assert (verdict.ok, path.read_bytes() == original.data) == (True, True)
    assert verdict.warnings[-1].endswith("what is there is no saved verification: name another file")
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_state_of_another_ring_or_log_is_not_gone_on_with(original: Original, means: Means, tmp_path: Path) -> None:
    """Nor is one that was written without a ring, where there is one now."""
    (tmp_path / "other").mkdir()
    other = made(tmp_path / "other")
    verdict = of(other.data, replace(means, ring=means.ring and other.ring, public_key=other.ring.public_key))
    assert (verdict.ok, verdict.resumed_from) == (True, 0)
    assert of(original.data, Means(resume=means.resume)).resumed_from == 0
    assert of(original.data, Means(original.ring, resume=means.resume)).resumed_from == 0


def test_other_held_checkpoints_are_compared(original: Original, means: Means) -> None:
    """One that is older than where it stood and was not compared then makes all be read; later ones do not."""
    held = replace(means, held=original.held)
    first = of(original.data, held)
    assert (first.ok, first.resumed_from, first.trusted[0].events) == (True, 0, STOOD)
    again = of(original.data, held)
    assert (again.ok, again.resumed_from) == (True, SIZE)
