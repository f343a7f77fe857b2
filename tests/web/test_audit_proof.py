"""`/api/audit/proof` and the two commands: an event is in the log, shown to somebody who has only a key or a note."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from tests.ledger.ledger_kit import change, query
from tests.web.audit_proof_kit import Run, commands, ledger_file, public_key
from tests.web.chat_kit import QUESTION
from tests.web.world import POLICY, World, world

from usher import cli_audit_proof
from usher.audit.proof import Proofs
from usher.errors import UserError
from usher.ledger.checkpoint import verifier_key
from usher.ledger.record import Entry, EventType, leaf_hash
from usher.ledger.verify.notes import key_of
from usher.ledger.verify.proof import BadProof, verify_inclusion
from usher.ledger.verify.tlog_proof import check_tlog_proof

PATH = "/api/audit/proof"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("proof")) as made:
        made.chat(QUESTION)
        made.run(made.services.ledger.checkpoint())
        yield made


def get(usher: World, path: str, who: str = "dave") -> httpx.Response:
    return usher.ask("GET", f"{PATH}/{path}", who)


def proof(usher: World, path: str) -> dict[str, Any]:
    response = get(usher, path)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def stored(usher: World, number: int) -> bytes:
    (event,) = query(ledger_file(usher), f"SELECT event FROM events WHERE number = {number}")[0]  # noqa: S608  # a number
    return cast(bytes, event)


def test_every_event_is_proven_against_the_newest_checkpoint(usher: World) -> None:
    """Leaf hash, path and signed root belong together, and of the event's own values nothing is told."""
    note = query(ledger_file(usher), "SELECT note FROM checkpoints ORDER BY id DESC LIMIT 1")[0][0]
    size = int(note.split("\n")[1])
    for number in (1, 2, size // 2, size):
        body = proof(usher, str(number))
        assert (body["number"], body["index"], body["checkpoint"]) == (number, number - 1, note)
        leaf, hashes = bytes.fromhex(body["leaf_hash"]), [bytes.fromhex(text) for text in body["hashes"]]
        assert leaf == leaf_hash(stored(usher, number))
        origin, told, root = note.split("\n")[:3]
        verify_inclusion(body["index"], int(told), leaf, hashes, base64.b64decode(root))
        assert key_of(body["key"], origin) == public_key(usher)
        proven = check_tlog_proof(body["tlog_proof"], key=public_key(usher), event=stored(usher, number))
        assert (proven.number, proven.size, proven.origin) == (number, size, origin)


def test_an_event_that_no_checkpoint_covers_gets_one(usher: World) -> None:
    """The newest event is proven at once."""
    usher.chat(QUESTION)
    number = len(usher.events())
    body = proof(usher, str(number))
    assert body["size"] >= number
    assert check_tlog_proof(body["tlog_proof"], key=public_key(usher), event=stored(usher, number)).number == number


def test_a_proof_against_an_older_checkpoint(usher: World) -> None:
    """By its size, so that whoever holds that note needs no other."""
    size, note = query(ledger_file(usher), "SELECT size, note FROM checkpoints ORDER BY id DESC LIMIT 1")[0]
    usher.chat(QUESTION)
    usher.run(usher.services.ledger.checkpoint())
    body = proof(usher, f"3?size={size}")
    assert (body["checkpoint"], body["size"]) == (note, size)
    assert check_tlog_proof(body["tlog_proof"], held=note).number == 3
    with pytest.raises(BadProof, match="held"):
        check_tlog_proof(proof(usher, "3")["tlog_proof"], held=note)


def test_a_proof_is_recorded_and_needs_the_right(usher: World) -> None:
    """Who asked for which, under a pseudonym; whoever may not read the log learns nothing, unrecorded."""
    proof(usher, "2")
    event = usher.events()[-1]
    assert (event["type"], event["proof"], event["checkpoint_size"], event["actor"]) == ("audit_read", 2, None, "key")
    assert "dave" not in repr(event)
    before = len(usher.events())
    assert {get(usher, path, "bob").status_code for path in ("2", "999999", "x")} == {403}
    assert len(usher.events()) == before


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("0", 400, "number"),
        ("x", 400, "number"),
        ("-1", 400, "number"),
        ("9" * 30, 400, "number"),
        ("9223372036854775808", 400, "number"),
        ("2?size=1", 400, "size"),
        ("2?size=9223372036854775808", 400, "size"),
        ("2?size=x", 400, "size"),
        ("1?size=1", 404, "size"),
        ("1?size=9223372036854775807", 404, "size"),
        ("999999", 404, "number"),
    ],
)
def test_what_cannot_be_proven_is_told_with_the_remedy(usher: World, path: str, status: int, field: str) -> None:
    """What is no number, no event or no checkpoint of the log."""
    response = get(usher, path)
    assert (response.status_code, response.json()["field"]) == (status, field)
    assert response.json()["remedy"]


def test_what_was_changed_is_not_proven(usher: World) -> None:
    """A stored leaf that does not lead to the signed root is told, not served; put right, it is proven again."""
    usher.run(usher.services.ledger.append([Entry(EventType.OPERATOR)] * 400))
    usher.run(usher.services.ledger.checkpoint())
    ((leaf,),) = query(ledger_file(usher), "SELECT hex(leaf) FROM events WHERE number = 4")
    change(ledger_file(usher), "UPDATE events SET leaf = zeroblob(32) WHERE number = 4")
    for number in ("4", "400"):
        response = get(usher, number)
        assert response.status_code == 500
        assert "usher audit verify" in response.json()["remedy"]
    change(ledger_file(usher), f"UPDATE events SET leaf = x'{leaf}' WHERE number = 4")  # noqa: S608  # a test's own
    proof(usher, "4")
    proof(usher, "400")


def test_whoever_loses_the_right_meanwhile_gets_no_proof(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right is judged again before it is given."""
    real = Proofs._checkpoint

    async def meanwhile(self: Proofs, *asked: Any) -> Any:
        await usher.apply(POLICY.replace("g, user:dave, role:auditor\n", ""))
        return await real(self, *asked)

    monkeypatch.setattr(Proofs, "_checkpoint", meanwhile)
    assert get(usher, "1").status_code == 403
    monkeypatch.undo()
    usher.run(usher.apply(POLICY))


def test_many_at_once_are_each_proven(usher: World) -> None:
    """Proofs asked for together are those of their own events."""

    async def all_of_them() -> list[httpx.Response]:
        return await asyncio.gather(*(usher.asked("GET", f"{PATH}/{n}", "dave") for n in range(1, 13)))

    for number, response in enumerate(usher.run(all_of_them()), 1):
        assert check_tlog_proof(response.json()["tlog_proof"], key=public_key(usher), event=stored(usher, number))


@pytest.fixture
def command(usher: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return commands(usher, monkeypatch, tmp_path)


def test_what_the_command_prints_is_checked_elsewhere(usher: World, command: Run, tmp_path: Path) -> None:
    """With the public key and the event's bytes, as the printed words say; the reading is the operator's."""
    printed = command("proof", 3)
    assert printed.exit_code == 0
    assert usher.events()[-1]["actor"].startswith("operator:uid:")
    file, key, event = tmp_path / "3.tlog-proof", tmp_path / "key", tmp_path / "event"
    file.write_text(printed.stdout)
    assert printed.stdout == json.loads(command("proof", 3, "--json").stdout)["tlog_proof"]
    key.write_text(public_key(usher).hex())
    assert key.read_text() in printed.stderr
    event.write_bytes(stored(usher, 3))
    checked = command("check-proof", file, "--public-key", key, "--event", event)
    assert (checked.exit_code, "proven: event 3 " in checked.output) == (0, True)
    assert "not checked" not in checked.output
    assert "was not checked" in " ".join(command("check-proof", file, "--public-key", key).output.split())
    event.write_bytes(stored(usher, 4))
    refused = command("check-proof", file, "--public-key", key, "--event", event)
    assert (refused.exit_code, "NOT proven" in refused.output) == (1, True)
    key.write_text(bytes(32).hex())
    assert json.loads(command("check-proof", file, "--public-key", key, "--json").stdout)["ok"] is False


def test_the_command_proves_against_a_held_checkpoint(usher: World, command: Run, tmp_path: Path) -> None:
    """With nothing but that note; without note, key and ring it says what is missing."""
    note, file = tmp_path / "note", tmp_path / "1.tlog-proof"
    note.write_text(usher.run(usher.services.ledger.checkpoint()))
    usher.chat(QUESTION)
    usher.run(usher.services.ledger.checkpoint())
    file.write_text(command("proof", 1, "--checkpoint", note).stdout)
    checked = command("check-proof", file, "--checkpoint", note)
    assert (checked.exit_code, "by the held checkpoint" in checked.output) == (0, True)
    nothing = command("check-proof", file)
    assert isinstance(nothing.exception, UserError)
    assert nothing.exception.field == "--public-key"
    note.write_text("nonsense")
    assert isinstance(command("proof", 1, "--checkpoint", note).exception, UserError)


def test_the_words_name_the_public_key() -> None:
    """Also one in whose base64 the separator of a verifier key stands."""
    public = bytes.fromhex("fb" * 32)
    key = verifier_key("usher/log", public)
    assert key.count("+") > 2
    assert public.hex() in "".join(cli_audit_proof.how_to_check(key))


def test_a_bent_proof_shows_nothing(usher: World) -> None:
    """Any character changed, any line left out, doubled (but for a signature) or swapped; a key or a note is needed."""
    text, key = proof(usher, "5")["tlog_proof"], public_key(usher)
    lines = text.split("\n")
    bent = [text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :] for at in range(0, text.index("\n\n"), 7)]
    bent += ["\n".join(lines[:at] + lines[at + 1 :]) for at in range(len(lines))]
    bent += ["\n".join([*lines[: at + 1], *lines[at:]]) for at in range(3, len(lines) - 2)]
    bent += ["\n".join([*lines[:3], lines[4], lines[3], *lines[5:]]), "", text.replace("index 4", "index 04")]
    hashes = [at for at, line in enumerate(lines[: lines.index("")]) if line.endswith("=")]
    spare = [lines[at][:-2] + chr(ord(lines[at][-2]) + 1) + "=" for at in hashes]  # the same bytes, written otherwise
    bent += ["\n".join([*lines[:at], other, *lines[at + 1 :]]) for at, other in zip(hashes, spare, strict=True)]
    for other in bent:
        with pytest.raises(BadProof):
            check_tlog_proof(other, key=key)
    with pytest.raises(BadProof, match="public key"):
        check_tlog_proof(text)
    for held in ("", "nonsense", "a\nb\nc\n", "a\n1\nc\n"):
        with pytest.raises(BadProof, match="checkpoint"):
            check_tlog_proof(text, held=held)
