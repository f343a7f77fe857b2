"""Real faults of disk and clock, and their stated outcomes; `docs/faults.md` has a line for each of these tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.ledger import faults_kit as kit
from tests.ledger.ledger_kit import ring_in

from usher.ledger.verify import verify

pytestmark = pytest.mark.slow

Told = dict[str, Any]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What was told of a disk and a clock that fail."""
    if why := kit.missing_compiler():
        pytest.skip(f"no disk can be made to fail here: {why}")
    folder = tmp_path_factory.mktemp("disk")
    library = kit.build(folder)
    return kit.told("tests.ledger.faults_disk", folder, kit.faulty(library, folder)) | {"folder": folder}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What was told of a small disk."""
    if why := kit.missing_mounts():
        pytest.skip(f"no small disk can be made here: {why}")
    return kit.told("tests.ledger.faults_room", tmp_path_factory.mktemp("room"), {}, "unshare", "-rm")


def value(told: Told, story: str) -> Any:
    assert "failed" not in told[story], told[story].get("failed")
    return told[story]["value"]


def whole(told: Told, story: str) -> bool:
    folder: Path = told["folder"] / story
    return verify(folder / "ledger.sqlite", ring=ring_in(folder)).ok


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        ("failing_fsync", "Input/output error|disk I/O error"),
        ("failing_write", "Input/output error|disk I/O error"),
        ("disk_that_turns_read_only", "Read-only file system|disk I/O error"),
    ],
)
def test_a_disk_that_fails_while_it_is_written(disk: Told, story: str, reason: str) -> None:
    """Each caller is refused, nobody was told otherwise, and the ledger is well again by itself: what it acknowledged
    before and after is there, once, and nothing else."""
    outcome = value(disk, story)
    assert all(re.search(reason, str(refused)) for refused in outcome["refused"])
    assert re.search(reason, outcome["unwell"])
    assert outcome["acknowledged"] == [*range(5), *range(15, 20)]
    assert outcome["stored"] == outcome["acknowledged"]
    assert whole(disk, story)


def test_an_fsync_that_hangs(disk: Told) -> None:
    """Callers are refused when their time is over, the server goes on answering meanwhile, and what hung may yet be
    recorded when the disk comes back, once."""
    outcome = value(disk, "hanging_fsync")
    assert outcome["hung"] == 1
    assert all("its disk hangs" in str(refused) for refused in outcome["refused"])
    assert "its disk hangs" in outcome["unwell"]
    assert outcome["took"] < 2
    assert outcome["pause"] < 0.3
    assert isinstance(outcome["after"], int)
    assert len(set(outcome["stored"])) == len(outcome["stored"])
    assert outcome["stored"][-1] == 11
    assert whole(disk, "hanging_fsync")


def test_a_stop_while_an_fsync_hangs(disk: Told) -> None:
    """The stop takes no longer than an append may, and the next start goes on from what is there."""
    outcome = value(disk, "stop_while_fsync_hangs")
    assert "its disk hangs" in outcome["refused"]
    assert outcome["took"] < 2
    assert isinstance(outcome["after"], int)
    assert outcome["stored"] == [0, 1]
    assert whole(disk, "stop_while_fsync_hangs")


def test_a_clock_that_goes_back(disk: Told) -> None:
    """Times go on rising, microsecond by microsecond, until the clock has caught up; the record says by how much it
    was behind, after each start anew, and half a second is not worth a word."""
    events = value(disk, "clock_that_goes_back")["events"]
    assert [event.get("n", event.get("outcome")) for event in events] == [
        0, "clock_behind", 1, 2, "clock_behind", 3, 4, 5
    ]  # fmt: skip
    assert [event["seconds"] for event in events if "seconds" in event] == [3600, 3600]
    times = [event["time"] for event in events]
    assert times == sorted(set(times))
    assert whole(disk, "clock_that_goes_back")


def test_a_disk_that_runs_full(room: Told) -> None:
    """Under the reserve a question is refused and the refusal recorded; under half of it, refused only; ends and
    administration are recorded until nothing is left, then nothing is; with room again all works by itself."""
    outcome = value(room, "full_disk")
    short, scarce, full = outcome["short"], outcome["scarce"], outcome["full"]
    assert "less free than the reserve" in short["asked"]
    assert short["unwell"] == short["asked"]
    assert short["recorded"] == ["request", "decision", "answer"]
    assert isinstance(short["administration"], int)
    assert "half the reserve" in scarce["asked"]
    assert scarce["recorded"] == []
    assert isinstance(scarce["administration"], int)
    assert "full" in full["last"]
    assert full["asked"]
    assert full["unwell"]
    assert full["verified"]
    assert outcome["again"] == {"asked": None}
    assert outcome["lost"] == []
    assert outcome["verified"]


def test_a_start_on_a_disk_that_is_full(room: Told) -> None:
    """What is left of the reserve is enough to end what a kill cut off; without any space nothing starts."""
    outcome = value(room, "start_on_a_full_disk")
    assert outcome["full"]
    assert outcome["scarce"] is None
    assert outcome["closed"] == ["request", "decision", "answer"]


def test_a_file_system_that_is_mounted_read_only(room: Told) -> None:
    """Nothing starts, and the reason says what to do; the record can be verified there all the same."""
    outcome = value(room, "read_only_disk")
    assert "read-only" in outcome["start"]
    assert outcome["verified"]
    assert outcome["again"] is None
