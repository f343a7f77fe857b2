"""`/api/audit/consistency` and its command: the log still begins as it did when a checkpoint was made that is held."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.ledger_kit import change, query
from tests.web.audit_proof_kit import Run, commands, ledger_file, public_key
from tests.web.chat_kit import QUESTION
from tests.web.world import World, world

from usher.backends.keyring import KeyRing
from usher.errors import UserError
from usher.ledger.checkpoint import Checkpoint, sign


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("consistency")) as made:
        made.chat(QUESTION)
        yield made


@pytest.fixture
def command(usher: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return commands(usher, monkeypatch, tmp_path)


def test_the_log_is_shown_to_begin_as_it_did(usher: World, command: Run, tmp_path: Path) -> None:
    """Against any checkpoint that is held, also the newest; the proof is checked here, and again elsewhere."""
    note, key, file = tmp_path / "note", tmp_path / "key", tmp_path / "proof"
    key.write_text(public_key(usher).hex())
    note.write_text(usher.run(usher.services.ledger.checkpoint()))
    usher.chat(QUESTION)
    usher.run(usher.services.ledger.checkpoint())
    printed = command("consistency", note, "--public-key", key)
    assert (printed.exit_code, "proven" in printed.stderr) == (0, True), printed.output
    file.write_text(printed.stdout)
    checked = command("check-proof", file, "--checkpoint", note, "--public-key", key)
    assert (checked.exit_code, "proven" in checked.output) == (0, True)
    assert usher.events()[-1]["question"] == "consistency"
    note.write_text(query(ledger_file(usher), "SELECT note FROM checkpoints ORDER BY id DESC LIMIT 1")[0][0])
    told = json.loads(command("consistency", note, "--public-key", key, "--json").stdout)
    assert (told["ok"], told["old"], told["checkpoint"]) == (True, told["size"], note.read_text())


def test_another_beginning_is_not_shown(usher: World, command: Run, tmp_path: Path) -> None:
    """A checkpoint of another history, log or key, a proof that was changed, and one against another checkpoint."""
    ring, origin = KeyRing.open(usher.folder / "home.keys"), query(ledger_file(usher), "SELECT origin FROM log")[0][0]
    note, key, file = tmp_path / "note", tmp_path / "key", tmp_path / "proof"
    key.write_text(public_key(usher).hex())
    older = usher.run(usher.services.ledger.checkpoint())
    usher.chat(QUESTION)
    good = usher.run(usher.services.ledger.checkpoint())
    note.write_text(good)
    usher.chat(QUESTION)
    usher.run(usher.services.ledger.checkpoint())
    file.write_text(command("consistency", note, "--public-key", key).stdout)
    other = KeyRing.create(tmp_path / "other.keys")
    for text in (
        sign(Checkpoint(origin, int(good.split("\n")[1]), b"x" * 32), ring.signing_key),
        sign(Checkpoint("usher/other", int(good.split("\n")[1]), b"x" * 32), ring.signing_key),
        sign(Checkpoint(origin, int(good.split("\n")[1]), b"x" * 32), other.signing_key),
        older,
        good[:-9] + "AAAAAAA=\n",
        "x\n3\n",
    ):
        note.write_text(text)
        refused = command("check-proof", file, "--checkpoint", note, "--public-key", key)
        assert (refused.exit_code, "NOT proven" in refused.output) == (1, True), text
    note.write_text(sign(Checkpoint(origin, int(good.split("\n")[1]), b"x" * 32), ring.signing_key))
    refused = command("consistency", note, "--public-key", key)
    assert (refused.exit_code, "NOT proven" in refused.output) == (1, True)
    note.write_text(good)
    lines = file.read_text().split("\n")
    for changed in (
        [lines[0], *lines[2:]],
        [lines[0], lines[1], *lines[1:]],
        [lines[0] + "0", *lines[1:]],
        ["old 0", *lines[1:]],
    ):
        file.write_text("\n".join(changed))
        assert command("check-proof", file, "--checkpoint", note, "--public-key", key).exit_code == 1
    assert isinstance(command("check-proof", file, "--public-key", key).exception, UserError)


@pytest.mark.parametrize(("size", "status"), [("0", 400), ("-1", 400), ("x", 400), ("9" * 18, 404), ("9" * 25, 400)])
def test_a_log_that_is_shorter_proves_nothing(usher: World, size: str, status: int) -> None:
    """What is no size, or of more events than there are; whoever may not read the log learns not even that."""
    path = f"/api/audit/consistency?size={size}"
    assert usher.ask("GET", path, "dave").status_code == status
    assert usher.ask("GET", path, "bob").status_code == 403


def test_a_beginning_that_was_changed_is_not_shown(usher: World) -> None:
    """A stored leaf that does not lead to the signed root is told, not served; put right, it is shown again."""
    ((leaf,),) = query(ledger_file(usher), "SELECT hex(leaf) FROM events WHERE number = 2")
    usher.services.audit.proofs._prover.forget()
    change(ledger_file(usher), "UPDATE events SET leaf = zeroblob(32) WHERE number = 2")
    assert usher.ask("GET", "/api/audit/consistency?size=3", "dave").status_code == 500
    change(ledger_file(usher), f"UPDATE events SET leaf = x'{leaf}' WHERE number = 2")  # noqa: S608  # a test's own
    assert usher.ask("GET", "/api/audit/consistency?size=3", "dave").status_code == 200
