"""`/api/documents` and `/api/me`: one's own scope, and no trace of anything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import structlog
from tests.web.chat_kit import FailingLog
from tests.web.world import OPERATOR, World, world


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("documents"), log=FailingLog) as made:
        yield made


def test_the_list_is_the_scope(usher: World) -> None:
    """Metadata of what one may read, and of nothing else."""
    body = usher.ask("GET", "/api/documents", "alice").json()
    assert {document["path"].split("/")[0] for document in body["documents"]} == {"handbook", "finance", "letters"}
    assert body["next"] is None
    assert all("text" not in document for document in body["documents"])


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_pages_together_are_the_list(usher: World, limit: int) -> None:
    """`next` goes into `after`, until it is null; nothing twice, nothing missing."""
    whole = [document["id"] for document in usher.ask("GET", "/api/documents", "alice").json()["documents"]]
    found, after = [], ""
    while True:
        page = usher.ask("GET", f"/api/documents?limit={limit}{after}", "alice").json()
        assert 0 < len(page["documents"]) <= limit
        found += [document["id"] for document in page["documents"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == whole


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=-1", "limit=x", "limit=1e3", "after=x", "limit="])
def test_a_page_that_cannot_be_asked_for_is_400(usher: World, query: str) -> None:
    """With the field's name."""
    response = usher.ask("GET", f"/api/documents?{query}")
    assert (response.status_code, response.json()["field"]) == (400, query.partition("=")[0])


def test_a_foreign_an_absent_and_a_malformed_id_are_one_answer(usher: World) -> None:
    """The same status, headers and body, so that no id can be guessed."""
    foreign = next(
        document["id"]
        for document in usher.ask("GET", "/api/documents", "carol").json()["documents"]
        if document["path"] == "board/merger.md"
    )
    assert usher.ask("GET", f"/api/documents/{foreign}", "carol").status_code == 200
    ids = (foreign, str(uuid4()), "0" * 32, "x", "%00", "x" * 3000, foreign.upper(), f"{{{foreign}}}")
    answers = [usher.ask("GET", f"/api/documents/{one}") for one in ids]
    assert {answer.status_code for answer in answers} == {404}
    assert len({(answer.text, str(answer.headers)) for answer in answers}) == 1


def test_a_page_after_a_foreign_id_tells_nothing(usher: World) -> None:
    """Any id is a place in the order, whether there is such a document or not."""
    listed = usher.ask("GET", "/api/documents", "carol").json()["documents"]
    foreign = next(document["id"] for document in listed if document["path"] == "board/merger.md")
    answer = usher.ask("GET", f"/api/documents?after={foreign}").json()
    assert [document["id"] for document in answer["documents"]] == [
        document["id"]
        for document in usher.ask("GET", "/api/documents").json()["documents"]
        if document["id"] > foreign
    ]


def test_lists_need_the_right_to_ask(usher: World) -> None:
    """403 without it; a key alone opens only `/api/me`."""
    for path in ("/api/documents", f"/api/documents/{uuid4()}"):
        assert usher.ask("GET", path, "erin").status_code == 403
    assert usher.ask("GET", "/api/me", "erin").status_code == 200


def test_me_says_who_i_am_and_what_i_may_read(usher: World) -> None:
    """Roles as the policy gives them, the scope in words, the policy version."""
    body = usher.ask("GET", "/api/me", "carol").json()
    assert (body["user"], body["groups"], body["roles"]) == ("user:carol", [], ["role:board", "role:employee"])
    assert body["scope"]["words"] == "You may read documents in board, handbook, also those marked mnpi."
    assert body["policy_version"] == 1
    alice = usher.ask("GET", "/api/me", "alice").json()["scope"]
    assert alice["words"] == "You may read documents in finance, handbook and documents of 1 reader list."
    assert usher.ask("GET", "/api/me", "erin").json()["scope"]["words"] == "You may read no document."


def test_me_lists_my_own_keys_and_no_secret(usher: World) -> None:
    """Id, issuer, expiry, revocation; nobody else's."""
    extra = usher.run(usher.services.people.create_key("bob", None, "audit", OPERATOR))
    usher.run(usher.services.people.revoke_key(extra.id, OPERATOR))
    response = usher.ask("GET", "/api/me")
    keys = {key["id"]: key for key in response.json()["keys"]}
    assert set(keys) == {usher.key_ids["bob"], extra.id}
    assert (keys[extra.id]["purpose"], keys[extra.id]["issuer"]) == ("audit", "operator:uid:0")
    assert keys[extra.id]["revoked_at"] is not None
    assert all(secret.split("-", 2)[2] not in response.text for secret in (extra.key, usher.keys["bob"]))


def test_a_list_and_a_document_are_recorded_before_they_are_shown(usher: World) -> None:
    """Ids, versions and access classes of what is shown, by a pseudonym; no path, no title."""
    before = len(usher.events())
    page = usher.ask("GET", "/api/documents?limit=2", "alice").json()
    one = usher.ask("GET", f"/api/documents/{page['documents'][0]['id']}", "alice").json()
    listed, viewed = usher.events()[before:]
    assert [listed["type"], viewed["type"]] == ["view", "view"]
    shown = [document["id"] for document in page["documents"]]
    assert [document["document"] for document in listed["documents"]] == shown
    assert [document["document"] for document in viewed["documents"]] == [one["id"]]
    assert viewed["documents"][0]["version"] == one["version"]
    assert all(isinstance(document["access_class"], int) for document in listed["documents"] + viewed["documents"])
    assert listed["who"]["pseudonym"]
    assert not any(word in repr([listed, viewed]) for word in ("alice", "handbook", "Holidays", ".md"))


def test_what_is_not_there_is_no_view(usher: World) -> None:
    """A 404 leaves no event, so that the record tells nobody which ids were guessed."""
    before = len(usher.events())
    assert usher.ask("GET", f"/api/documents/{uuid4()}").status_code == 404
    assert len(usher.events()) == before


def test_without_its_ledger_nothing_is_listed(usher: World) -> None:
    """503 for the list and for a document."""
    ident = usher.ask("GET", "/api/documents").json()["documents"][0]["id"]
    log = usher.services.audit.review._log
    assert isinstance(log, FailingLog)
    log.full = True
    with structlog.testing.capture_logs():
        answers = [usher.ask("GET", path) for path in ("/api/documents", f"/api/documents/{ident}")]
    log.full = False
    assert [answer.status_code for answer in answers] == [503, 503]
    assert not any("handbook" in answer.text for answer in answers)
    assert usher.ask("GET", "/api/documents").status_code == 200


@pytest.mark.parametrize("what", ["list", "document"])
def test_what_is_taken_away_while_it_is_recorded_is_not_shown(
    usher: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The key is judged once more after the record: revoked meanwhile, it gets nothing."""
    usher.run(usher.add("zoe", ["staff"]))
    ident = usher.ask("GET", "/api/documents", "zoe").json()["documents"][0]["id"]
    append = usher.services.ledger.append

    async def revoked(entries: Any, *rows: Any) -> Any:
        receipt = await append(entries, *rows)
        if entries and entries[0].type == "view":
            await usher.services.people.revoke_key(usher.key_ids["zoe"], OPERATOR)
        return receipt

    monkeypatch.setattr(usher.services.ledger, "append", revoked)
    answer = usher.ask("GET", "/api/documents" if what == "list" else f"/api/documents/{ident}", "zoe")
    assert "handbook" not in answer.text
