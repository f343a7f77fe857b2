"""`POST` and `DELETE` under `/api/documents`: who may change what, and what nobody learns by trying."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast
from uuid import uuid4

import pytest
from tests.web.upload_kit import PATH, RIGHTS, TEXT, added, during, found, ident, listed, put, shelves, state, told
from tests.web.world import OPERATOR, POLICY, World

from usher.backends.ledger_sql import SqlLog

BOARD, LETTER = "board/merger.md", "letters/alice.md"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with shelves(tmp_path_factory.mktemp("uploads")) as made:
        yield made


def name() -> str:
    return f"{uuid4()}.md"


def test_an_upload_is_found_by_whom_its_collection_is_for_and_by_nobody_else(usher: World) -> None:
    """At once, by search, list and id."""
    document = added(usher, "alice", "# Axolotl\n\nThe axolotl account is closed.\n", name(), collection="finance")
    for who, permitted in (("alice", True), ("bob", False), ("carol", False)):
        assert (document in found(usher, who, "axolotl account")) == permitted
        assert (document in listed(usher, who)) == permitted
        assert usher.ask("GET", f"{PATH}/{document}", who).status_code == (200 if permitted else 404)


def test_an_upload_is_recorded_with_who_and_why_and_no_name(usher: World) -> None:
    """The person by pseudonym, the rule that allowed it; neither user, path, title nor collection."""
    before = len(usher.events())
    document = added(usher, "bob", TEXT, name())
    [event] = usher.events()[before:]
    pseudonym = usher.run(usher.services.ledger.pseudonym("bob"))
    assert (event["type"], event["op"], event["document"]) == ("document", "put", document)
    assert event["by"] == f"person:{pseudonym}"
    assert (event["action"], event["credential_id"]) == ("document.ingest", usher.key_ids["bob"])
    assert len(event["rules"]) == 1
    usher.ask("DELETE", f"{PATH}/{document}")
    gone = usher.events()[-1]
    assert (gone["op"], gone["by"], gone["rules"]) == ("delete", event["by"], event["rules"])
    assert not any(word in json.dumps([event, gone]) for word in ("bob", "handbook", ".md", "rains"))


@pytest.mark.parametrize("who", ["bob", "carol", "erin", "frank"])
def test_a_collection_that_one_may_not_fill_is_the_same_as_one_that_is_not_there(usher: World, who: str) -> None:
    """403 with the same words, whether it is known, denied by a rule, above one's own, or unheard of."""
    before = state(usher)
    theirs = {"bob": ["finance"], "frank": ["handbook"], "carol": ["finance"], "erin": ["handbook", "finance"]}[who]
    names = [*theirs, "nowhere", "handboo", "financ", "x/y/z", "Finance"]
    answers = {told(put(usher, who, collection=collection)) for collection in names}
    assert len(answers) == 1
    assert answers.pop()[0] == 403
    assert state(usher) == before


def test_a_right_on_a_collection_covers_what_is_below_it_and_not_what_is_beside(usher: World) -> None:
    """As everywhere in the policy; a denial below it holds."""
    assert put(usher, "bob", name=name(), collection="handbook/travel").status_code == 201
    assert put(usher, "bob", name=name(), collection="handbook2").status_code == 403
    usher.run(usher.apply_also(*RIGHTS, "p, role:editor, coll:handbook/law, document.ingest, deny, always"))
    assert put(usher, "bob", name=name(), collection="handbook/law").status_code == 403
    assert put(usher, "bob", name=name(), collection="handbook/travel").status_code == 201


def test_the_same_path_in_the_same_collection_is_the_same_document(usher: World) -> None:
    """Replaced by another text, left as it is by the same one; the passages of the old text are found no more."""
    path = name()
    document = added(usher, "bob", "# One\n\nThe ibex rule.\n", path)
    again = put(usher, "bob", "# One\n\nThe ibex rule.\n", path)
    assert (again.status_code, again.json()["outcome"], again.json()["version"]) == (200, "unchanged", 1)
    other = put(usher, "bob", "# Two\n\nThe gnu rule.\n", path).json()
    assert (other["document"], other["outcome"], other["version"]) == (document, "changed", 2)
    assert document in found(usher, "bob", "gnu")
    assert document not in found(usher, "bob", "ibex")


def test_the_same_path_elsewhere_is_another_document(usher: World) -> None:
    """What is in another collection, or has left this one, does not show by its path."""
    path = name()
    first = added(usher, "alice", "# One\n\nfirst\n", path, collection="finance")
    second = added(usher, "bob", "# Two\n\nsecond\n", path)
    assert first != second
    assert usher.ask("DELETE", f"{PATH}/{second}").status_code == 200
    third = added(usher, "bob", "# Three\n\nthird\n", path)
    put(usher, "alice", None, document=third, collection="finance/taken")
    assert len({first, second, third, added(usher, "bob", "# Four\n\nfourth\n", path)}) == 4


def test_a_folders_document_is_not_replaced_by_its_path(usher: World) -> None:
    """Only by its id: a person's upload and an operator's folder do not share paths."""
    hotels = ident(usher, "bob", "handbook/hotels.md")
    uploaded = added(usher, "bob", "# Hotels\n\nmine\n", path="handbook/hotels.md")
    assert uploaded != hotels
    assert "140 euros" in usher.ask("GET", f"{PATH}/{hotels}").json()["text"]


MOVES = {
    "both": ("alice", "handbook", "finance", 200),
    "only the new": ("frank", "handbook", "finance", 404),
    "only the old": ("bob", "handbook", "finance", 403),
    "the new, and may read the old": ("bob", "finance", "handbook", 404),
    "none": ("erin", "handbook", "finance", 403),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("text", [None, "# New\n\nnew text\n"])
def test_a_move_needs_the_right_on_both_collections(usher: World, move: tuple[Any, ...], text: str | None) -> None:
    """With a new text or as it is; where a right is missing nothing changes."""
    who, old, new, status = move
    document = added(usher, "alice", TEXT, name(), collection=old)
    before = state(usher)
    answer = put(usher, who, text, document=document, collection=new)
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["outcome"] == "moved"
        body = usher.ask("GET", f"{PATH}/{document}", "alice").json()
        assert (body["requirements"], body["text"]) == ([f"coll:{new}"], text or TEXT)
        assert document not in listed(usher, "bob")
    else:
        assert state(usher) == before


def test_a_move_takes_nobody_elses_place(usher: World) -> None:
    """409 where the new collection has an uploaded document of that path."""
    path = name()
    one = added(usher, "alice", "# One\n\none\n", path, collection="finance")
    added(usher, "alice", "# Two\n\ntwo\n", path)
    before = state(usher)
    answer = put(usher, "alice", None, document=one)
    assert (answer.status_code, answer.json()["field"]) == (409, "document")
    assert state(usher) == before


def test_a_document_with_a_marking_or_readers_is_the_operators(usher: World) -> None:
    """403 for whoever may read it, with any right on its collection; for others it is not there."""
    usher.run(usher.apply_also(*RIGHTS, "p, user:frank, coll:board, document.ingest, allow, always"))
    paper, letter = ident(usher, "carol", BOARD), ident(usher, "alice", LETTER)
    before = state(usher)
    for who, document, collection in (("carol", paper, "board"), ("alice", letter, "finance")):
        answers = [
            put(usher, who, document=document, collection=collection),
            usher.ask("DELETE", f"{PATH}/{document}", who),
        ]
        assert [(answer.status_code, answer.json()["field"]) for answer in answers] == [(403, "document")] * 2
    for document in (paper, letter):
        absent = told(put(usher, "frank", document=str(uuid4()), collection="board"))
        assert told(put(usher, "frank", document=document, collection="board")) == absent
        assert told(usher.ask("DELETE", f"{PATH}/{document}", "frank")) == absent
    assert state(usher) == before


def test_a_foreign_document_and_an_absent_one_are_one_answer(usher: World) -> None:
    """To replace, move or delete: the same status, headers and body, also for what is deleted or no id."""
    foreign = ident(usher, "carol", BOARD)
    gone = added(usher, "bob", TEXT, name())
    usher.ask("DELETE", f"{PATH}/{gone}")
    finance = added(usher, "alice", TEXT, name(), collection="finance")
    before = state(usher)
    ids = [foreign, finance, gone, str(uuid4()), "x", foreign.upper(), f"{{{finance}}}"]
    answers = {told(put(usher, "bob", text, document=one)) for one in ids for text in (TEXT, None)}
    answers |= {told(usher.ask("DELETE", f"{PATH}/{one}")) for one in ids}
    assert len(answers) == 1
    assert answers.pop()[0] == 404
    assert state(usher) == before


def test_what_one_may_read_and_not_change_is_403(usher: World) -> None:
    """It is known to exist."""
    budget = ident(usher, "alice", "finance/budget.md")
    usher.run(usher.apply(POLICY + "p, user:alice, coll:handbook, document.ingest, allow, always\n"))
    answers = [put(usher, "alice", document=budget), usher.ask("DELETE", f"{PATH}/{budget}", "alice")]
    usher.run(usher.apply_also(*RIGHTS))
    assert [(answer.status_code, answer.json()["field"]) for answer in answers] == [(403, "document")] * 2


def test_one_may_fill_what_one_may_not_read(usher: World) -> None:
    """A letter box: frank puts in and takes out, and is shown nothing."""
    document = added(usher, "frank", "# Box\n\nThe marmot file.\n", name(), collection="finance")
    assert usher.ask("GET", f"{PATH}/{document}", "frank").status_code == 403
    assert document in found(usher, "alice", "marmot")
    assert usher.ask("DELETE", f"{PATH}/{document}", "frank").json()["outcome"] == "deleted"
    assert document not in listed(usher, "alice")


def test_a_deleted_document_is_found_no_more(usher: World) -> None:
    """Nor is it there for a second deletion."""
    document = added(usher, "bob", "# Yak\n\nThe yak clause.\n", name())
    assert document in found(usher, "alice", "yak")
    assert usher.ask("DELETE", f"{PATH}/{document}").status_code == 200
    assert document not in found(usher, "alice", "yak")
    assert usher.ask("DELETE", f"{PATH}/{document}").status_code == 404


def test_nothing_is_uploaded_into_the_reserve(usher: World) -> None:
    """While the disk is short, a file is refused with the reason and nothing of it stays; a deletion is not."""
    document = added(usher, "bob", TEXT, name())
    before, log = state(usher), cast("SqlLog", usher.services.ledger._log)
    log._reserve = 2**62
    refused = put(usher, "bob", TEXT, name())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")
    assert "USHER_DISK_RESERVE" in refused.text
    assert state(usher) == before
    assert usher.ask("DELETE", f"{PATH}/{document}").status_code == 200
    log._reserve = 0


LOSSES = {
    "the new collection": [r for r in RIGHTS if "coll:finance" not in r],
    "the old collection": [r for r in RIGHTS if r != "g, user:alice, role:editor"],
    "the key": None,
}


@pytest.mark.parametrize("when", ["while it is converted", "while it is staged"])
@pytest.mark.parametrize("lost", LOSSES.values(), ids=LOSSES)
def test_a_right_that_is_lost_meanwhile_is_missed(
    usher: World, monkeypatch: pytest.MonkeyPatch, lost: list[str] | None, when: str
) -> None:
    """The change is refused before it is pending, and nothing of the file stays; no later than need be."""
    document = added(usher, "alice", TEXT, name())
    before = state(usher)
    converting = when == "while it is converted"
    part: Any = usher.services.ingest.take_in._converter if converting else usher.services.retrieve._store
    staged = during(usher.services.retrieve._store, "write", monkeypatch, nothing)

    async def lose() -> None:
        if lost is None:
            await usher.services.people.revoke_key(usher.key_ids["alice"], OPERATOR)
        else:
            await usher.apply_also(*lost)

    during(part, "convert" if converting else "write", monkeypatch, lose)
    answer = put(usher, "alice", "# Otter\n\notter\n", document=document, collection="finance")
    monkeypatch.undo()
    usher.run(usher.apply_also(*RIGHTS))
    usher.run(usher.add("alice"))
    assert answer.status_code in (403, 404)
    assert bool(staged) == (not converting)
    assert state(usher) == before


async def nothing() -> None: ...
