"""Opening what one exchange said, for a typed reason: recorded before, and read by those who review."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from tests.web.audit_kit import BUDGET, HOLIDAY, MERGER, REVIEWERS, answered, asked, document_of, reviewed
from tests.web.world import POLICY, World

from usher.ledger.record import Entry, EventType

REASON = "Complaint 114: what was the aardvark told?"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with reviewed(tmp_path_factory.mktemp("unseal")) as made:
        made.run(made.add("ivan"))
        yield made


@pytest.fixture(scope="module")
def budget(usher: World) -> str:
    said = answered(usher, BUDGET, "alice")
    body = {"exchange": said["audit_id"], "verdict": "down", "reason": "The okapi is missing."}
    assert usher.ask("POST", "/api/feedback", "alice", json=body).status_code == 201
    found: str = said["audit_id"]
    return found


def unseal(usher: World, who: str, exchange: str, reason: str = REASON) -> Any:
    return usher.ask("POST", "/api/audit/unseal", who, json={"exchange": exchange, "reason": reason})


def test_content_is_opened_for_a_reason_that_is_kept_sealed(usher: World, budget: str) -> None:
    """Question, answer and what was said of it; the event names the exchange, the reason stands nowhere in plain."""
    response = unseal(usher, "olga", budget)
    assert response.status_code == 200, response.text
    content = response.json()
    assert (content["question"], content["query"], content["client_turns"]) == (BUDGET, None, [])
    assert content["answer"] == usher.recorded(budget)
    assert content["feedback"]["words"]["reason"] == "The okapi is missing."
    assert content["pseudonym"] == usher.run(usher.services.ledger.pseudonym("alice"))
    assert response.headers["cache-control"] == "no-store"
    event = usher.events()[-1]
    assert (event["type"], event["question"], event["exchange"]) == ("audit_read", "unseal", budget)
    assert event["who"]["pseudonym"] == usher.run(usher.services.ledger.pseudonym("olga"))
    home = usher.folder / "home"
    assert not any(b"aardvark" in file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_uses_are_listed_with_their_reasons_for_those_who_review(usher: World, budget: str) -> None:
    """Every reading of the log, this one too."""
    unseal(usher, "olga", budget)
    asked(usher, "who-saw", "olga", document=str(uuid4()))
    usher.ask("GET", "/api/audit/proof/1", "dave")
    entries = asked(usher, "uses", "heidi", limit=500)["entries"]
    opened = [entry for entry in entries if entry["question"] == "unseal"]
    assert {entry["reason"] for entry in opened} == {REASON}
    assert opened[-1]["asked"]["exchange"] == budget
    assert "sealed_reason" not in json.dumps(entries)
    assert [entry["question"] for entry in entries[-3:]] == ["who_saw", "proof", "uses"]
    assert {entry["reason"] for entry in entries if entry["question"] != "unseal"} == {None}
    assert usher.ask("GET", "/api/audit/uses", "olga").status_code == 403
    assert usher.ask("GET", "/api/audit/uses?names=true", "heidi").status_code == 403


def test_a_reason_of_another_opening_does_not_open(usher: World, budget: str) -> None:
    """An event that has the sealed reason of another one is listed without it."""
    unseal(usher, "olga", budget)
    kept = usher.events()[-1]
    body = {name: kept[name] for name in ("actor", "question", "exchange", "sealed_reason", "names")}
    moved = Entry(EventType.AUDIT_READ, body={**body, "use": str(uuid4())})
    usher.run(usher.services.ledger.append([moved]))
    entries = asked(usher, "uses", "heidi", limit=500)["entries"]
    assert [entry["reason"] for entry in entries if entry["question"] == "unseal"][-2:] == [REASON, None]


@pytest.mark.parametrize("reason", ["", "   ", "x" * 2_001], ids=["empty", "blank", "long"])
def test_without_a_reason_nothing_is_opened_or_recorded(usher: World, budget: str, reason: str) -> None:
    """400, naming the field."""
    before = len(usher.events())
    response = unseal(usher, "olga", budget, reason)
    assert (response.status_code, response.json()["field"]) == (400, "reason")
    assert len(usher.events()) == before


def test_out_of_reach_and_absent_are_the_same(usher: World, budget: str) -> None:
    """Every document that the exchange found must be within: the travel budget's answer found the handbook too."""
    before = len(usher.events())
    answers = [unseal(usher, who, exchange) for who, exchange in (("frank", budget), ("frank", str(uuid4())))]
    assert {answer.status_code for answer in answers} == {404}
    assert answers[0].json() == answers[1].json()
    assert unseal(usher, "olga", str(uuid4())).json() == answers[0].json()
    assert len(usher.events()) == before
    assert unseal(usher, "olga", "x").status_code == 400


def test_whoever_may_reach_all_that_an_exchange_found_opens_it(usher: World) -> None:
    """With a right on another collection, which is all that it is about."""
    said = answered(usher, HOLIDAY, "bob")["audit_id"]
    assert unseal(usher, "frank", said).status_code == 404
    usher.run(with_handbook(usher))
    assert unseal(usher, "frank", said).json()["question"] == HOLIDAY


async def with_handbook(usher: World) -> None:
    lines = [f"p, role:finrev, coll:handbook, audit.{right}, allow, always\n" for right in ("read", "unseal")]
    await usher.apply(POLICY + REVIEWERS + "".join(lines))


def test_who_reviews_a_collection_sees_the_uses_about_it(usher: World, budget: str) -> None:
    """Of its documents, and of exchanges that are about them; of no others, and none that is about nothing."""
    finance, board = (document_of(usher, path) for path in ("finance/budget.md", "board/merger.md"))
    merger = answered(usher, MERGER, "carol")["audit_id"]
    usher.run(usher.apply(POLICY + REVIEWERS + FINANCE_HEAD))
    for document in (finance, board):
        asked(usher, "who-saw", "olga", document=document)
    alone = usher.search("travel budget", "alice", k=1).json()["audit_id"]
    for exchange in (budget, merger, alone):
        assert unseal(usher, "olga", exchange).status_code == 200
    asked(usher, "denied", "olga")
    entries = asked(usher, "uses", "ivan", limit=500)["entries"]
    about = {entry["asked"].get("document", entry["asked"].get("exchange")): entry["reason"] for entry in entries}
    assert about == {finance: None, budget: None, alone: REASON}  # the budget's answer found the handbook too


FINANCE_HEAD = "p, role:finhead, coll:finance, audit.review, allow, always\ng, user:ivan, role:finhead\n"


def test_whoever_loses_the_right_while_it_is_opened_gets_nothing(
    usher: World, budget: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one of theirs: that they may still read the log is not enough. That they asked is recorded."""
    real, before = usher.services.audit.unsealing._opened, len(usher.events())

    async def meanwhile(*asked: Any) -> Any:
        content = await real(*asked)
        unsealing = "p, role:all, sys:audit, audit.unseal, allow, always\n"
        await usher.apply(POLICY + REVIEWERS.replace(unsealing, ""))
        return content

    with monkeypatch.context() as patch:
        patch.setattr(usher.services.audit.unsealing, "_opened", meanwhile)
        answer = unseal(usher, "olga", budget)
    assert (answer.status_code, BUDGET in answer.text) == (403, False)
    assert [event["question"] for event in usher.events()[before:] if event["type"] == "audit_read"] == ["unseal"]
    assert asked(usher, "who-saw", "olga", document=str(uuid4()))["entries"] == []
    usher.run(usher.apply(POLICY + REVIEWERS))
    assert unseal(usher, "olga", budget).status_code == 200


def test_content_that_is_no_longer_kept_answers_so(usher: World) -> None:
    """Dropped by retention, or its person erased: 410 with what happened, and the try is recorded."""
    dropped = answered(usher, HOLIDAY, "alice")["audit_id"]
    rows = usher.run(usher.services.ledger.content(dropped))
    event = Entry(EventType.RETENTION, body={"exchanges": [dropped]})
    usher.run(usher.services.ledger.append([event], dropped=[(row.audit_id, row.position) for row in rows]))
    answer = unseal(usher, "olga", dropped)
    assert (answer.status_code, answer.json()["field"]) == (410, "exchange")
    assert "no longer kept" in answer.json()["problem"]
    assert usher.events()[-1]["question"] == "unseal"
    erased = answered(usher, HOLIDAY, "carol")["audit_id"]
    unseal(usher, "olga", erased)
    whose = usher.run(usher.services.ledger.pseudonym("carol"))
    with closing(sqlite3.connect(usher.folder / "home" / "ledger.sqlite")) as connection, connection:
        gone = "UPDATE subjects SET wrapped_key = x'', sealed_name = x'' WHERE pseudonym = ?"
        connection.execute(gone, (whose,))
    answer = unseal(usher, "olga", erased)
    assert (answer.status_code, "erased" in answer.json()["problem"]) == (410, True)
    entries = asked(usher, "uses", "heidi", limit=500)["entries"]
    assert [entry["reason"] for entry in entries if entry["question"] == "unseal"][-2:] == [None, None]
