"""`/api/documents/{id}`: the text that a citation leads to, in the version that was quoted, while it is permitted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import structlog
from tests.web.chat_kit import FailingLog
from tests.web.upload_kit import PATH, added, chunk, ident, put, shelves, told
from tests.web.world import DOCUMENTS, OPERATOR, World

BEFORE = "# Canteen\n\nThe quokka lunch costs four euros.\n"
AFTER = "# Canteen\n\nThe quokka lunch costs five euros, and soup is free.\n"
QUESTION = "What does the quokka lunch cost?"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with shelves(tmp_path_factory.mktemp("targets")) as made:
        yield made


@pytest.fixture
def canteen(usher: World) -> Iterator[tuple[str, str]]:
    """A document of the handbook and its passage, new in each test."""
    document = added(usher, "bob", BEFORE, f"canteen-{uuid4()}.md")
    yield document, chunk(usher, "bob", QUESTION, document)
    usher.ask("DELETE", f"{PATH}/{document}", "alice")


def test_a_citation_opens_at_its_passage(usher: World) -> None:
    """The text is the document's, whole; the offsets count its characters."""
    answer = usher.chat("How much may a hotel cost for one night?")
    citation = answer.json()["usher"]["citations"][0]
    body = usher.ask("GET", citation["url"]).json()
    assert body["text"] == DOCUMENTS["handbook/hotels.md"]
    assert body["passage"]["chunk"] == citation["chunk"]
    quoted = body["text"][body["passage"]["start"] : body["passage"]["end"]]
    assert "140 euros" in quoted
    assert (body["path"], body["changed"]) == ("handbook/hotels.md", False)
    hits = usher.search("hotel night cost").json()["hits"]
    assert quoted == next(hit["text"] for hit in hits if hit["chunk"] == citation["chunk"])


def test_without_a_passage_it_is_the_current_text(usher: World) -> None:
    """With the metadata of the list; nobody's cache keeps it."""
    listed = usher.ask("GET", PATH).json()["documents"][0]
    answer = usher.ask("GET", f"{PATH}/{listed['id']}")
    body = answer.json()
    assert listed.items() <= body.items()
    assert (body["passage"], body["changed"], body["current_version"]) == (None, False, listed["version"])
    assert answer.headers["cache-control"] == "no-store"


def test_a_changed_document_says_so_and_shows_what_was_quoted(usher: World, canteen: tuple[str, str]) -> None:
    """The old version at its old passage; without the passage, the new one."""
    document, passage = canteen
    put(usher, "bob", AFTER, document=document)
    old = usher.ask("GET", f"{PATH}/{document}?passage={passage}").json()
    assert (old["text"], old["changed"], old["version"], old["current_version"]) == (BEFORE, True, 1, 2)
    assert "four euros" in old["text"][old["passage"]["start"] : old["passage"]["end"]]
    new = usher.ask("GET", f"{PATH}/{document}").json()
    assert (new["text"], new["changed"], new["version"]) == (AFTER, False, 2)


def test_a_narrower_label_takes_the_quoted_version_too(usher: World, canteen: tuple[str, str]) -> None:
    """The requirements of now decide on every version."""
    document, passage = canteen
    put(usher, "bob", AFTER, document=document)
    assert put(usher, "alice", None, document=document, collection="finance").json()["outcome"] == "moved"
    absent = told(usher.ask("GET", f"{PATH}/{uuid4()}"))
    for address in (f"{PATH}/{document}", f"{PATH}/{document}?passage={passage}"):
        assert told(usher.ask("GET", address)) == absent
        assert usher.ask("GET", address, "alice").status_code == 200


def test_a_wider_label_does_not_open_what_was_written_under_the_old_one(usher: World) -> None:
    """A passage's id can be worked out from the document's: it is no proof of having seen it."""
    document = added(usher, "alice", "# Pay\n\nThe wombat bonus is ten thousand.\n", "pay.md", collection="finance")
    passage = chunk(usher, "alice", "wombat bonus", document)
    put(usher, "alice", "# Pay\n\nPay day is the first.\n", document=document)
    assert "Pay day" in usher.ask("GET", f"{PATH}/{document}", "bob").json()["text"]
    earlier = f"{PATH}/{document}?passage={passage}"
    assert told(usher.ask("GET", earlier, "bob")) == told(usher.ask("GET", f"{PATH}/{uuid4()}", "bob"))
    assert "wombat" in usher.ask("GET", earlier, "alice").json()["text"]


def test_a_deleted_document_is_nobodys_and_so_are_its_versions_for_good(usher: World) -> None:
    """Also after a folder's next ingest brings the document back under the same id."""
    document = ident(usher, "bob", "handbook/notice.md")
    passage = chunk(usher, "bob", "parking notice gate", document)
    assert usher.ask("DELETE", f"{PATH}/{document}").status_code == 200
    absent = told(usher.ask("GET", f"{PATH}/{uuid4()}"))
    for address in (f"{PATH}/{document}", f"{PATH}/{document}?passage={passage}"):
        assert {told(usher.ask("GET", address, who)) for who in ("bob", "alice", "carol")} == {absent}
    usher.run(usher.ingest())
    assert usher.ask("GET", f"{PATH}/{document}").json()["version"] == 2
    assert told(usher.ask("GET", f"{PATH}/{document}?passage={passage}")) == absent


def test_a_passage_that_is_not_the_documents_is_not_there(usher: World, canteen: tuple[str, str]) -> None:
    """Of another document, foreign, absent or no id: the same as for a document that is not there."""
    document, _ = canteen
    hotels = ident(usher, "bob", "handbook/hotels.md")
    foreign = chunk(usher, "carol", "zanzibar merger", ident(usher, "carol", "board/merger.md"))
    others = [chunk(usher, "bob", "hotel", hotels), foreign, str(uuid4()), document, "", "x", "%00", "x" * 3000]
    answers = {told(usher.ask("GET", f"{PATH}/{document}?passage={one}")) for one in others}
    assert answers == {told(usher.ask("GET", f"{PATH}/{uuid4()}"))}


def test_the_record_says_which_version_and_passage_were_shown(usher: World, canteen: tuple[str, str]) -> None:
    """Before the text is sent; no path, no title, no name."""
    document, passage = canteen
    put(usher, "bob", AFTER, document=document)
    before = len(usher.events())
    usher.ask("GET", f"{PATH}/{document}?passage={passage}")
    [view] = usher.events()[before:]
    [shown] = view["documents"]
    assert (view["type"], shown["document"], shown["version"], shown["chunk"]) == ("view", document, 1, passage)
    assert isinstance(shown["access_class"], int)
    assert not any(word in repr(view) for word in ("bob", "canteen", "Canteen", "handbook"))


def test_what_cannot_be_recorded_is_not_shown(usher: World, canteen: tuple[str, str]) -> None:
    """503, and nothing of the text."""
    document, passage = canteen
    log = usher.services.audit.review._log
    assert isinstance(log, FailingLog)
    log.full = True
    with structlog.testing.capture_logs():
        answers = [usher.ask("GET", f"{PATH}/{document}{more}") for more in ("", f"?passage={passage}")]
    log.full = False
    assert [answer.status_code for answer in answers] == [503, 503]
    assert not any("quokka" in answer.text for answer in answers)


def _while_recorded(usher: World, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Do something once, between the record of a view and its showing."""
    append, left = usher.services.ledger.append, [act]

    async def acting(entries: Any, *rows: Any) -> Any:
        receipt = await append(entries, *rows)
        if left and entries and entries[0].type == "view":
            await left.pop()()
        return receipt

    monkeypatch.setattr(usher.services.ledger, "append", acting)


@pytest.mark.parametrize("what", ["", "?passage="])
def test_a_text_that_is_taken_away_while_it_is_recorded_is_not_shown(
    usher: World, monkeypatch: pytest.MonkeyPatch, canteen: tuple[str, str], what: str
) -> None:
    """It was moved away: the same answer as if it had never been there."""
    document, passage = canteen
    form = {"collection": (None, "finance"), "document": (None, document)}
    _while_recorded(usher, monkeypatch, lambda: usher.asked("POST", PATH, "alice", files=form))
    answer = usher.ask("GET", f"{PATH}/{document}{what and what + passage}")
    assert told(answer) == told(usher.ask("GET", f"{PATH}/{uuid4()}"))


def test_a_text_that_changes_while_it_is_recorded_is_recorded_anew(
    usher: World, monkeypatch: pytest.MonkeyPatch, canteen: tuple[str, str]
) -> None:
    """What is shown is what the last record says."""
    document, _ = canteen
    form = {"collection": (None, "handbook"), "document": (None, document), "file": ("x.md", AFTER.encode())}
    _while_recorded(usher, monkeypatch, lambda: usher.asked("POST", PATH, "alice", files=form))
    body = usher.ask("GET", f"{PATH}/{document}").json()
    assert (body["text"], body["version"]) == (AFTER, 2)
    views = [event for event in usher.events() if event["type"] == "view"]
    assert [view["documents"][0]["version"] for view in views[-2:]] == [1, 2]


@pytest.mark.parametrize("what", ["", "/{document}"])
def test_a_key_that_is_revoked_meanwhile_is_told_so(
    usher: World, monkeypatch: pytest.MonkeyPatch, canteen: tuple[str, str], what: str
) -> None:
    """403, rather than a list that seems to be empty."""
    usher.run(usher.add("zoe", ["staff"]))
    _while_recorded(usher, monkeypatch, lambda: usher.services.people.revoke_key(usher.key_ids["zoe"], OPERATOR))
    answer = usher.ask("GET", f"{PATH}{what.format(document=canteen[0])}", "zoe")
    assert (answer.status_code, "key_revoked" in answer.text) == (403, True)
    assert "anteen" not in answer.text


def test_a_document_that_is_changing_is_nobodys_until_it_has_changed(usher: World, canteen: tuple[str, str]) -> None:
    """A change that could not be recorded hides the old text and the new; the next change completes it."""
    document, passage = canteen
    log = usher.services.audit.review._log
    assert isinstance(log, FailingLog)
    log.full = True
    with structlog.testing.capture_logs():
        assert put(usher, "bob", AFTER, document=document).status_code == 503
    log.full = False
    absent = told(usher.ask("GET", f"{PATH}/{uuid4()}"))
    for address in (f"{PATH}/{document}", f"{PATH}/{document}?passage={passage}"):
        assert {told(usher.ask("GET", address, who)) for who in ("bob", "alice")} == {absent}
    assert document not in usher.ask("GET", f"{PATH}?limit=500").text
    put(usher, "bob", "# Other\n\nother\n", f"other-{uuid4()}.md")
    assert usher.ask("GET", f"{PATH}/{document}").json()["text"] == AFTER
