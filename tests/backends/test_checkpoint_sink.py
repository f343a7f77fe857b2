"""Checkpoints carried elsewhere: real files, real commands, and sinks that fail."""

from __future__ import annotations

import asyncio
import os
import resource
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.ledger.ledger_kit import exchange, ledger_in, ring_in, run
from tests.web.world import world

from usher.backends.checkpoint_sink import CheckpointSink, SinkFailed, append
from usher.errors import UserError
from usher.ledger.verify import verify
from usher.services import CHECKPOINT_SINK
from usher.settings import read_settings

NOTE = "usher/log\n3\nroot\n\n\u2014 usher/log signature\n"


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def script(folder: Path, text: str) -> str:
    """A sink's setting: a command that is a program of its own."""
    path = folder / "take in.py"
    path.write_text(f"#!{sys.executable} -SE\nimport os, sys, time\n{text}\n")
    path.chmod(0o700)
    return f"|'{path}' one 'two words'"


def test_a_file_gets_every_new_checkpoint(tmp_path: Path) -> None:
    """Each one that is made, to the one of the stop; none twice; the last five lines are the newest, and verify."""
    path = tmp_path / "notes"
    sink = CheckpointSink.of(str(path))

    async def story() -> list[str]:
        async with ledger_in(tmp_path, heard=sink.put) as ledger:
            notes = []
            for _ in range(3):
                await exchange(ledger)
                notes.append(await ledger.checkpoint())
                assert await ledger.checkpoint() == notes[-1]
                await asyncio.to_thread(until, lambda: path.read_text().endswith(notes[-1]))
            await exchange(ledger)
            return notes

    notes = run(story())
    sink.close()
    lines = path.read_text().splitlines(keepends=True)
    kept = ["".join(lines[at : at + 5]) for at in range(0, len(lines), 5)]
    assert kept[-4:-1] == notes
    assert [note.split("\n")[1] for note in kept[-4:]] == ["5", "10", "15", "20"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    verdict = verify(tmp_path / "ledger.sqlite", held=kept[-1], public_key=ring_in(tmp_path).public_key)
    assert (verdict.ok, verdict.size) == (True, 20)


def test_a_command_gets_the_note_and_nothing_of_ushers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte on standard input, with its own words, through no shell, without variables that hold secrets."""
    monkeypatch.setenv("USHER_MASTER_KEY", "secret")
    said = tmp_path / "said"
    setting = script(
        tmp_path,
        f"told = sys.stdin.buffer.read(); there = [n for n in os.environ if n.startswith('USHER')]\n"
        f"open({str(said) + '.part'!r}, 'wb').write(repr((sys.argv[1:], there)).encode() + told)\n"
        f"os.rename({str(said) + '.part'!r}, {str(said)!r})",
    )
    sink = CheckpointSink.of(setting + " '$HOME;`id`'")
    sink.put(NOTE)
    until(said.exists)
    assert said.read_text() == repr((["one", "two words", "$HOME;`id`"], [])) + NOTE
    sink.close()
    assert sink.state() == "ok"


def test_a_command_that_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    """Its exit code; when it works again the newest checkpoint arrives by itself, though none is made."""
    mended, said = tmp_path / "mended", tmp_path / "said"
    setting = script(
        tmp_path,
        f"if not os.path.exists({str(mended)!r}): sys.exit(3)\nopen({str(said)!r}, 'a').write(sys.stdin.read())",
    )
    sink = CheckpointSink.of(setting, retry=0.02)
    sink.put(NOTE)
    until(lambda: sink.state() == "exits with 3")
    mended.touch()
    until(lambda: sink.state() == "ok")
    assert said.read_text() == NOTE
    sink.close()


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    """After the time limit; what it had started ends too."""
    children = tmp_path / "children"
    text = f"open({str(children)!r}, 'a').write(f'{{os.fork()}}\\n'); time.sleep(60)"
    sink = CheckpointSink.of(script(tmp_path, text), limit=0.3, retry=60)
    sink.put(NOTE)
    until(lambda: sink.state() == "takes longer than 0.3 s")
    sink.close()
    ids = [int(line) for line in children.read_text().split() if line != "0"]
    assert ids
    until(lambda: not any(_lives(ident) for ident in ids))


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_sink_that_cannot_keep_up_gets_the_newest() -> None:
    """What came while it was busy is one delivery: a newer checkpoint covers the older ones."""
    busy, got = threading.Event(), list[str]()

    def deliver(note: str) -> None:
        got.append(note)
        busy.wait()

    sink = CheckpointSink(deliver, limit=0.05)
    for number in range(50):
        sink.put(f"{number}")
        if not number:
            until(lambda: got == ["0"])
    sink._limit = -1.0  # it has been busy for longer than that
    assert sink.state() == "hangs"
    busy.set()
    until(lambda: len(got) == 2)
    sink.close()
    assert got == ["0", "49"]


def test_a_sink_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    """Recording and stopping go on; the sink's end waits its time limit, and no longer."""
    forever = threading.Event()
    sink = CheckpointSink(lambda note: bool(forever.wait()), limit=0.05)  # type: ignore[arg-type]  # no note

    async def story() -> None:
        async with ledger_in(tmp_path, heard=sink.put) as ledger:
            for _ in range(3):
                await exchange(ledger)
                await ledger.checkpoint()
            assert ledger.healthy() is None

    begun = time.monotonic()
    run(story())
    sink.close()
    assert time.monotonic() - begun < 5
    forever.set()


def test_a_full_disk_leaves_no_torn_note(tmp_path: Path) -> None:
    """A write that is cut short is taken back and told; with room it works again."""
    path, before = tmp_path / "notes", resource.getrlimit(resource.RLIMIT_FSIZE)
    append(path, NOTE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(NOTE.encode()) + 9, before[1]))
    try:
        with pytest.raises(SinkFailed, match="a part"):
            append(path, NOTE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == NOTE
    append(path, NOTE)
    assert path.read_text() == NOTE * 2


@pytest.mark.parametrize("setting", ["{0}", "{0}/none/notes", "{0}/pipe", "|{0}/none", "|usher-none-such"])
def test_a_sink_that_cannot_work_does_not_start(setting: str, tmp_path: Path) -> None:
    """A folder, a place that is not there, a pipe that nobody reads, a program that is none."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError) as raised:
        CheckpointSink.of(setting.format(tmp_path))
    assert raised.value.field == "USHER_CHECKPOINT_SINK"
    assert raised.value.remedy


@pytest.mark.parametrize(
    "setting", ["|", "| ", "|'open", "home/notes", "home/../home/ledger.sqlite", "home.keys", "home"]
)
def test_a_setting_that_makes_no_sense_is_named(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command, half a word, or a place that is no better than the record's own."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as raised:
        read_settings(home="home", checkpoint_sink=setting)
    assert raised.value.field == "USHER_CHECKPOINT_SINK"


def test_a_relative_place_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's; a command stays as it is."""
    monkeypatch.chdir(tmp_path)
    assert read_settings(checkpoint_sink="notes").checkpoint_sink == str(tmp_path / "notes")
    assert read_settings(checkpoint_sink="|tee notes").checkpoint_sink == "|tee notes"


def test_a_failing_sink_is_told_and_stops_nothing(tmp_path: Path) -> None:
    """The server is ready and answers; which part fails stands in its health and in the operator's status."""

    def deliver(note: str) -> None:
        raise SinkFailed("exits with 7")

    sink = CheckpointSink(deliver)
    with world(tmp_path) as usher:
        services, before = usher.services, usher.services.ready

        async def ready() -> dict[str, str]:
            return {**await before(), CHECKPOINT_SINK: sink.state()}

        sink.put(NOTE)
        until(lambda: sink.state() != "ok")
        object.__setattr__(services, "ready", ready)
        response = usher.ask("GET", "/health/ready", None)
        assert (response.status_code, response.json()["parts"]["checkpoint sink"]) == (200, "exits with 7")
        assert response.json()["status"] == "ok"
        assert usher.search("holiday").status_code == 200
    sink.close()
