"""Tampering with an export: whatever is changed is found out; and what nobody can find out, the verifier says."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.ledger.ledger_kit import change, query
from tests.web.export_changes import EVENTS, PROOF, TABLE, Files, lines_of, no_event, torn
from tests.web.export_kit import exported, files_in, public_key, signed_again, something_happens, verified
from tests.web.world import World, world

from usher.audit.export import ExportQuery
from usher.audit.proof import Contradiction
from usher.audit.reviewers import Reviewer
from usher.ledger.checkpoint import Checkpoint, sign, verifier_key
from usher.ledger.manifest import sign_manifest
from usher.ledger.verify.export import COMPLETENESS, is_export, verify_export


@dataclass
class Given:
    """An export of one document's exchanges, with a table and names; and of the whole log."""

    usher: World
    key: bytes
    files: Files
    all: Files

    def resigned(self, files: Files, /, **changes: Any) -> Files:
        """As somebody with the log's own key would: lengths, digests and count fit what is there."""
        manifest = json.loads(files["manifest.json"])
        for name in manifest["files"]:
            data = files[name]
            manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        lines = [json.loads(line) for line in files["events.jsonl"].splitlines()]
        lines = [line.get("event", line) for line in lines]
        manifest |= {"count": len(lines), "first": lines[0]["number"], "last": lines[-1]["number"]}
        return signed_again(self.usher, files, manifest | changes)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    with world(tmp_path_factory.mktemp("tamper")) as usher:
        document = something_happens(usher)
        files = files_in(exported(usher, document=document, format="csv", names="true"))
        yield Given(usher, public_key(usher), files, files_in(exported(usher, format="csv")))


@pytest.mark.parametrize("change", [*EVENTS, *PROOF, *TABLE], ids=lambda change: change.__name__)
def test_whatever_is_changed_is_found(given: Given, tmp_path: Path, change: Callable[[Files], Files]) -> None:
    """By the digests of the manifest; and, should somebody with the log's own key have signed it anew, by the proof
    or the table itself."""
    changed = change(given.files)
    assert changed != given.files
    verdict = verified(tmp_path, changed, given.key)
    assert not verdict.ok
    assert any("is not the file that was signed" in problem or "no event" in problem for problem in verdict.problems)
    if change in (torn, no_event):
        return
    assert not verified(tmp_path, given.resigned(changed), given.key).ok


@pytest.mark.parametrize(
    "name", ["events.jsonl", "events.csv", "proof.txt", "names.json", "manifest.json", "manifest.note"]
)
def test_every_byte_of_every_file_counts(given: Given, tmp_path: Path, name: str) -> None:
    """A bit of it, here and there; and a file that is not there, or is there twice or in addition."""
    data = given.files[name]
    for place in range(0, len(data), max(1, len(data) // 12)):
        changed = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        assert not verified(tmp_path, {**given.files, name: changed}, given.key).ok, place
    assert not verified(tmp_path, {n: d for n, d in given.files.items() if n != name}, given.key).ok
    assert not verified(tmp_path, {**given.files, "more.txt": b""}, given.key).ok


def test_a_zip_with_a_file_twice_is_refused(given: Given, tmp_path: Path) -> None:
    """Which of the two somebody else reads is not to be known."""
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in given.files.items():
            archive.writestr(name, data)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("events.jsonl", given.files["events.jsonl"])
    assert "more than once" in verify_export(path, public_key=given.key).problems[0]


def test_a_part_of_a_zip_is_no_export(given: Given, tmp_path: Path) -> None:
    """As it is left where the sending broke off."""
    whole = exported(given.usher)
    path = tmp_path / "part.zip"
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert is_export(path)
        assert not verify_export(path, public_key=given.key).ok


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"query": {"from": "2030-01-01T00:00:00.000000Z"}}, "span"),
        ({"query": {"to": "2020-01-01T00:00:00.000000Z"}}, "span"),
        ({"query": {"types": ["answer"]}}, "type"),
        ({"query": {"document": "01a2043e-25a5-71d1-98db-b2170744b0c1"}}, "names nothing"),
        ({"query": {"pseudonym": "01a2043e-25a5-71d1-98db-b2170744b0c1"}}, "names nothing"),
        ({"count": 3}, "the number of its events"),
        ({"first": 1}, "the number of its events"),
        ({"last": 10**6}, "the number of its events"),
        ({"origin": "usher/another"}, "another log"),
        ({"format": "usher-export@v2"}, "format"),
        ({"query": {"types": "answer"}}, "what one must"),
        ({"files": {}}, "files"),
        ({"columns": None}, "files"),
        ({"checkpoint": ""}, "checkpoint"),
        ({"key": "x", "checkpoint": 5}, "what one must"),
    ],
    ids=range(15),
)
def test_what_its_server_says_must_fit_too(given: Given, tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    """Signed with the log's key or not: span, types, names, count and the format itself."""
    query = {**json.loads(given.files["manifest.json"])["query"], **changes.get("query", {})}
    verdict = verified(tmp_path, given.resigned(given.files, **{**changes, "query": query}), given.key)
    assert not verdict.ok
    assert any(problem in told for told in verdict.problems), verdict.problems


def test_another_key_is_found_and_its_own_key_vouches_for_nobody(given: Given, tmp_path: Path) -> None:
    """A forger signs all anew: without the log's key that is whole, and its verifier says whose word it is."""
    manifest, forger = json.loads(given.files["manifest.json"]), Ed25519PrivateKey.generate()
    origin, public = manifest["origin"], forger.public_key().public_bytes_raw()
    _, size, root = manifest["checkpoint"].split("\n")[:3]
    manifest["checkpoint"] = sign(Checkpoint(origin, int(size), base64.b64decode(root)), forger)
    manifest["key"] = verifier_key(origin, public)
    data = json.dumps(manifest).encode()
    forged = {**given.files, "manifest.json": data, "manifest.note": sign_manifest(origin, data, forger).encode()}
    own = verified(tmp_path, forged, None)
    assert (own.ok, own.signatures) == (True, "own")
    assert any("whose log" in line for line in own.untold)
    assert not verified(tmp_path, forged, given.key).ok
    assert not verified(tmp_path, given.files, public).ok


def test_another_checkpoint_is_found(given: Given, tmp_path: Path) -> None:
    """One of the same log and key, and a held one that it does not continue."""
    other = json.loads(given.all["manifest.json"])["checkpoint"]
    swapped = given.resigned(given.files, checkpoint=other)
    assert any("root" in told or "proof" in told for told in verified(tmp_path, swapped, given.key).problems)
    origin, size, _ = other.split("\n")[:3]
    ring_key = given.usher.services.audit.exports._parts.signing_key
    split = sign(Checkpoint(origin, int(size), b"\0" * 32), ring_key)
    assert not verified(tmp_path, given.all, given.key, split).ok
    assert verified(tmp_path, given.all, given.key, other).ok
    assert not verified(tmp_path, given.all, given.key, "nonsense").ok


def test_the_signatures_of_checkpoints_and_of_exports_do_not_stand_for_each_other(given: Given, tmp_path: Path) -> None:
    """Each is of a text that the other cannot be, under a key's name of its own."""
    checkpoint = json.loads(given.files["manifest.json"])["checkpoint"].encode()
    assert not verified(tmp_path, {**given.files, "manifest.note": checkpoint}, given.key).ok
    note = given.files["manifest.note"].decode()
    assert not verified(tmp_path, given.resigned(given.files, checkpoint=note), given.key).ok


def test_that_something_was_left_out_by_its_server_cannot_be_found(given: Given, tmp_path: Path) -> None:
    """Whoever has the log's key can prove fewer events than fit the query: so that is what the verifier does not vouch
    for, in so many words."""
    from usher.ledger.manifest import Multiproof

    lines = lines_of(given.all)
    kept = [line for line in lines if json.loads(line)["number"] != 5]
    size = int(json.loads(given.all["manifest.json"])["checkpoint"].split("\n")[1])
    proof = Multiproof(given.usher.services.audit.exports._parts.prover.over(size), size)
    hashes = []
    for line in kept:
        event = line.removesuffix(b"\n")
        hashes += proof.take(json.loads(event)["number"], hashlib.sha256(b"\x00" + event).digest())
    hashes += proof.rest()
    rows = lines_of(given.all, "events.csv")
    table = [row for row in rows if not row.startswith(b'"5",')]
    files = {**given.all, "events.jsonl": b"".join(kept), "events.csv": b"".join(table)}
    files["proof.txt"] = b"".join(base64.b64encode(node) + b"\n" for node in hashes)
    verdict = verified(tmp_path, given.resigned(files), given.key)
    assert (verdict.ok, verdict.count) == (True, len(lines) - 1)
    assert COMPLETENESS in verdict.untold


def test_a_folder_is_checked_as_a_zip_is(given: Given, tmp_path: Path) -> None:
    """And nothing is written in it."""
    folder = tmp_path / "export"
    folder.mkdir()
    assert not is_export(folder)
    for name, data in given.files.items():
        (folder / name).write_bytes(data)
    assert is_export(folder)
    assert verify_export(folder, public_key=given.key).ok
    (folder / "events.csv").write_bytes(given.files["events.csv"] + b"\r\n")
    assert not verify_export(folder, public_key=given.key).ok
    assert {path.name for path in folder.iterdir()} == set(given.files)


def test_the_table_is_read_by_others_as_it_is_checked(given: Given) -> None:
    """As many columns in each row, and each text as in the event."""
    rows = list(csv.reader(io.StringIO(given.files["events.csv"].decode("utf-8-sig"), newline=""), strict=True))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows) == len(lines_of(given.files)) + 1


def test_of_a_record_that_was_changed_no_export_is_signed(given: Given) -> None:
    """What is stored does not lead to what was signed: there is no manifest, and no word that it was made."""
    usher, parts = given.usher, list[bytes]()
    ledger, before = usher.folder / "home" / "ledger.sqlite", len(given.usher.events())
    ((event,),) = query(ledger, "SELECT hex(event) FROM events WHERE number = 3")

    async def made() -> None:
        begun = await usher.services.audit.exports.begin(Reviewer(None, "operator:uid:0"), ExportQuery())
        async for part in begun.chunks():
            parts.append(part)

    other = """CAST(replace(event, '"op":"put"', '"op":"cut"') AS BLOB)"""
    change(ledger, f"UPDATE events SET event = {other} WHERE number = 3")  # noqa: S608  # the test's own
    try:
        with pytest.raises(Contradiction, match="contradict the log's checkpoint"):
            usher.run(made())
    finally:
        change(ledger, f"UPDATE events SET event = x'{event}' WHERE number = 3")  # noqa: S608  # the test's own
    assert b"manifest" not in b"".join(parts)
    assert [one.get("question") for one in usher.events()[before:]] == ["export"]
    usher.run(made())
    assert b"manifest" in b"".join(parts)
