"""What `usher audit verify` claims: no more than was checked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from usher.backends.keyring import KeyRing
from usher.backends.ledger_sql import SqlLog
from usher.cli import app
from usher.cli_audit_verify import told
from usher.ledger.record import Entry, EventType
from usher.ledger.sequencer import Ledger
from usher.ledger.verify import Trust, Verdict

VERDICT: dict[str, Any] = {
    "ok": True,
    "size": 9,
    "root": "ab",
    "checkpoint": None,
    "first_bad": None,
    "problems": (),
    "content": "checked",
    "signatures": "ring",
    "uncovered": 0,
}
ALONE = {"content": "unchecked", "signatures": "own"}


@pytest.mark.parametrize(
    ("facts", "said", "unsaid"),
    [
        ({}, ["is whole", "content checked"], ["own key", "not checked", "checkpoint"]),
        ({"uncovered": 2}, ["whole", "(the last 2 in no checkpoint yet), content checked"], ["vouches"]),
        (ALONE, ["agrees with itself", "own key only", "content was not checked"], ["is whole"]),
        (ALONE | {"uncovered": 2}, ["nothing vouches for the last 2 events"], ["is whole"]),
        (ALONE | {"signatures": "given"}, ["is whole", "content was not checked"], ["own key"]),
        (ALONE | {"ok": False, "first_bad": 3}, ["is NOT whole", "first bad event: 3", "own key only"], []),
        ({"ok": False, "first_bad": 1}, ["nothing vouches for any of its events"], ["as they were recorded"]),
        (
            {"ok": False, "first_bad": 8, "trusted": (Trust(5, "held", "note"), Trust(7, "stored", "note"))},
            ["events 1 to 5 are as they were recorded, by the checkpoint that you hold", "events 1 to 7", "its key"],
            ["nothing vouches"],
        ),
        ({"pending": 4}, ["is whole", "4 events are acknowledged and wait for their place: they were not checked"], []),
        (
            {"ok": False, "size": 0, "first_bad": 1, "problems": ("event 1: the ledger cannot be read further: no",)},
            ["the record could NOT be read: nothing is known of it"],
            ["whole", "first bad event", "checked"],
        ),
        ({"open": 1}, ["is whole", "1 answers have not ended: no event commits yet to what was shown of them"], []),
    ],
)
def test_the_words_claim_what_was_checked(facts: dict[str, Any], said: list[str], unsaid: list[str]) -> None:
    """With whose key signatures were checked, whether content was, and what no checkpoint covers."""
    text = "\n".join(told(Verdict(**(VERDICT | facts))))
    assert all(words in text for words in said), text
    assert not any(words in text for words in unsaid), text


def test_without_the_ring_the_command_does_not_say_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a data folder alone, as on a copy of it; beside its ring it does."""
    (tmp_path / "home").mkdir()
    ring = KeyRing.create(tmp_path / "home.keys")

    async def recorded() -> None:
        ledger = await Ledger.open(SqlLog(tmp_path / "home" / "ledger.sqlite"), ring)
        await ledger.append([Entry(EventType.OPERATOR)])
        await ledger.close()

    asyncio.run(recorded())
    monkeypatch.setenv("USHER_HOME", str(tmp_path / "home"))
    with_ring = CliRunner().invoke(app, ["audit", "verify"])
    assert (with_ring.exit_code, "is whole" in with_ring.output) == (0, True)
    ring.path.rename(tmp_path / "away")
    without = CliRunner().invoke(app, ["audit", "verify"])
    assert (without.exit_code, "is whole" in without.output) == (0, False)
    assert "own key only" in " ".join(without.output.split())
