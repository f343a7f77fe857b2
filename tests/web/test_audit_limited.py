"""Reviewers whose rights end at a collection: what is about nothing of theirs does not exist for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.web.audit_kit import BUDGET, HOLIDAY, MERGER, REVIEWERS, answered, asked, document_of, reviewed
from tests.web.world import DOCUMENTS, POLICY, World


class Story:
    """What happened, by audit id."""

    def __init__(self, usher: World) -> None:
        self.handbook, self.board = (document_of(usher, path) for path in ("handbook/holidays.md", "board/merger.md"))
        self.finance = document_of(usher, "finance/budget.md")
        first = answered(usher, BUDGET, "alice")
        self.budget, talk = first["audit_id"], first["conversation_id"]
        self.after = answered(usher, "And what may a hotel cost for one night?", "alice", talk)["audit_id"]
        self.holiday = answered(usher, HOLIDAY, "bob")["audit_id"]
        self.merger = answered(usher, MERGER, "carol")["audit_id"]
        usher.ask("GET", f"/api/documents/{self.finance}", "alice")
        usher.ask("GET", f"/api/documents/{self.board}", "carol")
        usher.ask("POST", "/api/feedback", "alice", json={"exchange": self.budget, "verdict": "up"})
        usher.ask("POST", "/api/feedback", "bob", json={"exchange": self.holiday, "verdict": "up"})
        usher.chat(HOLIDAY, "erin")


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with reviewed(tmp_path_factory.mktemp("limited")) as made:
        yield made


@pytest.fixture(scope="module")
def story(usher: World) -> Story:
    return Story(usher)


def everything(usher: World, who: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = asked(usher, "events", who, after=after, limit=3, **query)
        found, after = found + page["events"], page["next"]
    return found


def test_who_saw_a_document_out_of_reach_is_nobody(usher: World, story: Story) -> None:
    """As for one that is not there; and within reach it is the same for all who ask."""
    absent = asked(usher, "who-saw", "frank", document=str(uuid4()))
    assert asked(usher, "who-saw", "frank", document=story.board) == absent
    assert (absent["entries"], absent["next"], absent["indexed"], absent["size"]) == ([], None, None, None)
    mine, all_ = (asked(usher, "who-saw", who, document=story.finance)["entries"] for who in ("frank", "olga"))
    assert [entry["number"] for entry in mine] == [entry["number"] for entry in all_]
    assert {entry["audit_id"] for entry in mine} == {story.budget, story.after, None}
    assert {p["document"] for entry in mine for p in entry["passages"]} == {story.finance}


def test_a_path_out_of_reach_is_no_path(usher: World, story: Story) -> None:
    """Asking by name tells not whether there is such a document."""
    answers = [asked(usher, "who-saw", "frank", path=path) for path in ("board/merger.md", "board/nothing.md")]
    assert answers[0] == answers[1]
    assert [event["document"] for event in usher.events()[-2:]] == [None, None]
    named = asked(usher, "who-saw", "frank", path="finance/budget.md", names="true")
    assert {entry["user"] for entry in named["entries"]} == {"alice"}
    assert [name["path"] for name in named["documents"].values()] == ["finance/budget.md"]


def test_what_somebody_saw_is_cut_to_the_collection(usher: World, story: Story) -> None:
    """Passages, earlier exchanges and whole entries; what they inherited counts."""
    entries = asked(usher, "saw", "frank", person="alice", names="true")["entries"]
    assert [entry["audit_id"] for entry in entries] == [story.budget, story.after, None]
    assert {p["document"] for entry in entries for p in entry["passages"]} == {story.finance}
    assert entries[1]["earlier"] == [story.budget]
    assert asked(usher, "saw", "frank", person="carol")["entries"] == []
    assert asked(usher, "denied", "frank")["entries"] == []
    assert asked(usher, "touched", "frank", marking="mark:mnpi")["entries"] == []
    assert story.merger in {e["audit_id"] for e in asked(usher, "touched", "olga", marking="mark:mnpi")["entries"]}


def test_events_are_of_the_collection_alone_in_pages_of_their_own(usher: World, story: Story) -> None:
    """Whole exchanges, their feedback, and documents' own events; cut to the passages within, and nothing else."""
    events = everything(usher, "frank")
    assert {event["audit_id"] for event in events if event["audit_id"]} == {story.budget, story.after}
    kinds = {event["type"] for event in events}
    assert kinds == {"request", "decision", "retrieval", "generation", "answer", "view", "document", "feedback"}
    shown = [p for e in events for p in [*e.get("passages", ()), *e.get("documents", ())]]
    assert {p["document"] for p in shown} | {e["document"] for e in events if "document" in e} == {story.finance}
    told = json.dumps(events)
    assert not any(name in told for name in (story.handbook, story.board, story.holiday, story.merger, "operator"))
    assert asked(usher, "events", "frank", document=story.board)["events"] == []
    assert everything(usher, "frank", document=story.finance) == events
    assert everything(usher, "frank", person="bob") == []


def test_a_deny_on_a_collection_cuts_it_out_of_a_right_that_holds_everywhere(usher: World, story: Story) -> None:
    """What is about no document stays, but for the events that may tell of one, such as the reviewers' own."""
    entries = asked(usher, "saw", "grace", pseudonym=pseudonym(usher, "carol"))["entries"]
    assert story.board not in {p["document"] for entry in entries for p in entry["passages"]}
    assert asked(usher, "who-saw", "grace", document=story.board)["entries"] == []
    assert asked(usher, "who-saw", "grace", document=story.handbook)["entries"]
    assert {entry["kind"] for entry in asked(usher, "denied", "grace")["entries"]} == {"chat"}
    events = everything(usher, "grace")
    assert story.board not in json.dumps(events)
    assert {"policy", "key", "person", "request", "document"} <= {event["type"] for event in events}
    assert not {"audit_read", "conversation"} & {event["type"] for event in events}


def pseudonym(usher: World, who: str) -> str:
    return usher.run(usher.services.ledger.pseudonym(who))


def test_each_right_is_asked_for_by_itself(usher: World, story: Story) -> None:
    """A right on a collection opens the routes of that right, and of no other."""
    for question, query in (("who-saw", {"document": story.board, "names": "true"}), ("saw", {"person": "bob"})):
        assert usher.ask("GET", f"/api/audit/{question}", "grace", params=query).status_code == 403
    assert usher.ask("GET", "/api/audit/uses", "frank").status_code == 403
    assert usher.ask("GET", "/api/audit/events", "heidi").status_code == 403
    body = {"exchange": story.budget, "reason": "I want to know"}
    assert usher.ask("POST", "/api/audit/unseal", "grace", json=body).status_code == 403


def test_a_document_that_is_moved_out_of_reach_was_never_there(usher: World, story: Story) -> None:
    """Its class of now counts as that of then: both must be within, so it is in neither reviewer's reach."""
    before = asked(usher, "who-saw", "frank", document=story.finance)["entries"]
    root = usher.folder / "documents"
    rules = (usher.folder / "rules.yaml").read_text()
    moved = rules.replace('"finance/**", collection: finance', '"finance/**", collection: board')
    assert moved != rules
    usher.run(relabelled(usher, moved))
    assert asked(usher, "who-saw", "frank", document=story.finance)["entries"] == []
    assert asked(usher, "saw", "frank", person="alice")["entries"] == []
    assert everything(usher, "frank") == []
    assert asked(usher, "who-saw", "olga", document=story.finance)["entries"]
    assert (root / "finance/budget.md").exists()
    usher.run(relabelled(usher, rules))
    assert asked(usher, "who-saw", "frank", document=story.finance)["entries"] == before


async def relabelled(usher: World, rules: str) -> None:
    """The same documents under other rules."""
    from tests.web import world

    kept = world.RULES
    world.RULES = rules
    try:
        await usher.ingest(DOCUMENTS)
    finally:
        world.RULES = kept


def test_whoever_loses_a_part_meanwhile_gets_the_rest(
    usher: World, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read under the right of before is read anew under that of now."""
    asking = usher.services.audit.questions._asking
    real, lost = asking.found, []

    async def meanwhile(*given: Any) -> Any:
        found = await real(*given)
        if not lost:
            lost.append(found)
            cut_out = REVIEWERS + "p, role:all, coll:finance, audit.read, deny, always\n"
            await usher.apply(POLICY + cut_out)
        return found

    monkeypatch.setattr(asking, "found", meanwhile)
    answer = asked(usher, "who-saw", "olga", document=story.finance)
    monkeypatch.undo()
    assert lost[0].entries
    assert answer["entries"] == []
    usher.run(usher.apply(POLICY + REVIEWERS))
