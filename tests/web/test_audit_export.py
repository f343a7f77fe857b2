"""`/api/audit/export` and `usher audit export`: events for somebody else, with what proves them there."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.ledger_kit import query
from tests.web.export_kit import (
    PATH,
    RIGHTS,
    events_of,
    exported,
    files_in,
    manifest_of,
    public_key,
    something_happens,
    verified,
)
from tests.web.world import POLICY, RULES, World, world

from usher.audit.export import ExportQuery
from usher.audit.export_making import Export
from usher.audit.reviewers import Reviewer
from usher.ledger.verify.export import COMPLETENESS
from usher.viewing import NotPermitted


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("export")) as made:
        yield made


@pytest.fixture(scope="module")
def document(usher: World) -> str:
    return something_happens(usher)


def stored(usher: World) -> list[bytes]:
    return [
        row[0] for row in query(usher.folder / "home" / "ledger.sqlite", "SELECT event FROM events ORDER BY number")
    ]


def pseudonym(usher: World, who: str) -> str:
    return usher.run(usher.services.ledger.pseudonym(who))


def test_events_are_as_they_are_stored_and_verify(usher: World, document: str, tmp_path: Path) -> None:
    """All of them up to the reading itself: the very bytes, proven by one checkpoint, with the log's key alone."""
    export = exported(usher)
    lines = files_in(export)["events.jsonl"].splitlines()
    assert lines == stored(usher)[: len(lines)]
    assert json.loads(lines[-1])["question"] == "export"
    verdict = verified(tmp_path, files_in(export), public_key(usher))
    assert (verdict.ok, verdict.problems, verdict.signatures) == (True, (), "given")
    assert verdict.count == verdict.size == len(lines)
    assert verdict.untold == (COMPLETENESS,)
    manifest = manifest_of(export)
    assert (manifest["count"], manifest["first"], manifest["last"]) == (len(lines), 1, len(lines))


def test_a_reading_is_recorded_before_anything_is_given_and_again_before_it_is_signed(
    usher: World, document: str
) -> None:
    """First what was asked, by ids; then how many events were given, under which manifest."""
    given = exported(usher, person="alice", format="csv", names="true")
    asked, made = usher.events()[-2:]
    assert (asked["question"], asked["pseudonym"], asked["names"]) == ("export", pseudonym(usher, "alice"), True)
    assert (made["question"], made["count"]) == ("exported", len(events_of(given)))
    assert made["manifest"] == hashlib.sha256(files_in(given)["manifest.json"]).hexdigest()
    assert made["checkpoint_size"] == asked["number"] == int(manifest_of(given)["checkpoint"].split("\n")[1])
    assert "alice" not in json.dumps([asked, made])


@pytest.mark.parametrize("given", [{}, {"format": "csv"}, {"format": "csv", "names": "true"}])
def test_whole_exchanges_are_chosen_by_what_one_of_their_events_names(
    usher: World, document: str, tmp_path: Path, given: dict[str, str]
) -> None:
    """By a document and by a person; few events prove with few hashes."""
    for who, by in ((None, {"document": document}), ("bob", {"person": "bob"})):
        export = exported(usher, **by, **given)
        found, name = events_of(export), document if who is None else pseudonym(usher, who)
        exchanges = {event["audit_id"] for event in found if event["audit_id"]}
        for exchange in exchanges:
            whole = usher.events(exchange)
            assert [event for event in found if event["audit_id"] == exchange] == whole
            assert name in json.dumps(whole)
        assert all(name in json.dumps(event) for event in found if not event["audit_id"])
        named = {e["number"] for e in usher.events() if name in json.dumps(e) and e["number"] <= found[-1]["number"]}
        assert named <= {event["number"] for event in found}
        assert verified(tmp_path, files_in(export), public_key(usher)).problems == ()
        assert 0 < files_in(export)["proof.txt"].count(b"\n") < 2 * len(usher.events())


def test_types_and_times_narrow_it(usher: World, document: str, tmp_path: Path) -> None:
    """Of several types, from an instant on (included) and up to one (excluded); also to nothing at all."""
    events = usher.events()
    since, until = events[4]["time"], events[-3]["time"]
    export = exported(usher, type=["answer", "request"], to=until, **{"from": since})
    wanted = [e for e in events if e["type"] in ("answer", "request") and since <= e["time"] < until]
    assert events_of(export) == wanted
    assert verified(tmp_path, files_in(export), public_key(usher)).ok
    assert [e["number"] for e in events_of(exported(usher, to=events[6]["time"], **{"from": events[5]["time"]}))] == [6]
    nothing = exported(usher, to="2020-01-01T00:00:00Z")
    assert (events_of(nothing), manifest_of(nothing)["first"]) == ([], None)
    assert verified(tmp_path, files_in(nothing), public_key(usher)).ok


def test_events_of_a_type_do_not_show_why_their_exchange_was_chosen(
    usher: World, document: str, tmp_path: Path
) -> None:
    """Their verifier says so."""
    verdict = verified(tmp_path, files_in(exported(usher, type="answer", document=document)), public_key(usher))
    assert verdict.ok
    assert any("other types" in line for line in verdict.untold)


def test_the_table_is_made_for_people(usher: World, document: str) -> None:
    """UTF-8 with its mark, one row for each event, names only where they were asked for."""
    files = files_in(exported(usher, format="csv", names="true", document=document))
    rows = list(csv.DictReader(io.StringIO(files["events.csv"].decode("utf-8-sig"), newline="")))
    events = [json.loads(line) for line in files["events.jsonl"].splitlines()]
    assert files["events.csv"].startswith(b"\xef\xbb\xbf")
    assert [int(row["number"]) for row in rows] == [event["number"] for event in events]
    users = {row["pseudonym"]: row["user"] for row in rows if row["type"] == "request"}
    assert users[pseudonym(usher, "bob")] == "bob"
    assert any(document in row["documents"] for row in rows)
    names = json.loads(files["names.json"])
    assert names["people"][pseudonym(usher, "bob")] == "bob"
    assert names["documents"][document]["path"].startswith("handbook/")
    assert "user" not in exported_header(usher, format="csv")
    assert b"bob" not in b"".join(files_in(exported(usher, format="csv")).values())


def exported_header(usher: World, **given: str) -> str:
    return files_in(exported(usher, **given))["events.csv"].split(b"\r\n")[0].decode("utf-8-sig")


def test_one_checkpoint_covers_what_grows_meanwhile(usher: World, document: str, tmp_path: Path) -> None:
    """Events that are recorded while it is made are after it."""

    async def made() -> bytes:
        begun = await usher.services.audit.exports.begin(Reviewer(None, "operator:uid:0"), ExportQuery(table=True))
        parts = []
        async for part in begun.chunks():
            parts.append(part)
            await usher.asked("POST", "/api/search", "alice", json={"q": "budget"})
        return b"".join(parts)

    before = len(usher.events())
    export = usher.run(made())
    verdict = verified(tmp_path, files_in(export), public_key(usher))
    assert (verdict.ok, verdict.size, verdict.count) == (True, before + 1, before + 1)
    assert len(usher.events()) > before + 4


def test_it_proves_that_it_continues_a_checkpoint_that_was_held(usher: World, document: str, tmp_path: Path) -> None:
    """An older one, if it was asked to; the one that it is of, always; no other."""
    notes = [
        row[0] for row in query(usher.folder / "home" / "ledger.sqlite", "SELECT note FROM checkpoints ORDER BY id")
    ]
    older = next(note for note in notes if int(note.split("\n")[1]) > 1)
    key = public_key(usher)
    asked = files_in(exported(usher, held=older.split("\n")[1]))
    plain = files_in(exported(usher))
    assert verified(tmp_path, asked, key, older).ok
    assert verified(tmp_path, asked, key, "".join(notes)).ok  # as a sink keeps them
    assert verified(tmp_path, plain, key, json.loads(plain["manifest.json"])["checkpoint"]).ok
    refused = verified(tmp_path, plain, key, older)
    assert not refused.ok
    assert "--checkpoint" in refused.problems[0]


def test_a_limited_reviewer_gets_what_is_within_reach_and_is_told_so(
    usher: World, document: str, tmp_path: Path
) -> None:
    """Only events that list such documents, cut to them, whose hashes alone are proven."""
    export = exported(usher, "erin", format="csv")
    lines = events_of(export)
    assert {frozenset(line) for line in lines} == {frozenset({"cut", "event"})}
    assert {line["event"]["type"] for line in lines} == {"retrieval", "view"}
    classes = {p["access_class"] for line in lines for p in line["event"].get("passages", ())}
    assert len(classes) == 1
    whole = {event["number"]: event for event in usher.events()}
    for line, raw in ((line, stored(usher)[line["event"]["number"] - 1]) for line in lines):
        assert line["cut"] == hashlib.sha256(b"\x00" + raw).hexdigest()
        assert line["event"]["time"] == whole[line["event"]["number"]]["time"]
    verdict = verified(tmp_path, files_in(export), public_key(usher))
    assert verdict.ok
    assert any("cut" in line for line in verdict.untold)
    foreign = next(
        p["document"] for e in usher.events() for p in e.get("passages", ()) if p["access_class"] not in classes
    )
    assert events_of(exported(usher, "erin", document=foreign)) == []


def test_everything_but_a_collection_tells_nothing_of_its_documents(
    usher: World, document: str, tmp_path: Path
) -> None:
    """Nor of exchanges that showed nothing else, nor that such a document was put there."""
    export = exported(usher, "bob")
    lines = events_of(export)
    cut = [line["event"] for line in lines if "cut" in line]
    assert {event["type"] for event in cut} == {"retrieval", "document"}
    put = next(event for event in usher.events() if event.get("document") == document)
    classes = {p["access_class"] for event in cut for p in event.get("passages", [event])}
    assert put["access_class"] not in classes
    assert document not in json.dumps(lines)
    assert {line["type"] for line in lines if "cut" not in line} == {"policy", "person", "key"}
    hidden = {e["audit_id"] for e in usher.events() if e["audit_id"]} - {event["audit_id"] for event in cut}
    assert hidden
    assert not any(audit_id in json.dumps(lines) for audit_id in hidden)
    verdict = verified(tmp_path, files_in(export), public_key(usher))
    assert (verdict.ok, verdict.count) == (True, len(lines))


NARROWER = "p, role:auditor, coll:handbook, audit.export, deny, always"


@pytest.mark.parametrize("later", [POLICY, POLICY + "\n".join([*RIGHTS, NARROWER]) + "\n"], ids=["lost", "narrowed"])
def test_whoever_loses_the_right_meanwhile_gets_no_more(usher: World, document: str, later: str) -> None:
    """Or some of it. Above all no manifest and no signature; and that it was made is nowhere said."""

    async def made() -> bytes:
        grant = await usher.services.authority.admit(usher.keys["dave"])
        assert grant is not None
        begun = await usher.services.audit.exports.begin(Reviewer(grant, "key"), ExportQuery())
        parts: list[bytes] = []
        with pytest.raises(NotPermitted):
            await taken(begun, parts)
        await usher.apply_also(*RIGHTS)
        return b"".join(parts)

    async def taken(begun: Export, parts: list[bytes]) -> None:
        async for part in begun.chunks():
            parts.append(part)
            await usher.apply(later)

    before = len(usher.events())
    assert b"manifest" not in usher.run(made())
    assert [event.get("question") for event in usher.events()[before:]].count("export") == 1
    assert "exported" not in [event.get("question") for event in usher.events()[before:]]


def test_a_document_that_has_left_a_reach_is_no_longer_in_it(
    usher: World, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is shelved now counts too, not only where it was when it was shown."""
    assert document in files_in(exported(usher, "erin"))["events.jsonl"].decode()
    other = '- {glob: "handbook/holidays.md", collection: finance}\n'
    monkeypatch.setattr("tests.web.world.RULES", other + RULES)
    usher.run(usher.ingest())
    try:
        assert document not in files_in(exported(usher, "erin"))["events.jsonl"].decode()
        assert events_of(exported(usher, "erin")) != []
        assert events_of(exported(usher, "erin", document=document)) == []
    finally:
        monkeypatch.undo()
        usher.run(usher.ingest())


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"type": "nonsense"}, "type"),
        ({"format": "xml"}, "format"),
        ({"document": "x"}, "document"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
        ({"person": "alice", "pseudonym": "01a2043e-25a5-71d1-98db-b2170744b0c1"}, "person"),
        ({"held": "99999999"}, "held"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_remedy(usher: World, given: dict[str, str], field: str) -> None:
    """Before anything is sent."""
    response = usher.ask("GET", PATH, "dave", params=given)
    assert (response.status_code, response.json()["field"]) == (400, field)
    assert response.json()["remedy"]


def test_nobody_of_a_name_and_whoever_may_not_know(usher: World) -> None:
    """404 for whoever may identify; 403 for whoever may not, or may not export, whoever it is."""
    assert usher.ask("GET", PATH, "dave", params={"person": "nobody"}).status_code == 404
    for who, given in (("bob", {"person": "alice"}), ("bob", {"names": "true"}), ("alice", {}), ("carol", {})):
        assert usher.ask("GET", PATH, who, params=given).status_code == 403
