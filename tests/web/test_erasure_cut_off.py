"""An erasure that is cut off before or after anything durable: everybody else is served, and it is finished."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, cast

import pytest
from tests.web.erasure_kit import OPERATOR, QUESTION, again, approved, company, opens, pseudonym
from tests.web.world import World

from usher.audit import erasing
from usher.audit.erasure import Target, Unfinished
from usher.backends import keyring_file
from usher.backends.keyring import KeyRing
from usher.backends.ledger_sql import SqlLog
from usher.backends.memory import MemoryStore
from usher.backends.sql_erasure import SqlErasure
from usher.backends.sql_people import SqlDirectory
from usher.backends.sql_proposals import SqlProposals
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import Entry, EventType
from usher.ledger.sequencer import Ledger
from usher.ledger.verify import verify
from usher.ledger.writer import Receipt

DURABLE: tuple[tuple[object, str], ...] = (
    (SqlDirectory, "deactivate"),
    (KeyRing, "renew"),
    (KeyRing, "destroy_retired"),
    (keyring_file, "_sync_folder"),
    (keyring_file, "_overwrite"),
    (SqlErasure, "forget_person"),
    (SqlErasure, "rewrap"),
    (SqlErasure, "scrub"),
    (SqlLog, "commit"),
    (SqlProposals, "done"),
)
"""All that an erasure does durably. It is cut off before and after each time that one of them is called."""


class Cutter:
    """Counts what is durable and cuts at one of its beginnings (even) or ends (odd). After that nothing works."""

    def __init__(self, at: int) -> None:
        self.at, self.seen, self.armed = at, 0, False

    def point(self) -> None:
        if not self.armed:
            return
        if self.seen >= self.at:
            self.cut()
        self.seen += 1

    @staticmethod
    def cut() -> None:
        raise RuntimeError("cut off here")

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(act)
        def plain(*args: Any, **more: Any) -> Any:
            self.point()
            result = act(*args, **more)
            self.point()
            return result

        @wraps(act)
        async def waited(*args: Any, **more: Any) -> Any:
            self.point()
            result = await act(*args, **more)
            self.point()
            return result

        return waited if iscoroutinefunction(act) else plain


@contextmanager
def cutting(at: int) -> Iterator[Cutter]:
    cutter = Cutter(at)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in DURABLE:
            patch.setattr(owner, name, cutter.around(getattr(owner, name)))
        yield cutter


def cut_off(usher: World, user: str, at: int) -> bool:
    """Erase somebody, but for what comes after point `at`; whether there was such a point."""
    item = usher.run(approved(usher, Target(user=user)))
    with cutting(at) as cutter:

        async def carried() -> bool:
            granted = await usher.services.audit.proposals.carry_out(item.id, OPERATOR)
            cutter.armed = True
            try:
                await usher.services.audit.erasures.carry_out(granted.id, OPERATOR)
            except Unfinished:
                return True
            finally:
                cutter.armed = False
            return False

        return usher.run(carried())


def check_survivors(usher: World) -> None:
    """Whoever is not erased reads their conversations and the documents, and asks on."""
    talks = usher.ask("GET", "/api/conversations", "alice").json()["conversations"]
    assert {talk["title"] for talk in talks} == {QUESTION}
    read = usher.ask("GET", f"/api/conversations/{talks[-1]['id']}", "alice")
    assert QUESTION in read.text
    shelf = usher.ask("GET", "/api/documents", "alice").json()["documents"]
    assert [usher.ask("GET", f"/api/documents/{one['id']}", "alice").status_code for one in shelf] == [200, 200]


def check_erased(usher: World, home: Path, whom: str) -> None:
    """Nothing opens, one event says so, one wrapping key is left, and the record is whole."""
    ring = KeyRing.open(home.parent / "home.keys")
    assert (len(ring.wrapping), opens(home, ring, whom)) == (1, [])
    assert [event["subject"] for event in usher.events() if event["type"] == "erasure"].count(whom) == 1
    assert verify(home / "ledger.sqlite", ring=ring).problems == ()


def erase_and_cut(usher: World, store: MemoryStore, points: Iterator[int]) -> int:
    """Cut one erasure after another; how many points there were."""
    home, count = usher.folder / "home", 0
    for at in points:
        with again(usher, store) as one:
            one.run(one.add(f"leaver-{at}", ("staff",)))
            assert one.chat(QUESTION, f"leaver-{at}").status_code == 200
            whom = pseudonym(one, f"leaver-{at}")
            if not cut_off(one, f"leaver-{at}", at):
                return count
            check_survivors(one)
        with again(usher, store) as other:
            check_survivors(other)
            check_erased(other, home, whom)
        count += 1
    return count


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[World, MemoryStore]:
    """A company that has closed for the day: alice has asked something."""
    monkeypatch.setattr(erasing, "GRACE", 0.0)
    with company(tmp_path) as (usher, store):
        assert usher.chat(QUESTION, "alice").status_code == 200
    return usher, store


def test_cut_off_anywhere_it_is_finished_at_the_next_start(closed: tuple[World, MemoryStore]) -> None:
    """Some of the points; at each of them survivors are served, before and after."""
    assert erase_and_cut(*closed, iter((8, 23))) == 2


@pytest.mark.crash  # a company of its own
def test_whoever_comes_back_after_a_recording_that_was_given_up_is_somebody_new(
    closed: tuple[World, MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event was recorded, and nobody heard of it: the key goes from memory all the same."""
    append = Ledger.append

    async def given_up(ledger: Ledger, entries: Sequence[Entry], *rest: Any, **more: Any) -> Receipt:
        receipt = await append(ledger, entries, *rest, **more)
        if any(entry.type is EventType.ERASURE for entry in entries):
            raise LedgerUnavailable("nothing durable within 10 s")
        return receipt

    with again(*closed) as one:
        one.run(one.add("leaver", ("staff",)))
        whom, item = pseudonym(one, "leaver"), one.run(approved(one, Target(user="leaver")))
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "append", given_up)
            with pytest.raises(Unfinished):
                one.run(one.services.audit.erasures.carry_out(item.id, OPERATOR))
        one.run(one.services.audit.erasures.finish())
        assert pseudonym(one, "leaver") != whom


@pytest.mark.crash
def test_cut_off_at_each_point_it_is_finished_at_the_next_start(closed: tuple[World, MemoryStore]) -> None:
    """Every beginning and every end of what is durable."""
    assert erase_and_cut(*closed, iter(range(200))) > 30


@pytest.mark.crash
def test_killed_at_each_point_it_is_finished_at_the_next_start(closed: tuple[World, MemoryStore]) -> None:
    """The process ends at once, with all its memory, at every second of them."""
    usher, store = closed
    home, killed = usher.folder / "home", 0
    for at in range(0, 200, 2):
        with again(usher, store) as one:
            one.run(one.add(f"leaver-{at}", ("staff",)))
            assert one.chat(QUESTION, f"leaver-{at}").status_code == 200
            whom = pseudonym(one, f"leaver-{at}")
        ended = subprocess.run([sys.executable, "-c", _CHILD, str(usher.folder), str(at), *_keys(one)], check=False)
        with again(usher, store) as other:
            check_survivors(other)
            check_erased(other, home, whom)
        if ended.returncode == 0:
            break
        assert ended.returncode == KILLED
        killed += 1
    assert killed > 15


_CHILD = "import sys; from tests.web.test_erasure_cut_off import erase_and_die; erase_and_die(*sys.argv[1:])"
KILLED = 99


def erase_and_die(folder: str, at: str, *keys: str) -> None:
    """In a process of its own."""
    keyed = dict(zip(("carol",), keys, strict=True))
    closed = World(Path(folder), cast(Any, None), cast(Any, None), cast(Any, None), keyed)
    with again(closed, MemoryStore()) as usher, pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasing, "GRACE", 0.0)
        patch.setattr(Cutter, "cut", staticmethod(lambda: os._exit(KILLED)))
        cut_off(usher, f"leaver-{at}", int(at))


def _keys(usher: World) -> tuple[str, ...]:
    return (usher.keys["carol"],)
