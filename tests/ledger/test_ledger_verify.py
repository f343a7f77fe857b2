"""The verifier: what it reads, where it can read, and that it stands alone."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.ledger_kit import change, exchange, ledger_in, opening, query, ring_in, rows, run, search

import usher.ledger.verify
from usher.ledger.record import uuid7
from usher.ledger.verify import Verdict, verify
from usher.ledger.verify.findings import Findings
from usher.ledger.verify.order import OrderCheck


async def some_events(folder: Path) -> str:
    """Five exchanges, a search, one exchange left open and then ended by recovery; a checkpoint early on."""
    async with ledger_in(folder) as ledger:
        await exchange(ledger)
        note = await ledger.checkpoint()
        for user in ("alice", "bob", "alice", "carol"):
            await exchange(ledger, user)
        await search(ledger)
    return note


def folder_state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_the_verifier_imports_only_the_record_of_the_writer() -> None:
    """No module of the verifier imports anything of Usher but the record's format and itself."""
    sources = list(Path(usher.ledger.verify.__file__).parent.glob("*.py"))
    assert len(sources) > 4
    for source in sources:
        for name in imported(ast.parse(source.read_text())):
            own = name.startswith("usher.ledger.verify.") or name == "usher.ledger.record"
            assert own or name.split(".")[0] != "usher", f"{source.name} imports {name}"


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""


def test_beside_a_running_ledger(tmp_path: Path) -> None:
    """While events are being written, each verification sees a whole log, and writing goes on."""

    async def story() -> None:
        async with ledger_in(tmp_path, every=0.01) as ledger:
            await exchange(ledger)
            writing = asyncio.create_task(write_on(ledger))
            sizes = []
            for _ in range(6):
                verdict = await asyncio.to_thread(verify, tmp_path / "ledger.sqlite", ring=ring_in(tmp_path))
                assert verdict.ok, verdict.problems
                sizes.append(verdict.size)
                await asyncio.sleep(0.01)
            writing.cancel()
            assert sizes == sorted(sizes)
            assert sizes[0] < sizes[-1]

    async def write_on(ledger: object) -> None:
        while True:
            await exchange(ledger)  # type: ignore[arg-type]  # the ledger of the story

    run(story())


@pytest.mark.parametrize("left", ["-wal -shm", "-wal", ""])
def test_a_copy_is_verified_without_touching_it(tmp_path: Path, left: str) -> None:
    """A copied folder, with the write-ahead log or without what belongs to it, verifies and stays byte for byte."""
    copy = tmp_path / "copy"
    copy.mkdir()

    async def story() -> None:
        home = tmp_path / "home"
        await asyncio.to_thread(home.mkdir)
        async with ledger_in(home) as ledger:
            await exchange(ledger)
            if not left:
                await asyncio.to_thread(change, home / "ledger.sqlite", "PRAGMA wal_checkpoint(TRUNCATE)")
            for suffix in ("", *left.split()):
                await asyncio.to_thread(shutil.copy, home / f"ledger.sqlite{suffix}", copy)

    run(story())
    before = folder_state(copy)
    verdict = verify(copy / "ledger.sqlite")
    assert (verdict.ok, verdict.size, verdict.content) == (True, 5, "unchecked")
    assert folder_state(copy) == before


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody who may only read")
@pytest.mark.parametrize("left", ["-wal -shm", "-wal", ""])
def test_a_read_only_folder_is_verified(tmp_path: Path, left: str) -> None:
    """Somebody who may read the files and write nothing gets the same verdict."""
    folder = Path("/tmp") / f"usher-read-only-{uuid7()}"  # noqa: S108  # reachable by another user, unlike tmp_path
    folder.mkdir()

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            await exchange(ledger)
            if not left:
                await asyncio.to_thread(change, tmp_path / "ledger.sqlite", "PRAGMA wal_checkpoint(TRUNCATE)")
            for suffix in ("", *left.split()):
                await asyncio.to_thread(shutil.copy, tmp_path / f"ledger.sqlite{suffix}", folder)

    try:
        run(story())
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        pid = os.fork()
        if pid == 0:
            os.setgid(65534)
            os.setuid(65534)
            verdict = verify(folder / "ledger.sqlite")
            os._exit(0 if verdict.ok and verdict.size == 5 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        shutil.rmtree(folder)


def test_a_verdict_says_what_it_saw(tmp_path: Path) -> None:
    """Size, root, newest checkpoint and progress are those of the log."""
    run(some_events(tmp_path))
    seen: list[tuple[int, int]] = []
    verdict = verify(tmp_path / "ledger.sqlite", progress=lambda done, total: seen.append((done, total)))
    assert (verdict.ok, verdict.size, verdict.first_bad, verdict.problems) == (True, 28, None, ())
    assert verdict.checkpoint is not None
    assert verdict.checkpoint.split("\n")[1] == "28"
    assert seen[-1] == (28, 28)
    assert len(bytes.fromhex(verdict.root)) == 32


def test_an_open_exchange_is_no_fault(tmp_path: Path) -> None:
    """Request, decision and content without an answer yet are sound while the exchange is open."""

    async def story() -> Verdict:
        async with ledger_in(tmp_path) as ledger:
            subject, ident = await ledger.subject("alice"), uuid7()
            await ledger.append(opening(ident), rows(subject, ident))
            return await asyncio.to_thread(verify, tmp_path / "ledger.sqlite", ring=ring_in(tmp_path))

    verdict = run(story())
    assert verdict.ok, verdict.problems


def test_a_held_checkpoint_finds_an_older_copy(tmp_path: Path) -> None:
    """A log put back to an earlier state passes by itself and fails against a checkpoint kept elsewhere."""
    older, path = tmp_path / "older", tmp_path / "ledger.sqlite"

    async def story() -> str:
        async with ledger_in(tmp_path) as ledger:
            await exchange(ledger)
        await asyncio.to_thread(shutil.copy, path, older)
        async with ledger_in(tmp_path) as ledger:
            await exchange(ledger)
            return await ledger.checkpoint()

    held = run(story())
    key = ring_in(tmp_path).public_key
    assert verify(path, held=held, public_key=key).ok
    assert verify(older).ok
    verdict = verify(older, held=held, public_key=key)
    assert (verdict.ok, verdict.first_bad) == (False, 6)
    assert not verify(path, held="nonsense").ok


def test_a_log_rewritten_by_the_key_holder_is_found_by_a_held_checkpoint(tmp_path: Path) -> None:
    """Another log signed with the same key passes by itself and fails against the checkpoint of the first."""

    async def story() -> str:
        async with ledger_in(tmp_path) as ledger:
            await exchange(ledger)
            note = await ledger.checkpoint()
        (origin,) = query(tmp_path / "ledger.sqlite", "SELECT origin FROM log")[0]
        await asyncio.to_thread((tmp_path / "ledger.sqlite").unlink)
        async with ledger_in(tmp_path):
            pass
        statements = [f"UPDATE log SET origin = '{origin}'", "DELETE FROM checkpoints"]  # noqa: S608  # a test's own
        statements.append("UPDATE tree SET mac = x''")  # as before the first commit
        await asyncio.to_thread(change, tmp_path / "ledger.sqlite", *statements)
        async with ledger_in(tmp_path) as ledger:
            await exchange(ledger)
        return note

    held = run(story())
    ring = ring_in(tmp_path)
    assert verify(tmp_path / "ledger.sqlite", ring=ring).ok
    verdict = verify(tmp_path / "ledger.sqlite", ring=ring, held=held)
    assert (verdict.ok, verdict.first_bad) == (False, 1)


@pytest.mark.parametrize("data", [None, b"", b"x", b"SQLite format 3\x00", b"\x00" * 9000, b"not a database" * 999])
def test_whatever_the_file_is_there_is_a_verdict(tmp_path: Path, data: bytes | None) -> None:
    """A file that is absent, empty or no ledger is not ok, and nothing is raised or made."""
    if data is not None:
        (tmp_path / "ledger.sqlite").write_bytes(data)
    before = folder_state(tmp_path)
    verdict = verify(tmp_path / "ledger.sqlite")
    assert (verdict.ok, verdict.size) == (False, 0)
    assert verdict.problems
    assert folder_state(tmp_path) == before


@pytest.mark.parametrize("time", ["2026-01-01T00:00:01.000000Z", "2025-12-31T00:00:00.000000Z", "2026-01-01 00:00:02"])
def test_times_that_do_not_rise_are_named(time: str) -> None:
    """The same once more, an earlier one, and what is no time."""
    findings = Findings()
    order = OrderCheck(findings, lambda *_: (0, "", True), print, print, bool)
    for number, at in enumerate(["2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:01.000000Z", time], 1):
        event = {"number": number, "time": at, "type": "operator", "audit_id": None}
        order.check(number, json.dumps(event).encode())
    assert findings.problems == ["event 3: its time is not after that of the event before it"]
