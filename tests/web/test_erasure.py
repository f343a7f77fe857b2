"""A person and a document are erased: what opens no more anywhere, and what stays."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from uuid import UUID

import pytest
from tests.web.erasure_kit import (
    ERASERS,
    HANDBOOK,
    OPERATOR,
    QUESTION,
    approved,
    company,
    document_id,
    erased,
    files_with,
    opens,
    pseudonym,
    reviewer,
)
from tests.web.world import World

from usher.audit import erasing
from usher.audit.erasure import Held, Target
from usher.audit.proposals import NotNow
from usher.backends.keyring import KeyRing, KeyRingError, SealBroken
from usher.backends.ledger_sql import SqlLog
from usher.backends.sql_documents import version_aad
from usher.core.break_glass import BreakGlass
from usher.errors import UserError
from usher.ledger.log import Batch
from usher.ledger.verify import verify
from usher.viewing import NotPermitted

USER = "zebulon-the-tester"
"""Somebody who comes and is erased, again and again; each time it is somebody else to the record."""


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, company(tmp_path_factory.mktemp("erasure")) as (made, _):
        patch.setattr(erasing, "GRACE", 0.0)
        yield made


def lives(usher: World) -> str:
    """The person asks, names a conversation, says what they think of it; alice asks too. Their pseudonym."""
    usher.run(usher.add(USER, ("staff",)))
    told = usher.chat(QUESTION, USER).json()["usher"]
    talk = f"/api/conversations/{told['conversation_id']}"
    assert usher.ask("PATCH", talk, USER, json={"title": "quaggas-title"}).status_code == 200
    words = {"exchange": told["audit_id"], "verdict": "down", "reason": "quaggas-feedback"}
    assert usher.ask("POST", "/api/feedback", USER, json=words).status_code == 201
    assert usher.chat(QUESTION, "alice").status_code == 200
    return pseudonym(usher, USER)


def test_of_an_erased_person_nothing_opens_and_nothing_is_found(usher: World) -> None:
    """Neither in the folder of now nor in one from before, by today's ring; their name stands in no file."""
    home, whom = usher.folder / "home", lives(usher)
    ring = KeyRing.open(usher.folder / "home.keys")
    assert QUESTION in opens(home, ring, whom)
    assert files_with(home, USER)
    shutil.copytree(home, usher.folder / "before")
    usher.run(erased(usher, Target(user=USER)))
    today = KeyRing.open(usher.folder / "home.keys")
    assert len(today.wrapping) == 1
    assert opens(home, today, whom) == opens(usher.folder / "before", today, whom) == []
    assert files_with(home, USER, "zebulon", "quagga") == []
    assert files_with(usher.folder, *(key.hex() for key in ring.wrapping.values())) == []


def test_no_copy_that_was_taken_meanwhile_opens(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After whichever commit of the ledger a backup was made: the person's key is never under the new one."""
    home, whom, copies, commit = usher.folder / "home", lives(usher), usher.folder / "copies", SqlLog.commit

    def copied(log: SqlLog, batch: Batch) -> None:
        commit(log, batch)
        (into := copies / str(len(list(copies.iterdir())))).mkdir()
        for path in home.glob("ledger.sqlite*"):
            shutil.copy(path, into / path.name)

    copies.mkdir()
    item = usher.run(approved(usher, Target(user=USER)))
    with monkeypatch.context() as patch:
        patch.setattr(SqlLog, "commit", copied)
        usher.run(usher.services.audit.erasures.carry_out(item.id, OPERATOR))
    ring, taken = KeyRing.open(usher.folder / "home.keys"), sorted(copies.iterdir())
    assert len(taken) > 3
    assert [copy.name for copy in taken if opens(copy, ring, whom)] == []


def test_everybody_else_goes_on(usher: World) -> None:
    """Others' conversations and documents open, also after a restart's ring; proofs hold, and verify knows why what
    the person said does not open."""
    whom = lives(usher)
    before = usher.ask("GET", "/api/conversations", "alice").json()
    usher.run(erased(usher, Target(pseudonym=whom)))
    assert usher.ask("GET", "/api/conversations", "alice").json() == before
    assert "140 euros" in usher.chat(QUESTION, "alice").json()["choices"][0]["message"]["content"]
    assert usher.ask("GET", f"/api/documents/{document_id(usher, 'handbook/hotels.md')}", "alice").status_code == 200
    verdict = verify(usher.folder / "home" / "ledger.sqlite", ring=KeyRing.open(usher.folder / "home.keys"))
    assert (verdict.ok, verdict.problems) == (True, ())
    assert any("erased people" in warning for warning in verdict.warnings)


def test_the_record_says_who_asked_who_approved_and_under_which_rule(usher: World) -> None:
    """By pseudonyms; how many rows went; and nothing that was typed."""
    whom = lives(usher)
    usher.run(erased(usher, Target(user=USER)))
    event = [event for event in usher.events() if event["type"] == "erasure"][-1]
    assert (event["subject"], event["rule"]) == (whom, "operator_and_person")
    assert (event["asked_by"], event["approved_by"]) == ("operator:uid:0", [pseudonym(usher, "carol")])
    assert event["counts"] == {
        "tickets": 0, "feedback": 1, "exchanges": 1, "conversations": 1, "keys": 1, "people": 1
    }  # fmt: skip
    assert "asked for it" not in str(usher.events())


def test_a_server_that_comes_meanwhile_keeps_the_old_key_from_being_destroyed(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may wrap by an older copy of the ring: what it wrapped would open no more. It goes on once that has left."""
    renew = KeyRing.renew

    def and_one_comes(ring: KeyRing, master: bytes | None = None) -> None:
        renew(ring, master)
        monkeypatch.setattr(SqlLog, "others", lambda _: 1)

    whom = lives(usher)
    item = usher.run(approved(usher, Target(user=USER)))
    with monkeypatch.context() as patch:
        patch.setattr(KeyRing, "renew", and_one_comes)
        answer = usher.ask("POST", f"/api/audit/proposals/{item.id}/carry-out", "carol")
        assert (answer.status_code, len(KeyRing.open(usher.folder / "home.keys").wrapping)) == (409, 2)
        recorded = len(usher.events())
        assert usher.ask("POST", f"/api/audit/proposals/{item.id}/carry-out", "carol").status_code == 409
        assert len(usher.events()) == recorded
    monkeypatch.setattr(SqlLog, "others", lambda _: 0)
    usher.run(usher.services.audit.erasures.finish())
    ring = KeyRing.open(usher.folder / "home.keys")
    assert (len(ring.wrapping), opens(usher.folder / "home", ring, whom)) == (1, [])


def test_whoever_comes_back_is_somebody_new(usher: World) -> None:
    """The same name has another pseudonym, and nothing of before."""
    whom = lives(usher)
    usher.run(erased(usher, Target(user=USER)))
    assert usher.ask("GET", "/api/me", USER).status_code == 401
    usher.run(usher.add(USER, ("staff",)))
    assert usher.ask("GET", "/api/conversations", USER).json()["conversations"] == []
    assert usher.chat(QUESTION, USER).status_code == 200
    assert pseudonym(usher, USER) != whom


def test_a_reviewer_who_meets_the_erased_is_answered(usher: World) -> None:
    """Their events by pseudonym, no name, and nobody to ask about."""
    whom = lives(usher)
    usher.run(usher.apply_also("p, role:auditor, sys:audit, audit.identify, allow, always", *ERASERS))
    usher.run(erased(usher, Target(user=USER)))
    asked = {"pseudonym": whom, "names": "true"}
    found = usher.ask("GET", "/api/audit/saw", "dave", params=asked).json()["entries"]
    assert found
    assert {entry["user"] for entry in found} == {None}
    assert usher.ask("GET", "/api/feedback", "dave").json()["feedback"] == []
    with pytest.raises(UserError, match="nobody whom the record knows"):
        usher.run(usher.services.audit.erasures.propose(OPERATOR, Target(user=USER), "Once more."))


def test_of_an_erased_document_nothing_opens_and_old_answers_are_judged_as_before(usher: World) -> None:
    """Its text, title, chunks and keys have gone, also from the store; who saw it still may see that answer."""
    hotels = document_id(usher, "handbook/hotels.md")
    usher.chat("What may a hotel cost?", "alice")
    before, old = usher.ask("GET", "/api/conversations", "alice").json(), versions(usher, hotels)
    usher.run(erased(usher, Target(document=hotels)))
    ring = KeyRing.open(usher.folder / "home.keys")
    assert [(title, key, text) for _, title, key, text in versions(usher, hotels)] == [("", b"", b"")]
    for number, _, key, _ in old:
        with pytest.raises(SealBroken):
            ring.unwrap(key, version_aad(hotels, number))
    assert usher.ask("GET", f"/api/documents/{hotels}", "alice").status_code == 404
    assert str(hotels) not in str(usher.search("What may a hotel cost?", "alice").json())
    assert usher.ask("GET", "/api/conversations", "alice").json() == before
    assert usher.ask("GET", f"/api/documents/{document_id(usher, 'handbook/holidays.md')}", "alice").status_code == 200
    usher.run(usher.ingest(HANDBOOK))


def test_the_record_says_which_document_went_and_it_may_come_again(usher: World) -> None:
    """By its id; taken in once more it is a version of its own."""
    hotels = document_id(usher, "handbook/holidays.md")
    usher.run(erased(usher, Target(document=hotels)))
    event = [event for event in usher.events() if event["type"] == "erasure"][-1]
    assert (event["document"], event["counts"]) == (str(hotels), {"versions": 1, "chunks": 1})
    assert usher.run(usher.ingest(HANDBOOK))["added"] >= 1
    assert [number for number, *_ in versions(usher, hotels)] == [1, 2]
    assert "28 days" in usher.search("How many days of holiday?", "alice").json()["hits"][0]["text"]


def versions(usher: World, document: UUID) -> list[tuple[int, str, bytes, bytes]]:
    """Number, title, wrapped key and sealed text of each version that the database holds."""
    query = "SELECT version, title, wrapped_key, sealed_text FROM document_version WHERE document = ? ORDER BY version"
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite")) as connection:
        return connection.execute(query, (document.hex,)).fetchall()


def test_nobody_erases_alone_where_somebody_may_approve(usher: World) -> None:
    """Not the operator, by breaking the glass or without an approval; not one of the two who may."""
    lives(usher)

    async def tried() -> None:
        erasures, target = usher.services.audit.erasures, Target(user=USER)
        with pytest.raises(NotPermitted):
            await erasures.alone(OPERATOR, target, "Nobody is here.")
        with pytest.raises(NotPermitted):
            await erasures.alone(await reviewer(usher, "carol"), target, "Nobody is here.")
        item = await erasures.propose(OPERATOR, target, "They asked for it.")
        for who in (OPERATOR, await reviewer(usher, "carol")):
            with pytest.raises(NotNow):
                await erasures.carry_out(item.id, who)
        own = await erasures.propose(await reviewer(usher, "carol"), Target(pseudonym=item.subject), "They asked.")
        with pytest.raises(NotPermitted):
            await usher.services.audit.proposals.approve(own.id, own.stands.digest, await reviewer(usher, "carol"))

    usher.run(tried())
    assert usher.ask("GET", "/api/me", USER).status_code == 200


def test_where_nobody_may_approve_the_operator_breaks_the_glass(usher: World) -> None:
    """At once, with an event that says so, and a review that stays open."""
    whom = lives(usher)
    usher.run(usher.apply_also())
    item = usher.run(usher.services.audit.erasures.alone(OPERATOR, Target(pseudonym=whom), "Nobody is here to ask."))
    assert isinstance(item.stands, BreakGlass)
    assert item.done_at is not None
    assert item.stands.reviewed is None
    said = [event for event in usher.events() if event.get("subject") == whom and event["type"] != "person"]
    assert [event.get("break_glass", event.get("rule")) for event in said[-2:]] == [True, "break_glass"]
    usher.run(usher.apply_also(*ERASERS))


def test_what_failed_on_the_way_goes_on_when_it_is_asked_once_more(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring that cannot be written: said as 503, everybody else is served, and then it is done."""

    def failing(*_: object) -> None:
        raise KeyRingError("key ring: it cannot be written")

    whom = lives(usher)
    item = usher.run(approved(usher, Target(user=USER)))
    with monkeypatch.context() as patch:
        patch.setattr(KeyRing, "destroy_retired", failing)
        answer = usher.ask("POST", f"/api/audit/proposals/{item.id}/carry-out", "carol")
        assert (answer.status_code, answer.json()["field"]) == (503, "erasure")
        assert usher.chat(QUESTION, "alice").status_code == 200
        assert usher.ask("GET", "/api/me", USER).status_code == 401
    usher.run(usher.apply_also(*ERASERS, "p, user:alice, sys:audit, audit.review, allow, always"))
    assert usher.ask("POST", f"/api/audit/proposals/{item.id}/carry-out", "alice").status_code == 403
    usher.run(usher.apply_also(*ERASERS))
    answer = usher.ask("POST", f"/api/audit/proposals/{item.id}/carry-out", "carol")
    assert (answer.status_code, answer.json()["state"]) == (200, "carried_out")
    ring = KeyRing.open(usher.folder / "home.keys")
    assert (len(ring.wrapping), opens(usher.folder / "home", ring, whom)) == (1, [])


def test_an_approval_that_was_lost_does_not_count(usher: World) -> None:
    """Whoever approved must hold the right when it is carried out."""
    lives(usher)
    item = usher.run(approved(usher, Target(user=USER)))
    usher.run(usher.apply_also(*ERASERS[:2], "g, user:dave, role:eraser"))
    with pytest.raises(NotNow, match="may no longer"):
        usher.run(usher.services.audit.erasures.carry_out(item.id, OPERATOR))
    usher.run(usher.apply_also(*ERASERS))


def test_a_legal_hold_overrides_it(usher: World) -> None:
    """On the person: refused while it binds, and the person goes on."""
    whom = lives(usher)
    usher.run(usher.apply_also("p, role:eraser, sys:audit, audit.hold, allow, always", *ERASERS))
    item = usher.run(approved(usher, Target(user=USER)))
    hold = {"on": "person", "target": whom, "reason": "There is a lawsuit."}
    placed = usher.ask("POST", "/api/audit/holds", "carol", json=hold).json()
    path = f"/api/audit/proposals/{placed['id']}/approve"
    assert usher.ask("POST", path, "dave", json={"digest": placed["digest"]}).status_code == 200
    with pytest.raises(Held):
        usher.run(usher.services.audit.erasures.carry_out(item.id, OPERATOR))
    assert usher.ask("GET", "/api/conversations", USER).json()["conversations"]
