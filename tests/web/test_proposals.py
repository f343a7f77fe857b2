"""Two people for one act, over HTTP: who may decide, when, and what is told and recorded of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.web.erasure_kit import ERASERS, OPERATOR, company, document_id, pseudonym, reviewer
from tests.web.world import World

from usher.audit import erasing
from usher.audit.erasure import Target
from usher.errors import UserError
from usher.ports.proposals import Item
from usher.viewing import NotPermitted

ERASE, PROPOSALS = "/api/audit/erase", "/api/audit/proposals"
REASON = "The person left, said okapi-8842."


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, company(tmp_path_factory.mktemp("proposals")) as (made, _):
        patch.setattr(erasing, "GRACE", 0.0)
        yield made


def propose(usher: World, who: str = "carol", **target: str) -> dict[str, Any]:
    body = (target or {"pseudonym": pseudonym(usher, "bob")}) | {"reason": REASON}
    answer = usher.ask("POST", ERASE, who, json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def act(usher: World, proposal: dict[str, Any], what: str, who: str, **body: str) -> tuple[int, dict[str, Any]]:
    given = {"json": body} if body else {}
    answer = usher.ask("POST", f"{PROPOSALS}/{proposal['id']}/{what}", who, **given)
    return answer.status_code, dict(answer.json())


def approve(usher: World, proposal: dict[str, Any], who: str = "dave") -> tuple[int, dict[str, Any]]:
    return act(usher, proposal, "approve", who, digest=proposal["digest"])


def test_from_proposal_to_done(usher: World) -> None:
    """What is told at each step, and that each is an event, by pseudonym."""
    usher.run(usher.add("leaver", ("staff",)))
    usher.chat("What may a hotel cost?", "leaver")
    whom, carol, dave = (pseudonym(usher, user) for user in ("leaver", "carol", "dave"))
    first = propose(usher, pseudonym=whom)
    assert (first["state"], first["subject"], first["proposer"], first["approved_by"]) == ("open", whom, carol, [])
    assert (first["kind"], first["parts"]) == ("erase_person", ["person", whom])
    status, second = approve(usher, first)
    assert (status, second["state"], second["approved_by"]) == (200, "open", [dave])
    done = act(usher, first, "carry-out", "carol")[1]
    assert (done["state"], done["reason"]) == ("carried_out", None)
    assert done["done_at"] is not None
    told = [event for event in usher.events() if event.get("proposal") == first["id"]]
    assert [event.get("act", event["type"]) for event in told] == ["proposed", "approved", "carried_out", "erasure"]
    assert [event.get("by") for event in told[:3]] == [carol, dave, carol]
    assert all(event["rules"] for event in told[:3])
    assert told[-1]["rule"] == "two_people"
    assert "okapi" not in str(usher.events())
    assert act(usher, first, "carry-out", "dave")[1] == done


def test_nobody_decides_on_their_own(usher: World) -> None:
    """Not to approve, and not to refuse; withdrawing is theirs alone."""
    first = propose(usher)
    assert approve(usher, first, "carol")[0] == act(usher, first, "refuse", "carol")[0] == 403
    assert act(usher, first, "withdraw", "dave")[0] == 403
    assert act(usher, first, "withdraw", "carol")[1]["state"] == "withdrawn"
    assert approve(usher, first)[0] == 409


def test_what_was_not_shown_is_not_approved(usher: World) -> None:
    """The digest must be that of what is proposed; refused, it is over."""
    first = propose(usher)
    assert act(usher, first, "approve", "dave", digest="0" * 64)[0] == 409
    assert act(usher, first, "refuse", "dave")[1]["state"] == "refused"
    assert act(usher, first, "carry-out", "dave")[0] == 409


def test_who_holds_no_right_learns_nothing(usher: World) -> None:
    """The same answer for what is there and what is not, on every route."""
    first = propose(usher)
    absent = first | {"id": "01a204f7-b543-7fcc-ad7b-354f8602e626"}
    for what in ("approve", "refuse", "withdraw", "carry-out", "review"):
        answers = [act(usher, one, what, "alice", digest="0" * 64) for one in (first, absent)]
        assert answers[0] == answers[1]
        assert answers[0][0] == 403
    assert usher.ask("GET", PROPOSALS, "alice").status_code == 403
    assert usher.ask("POST", ERASE, "alice", json={"user": "bob", "reason": "x"}).status_code == 403
    for what in ("approve", "refuse", "withdraw", "carry-out"):
        assert act(usher, absent, what, "dave", digest="0" * 64)[0] == 404


def test_a_right_to_hold_is_none_to_erase(usher: World) -> None:
    """Whoever may only place holds sees no erasure, decides on none, and proposes none."""
    first = propose(usher)
    usher.run(usher.apply_also(*ERASERS, "p, user:alice, sys:audit, audit.hold, allow, always"))
    assert usher.ask("GET", PROPOSALS, "alice").json()["proposals"] == []
    assert approve(usher, first, "alice")[0] == 404
    usher.run(usher.apply_also(*ERASERS))


def test_the_list_is_recorded_and_names_take_their_own_right(usher: World) -> None:
    """The reason is for those who decide, the name for those who may identify."""
    first = propose(usher)
    listed = usher.ask("GET", PROPOSALS, "dave", params={"limit": 1}).json()
    assert listed == {"proposals": [first], "next": first["id"]}
    assert (first["reason"], first["user"]) == (REASON, None)
    read = usher.events()[-1]
    assert (read["type"], read["question"]) == ("audit_read", "proposals")
    assert usher.ask("GET", PROPOSALS, "dave", params={"names": "true"}).status_code == 403
    assert usher.ask("POST", ERASE, "dave", json={"user": "bob", "reason": "x"}).status_code == 403
    usher.run(usher.apply_also(*ERASERS, "p, role:eraser, sys:audit, audit.identify, allow, always"))
    named = usher.ask("GET", PROPOSALS, "dave", params={"names": "true", "limit": 1}).json()["proposals"]
    assert [one["user"] for one in named] == ["bob"]
    assert usher.ask("POST", ERASE, "dave", json={"user": "bob", "reason": "x"}).status_code == 201
    after = usher.ask("GET", PROPOSALS, "dave", params={"after": first["id"]}).json()["proposals"]
    assert first["id"] not in {one["id"] for one in after}
    usher.run(usher.apply_also(*ERASERS))


def test_nobody_decides_on_what_is_about_themselves(usher: World) -> None:
    """A colleague may take their traces away, or not; they themselves neither approve that nor refuse it."""
    first = propose(usher, pseudonym=pseudonym(usher, "dave"))
    before = len(usher.events())
    assert approve(usher, first)[0] == act(usher, first, "refuse", "dave")[0] == 403
    assert len(usher.events()) == before
    assert act(usher, first, "withdraw", "carol")[0] == 200


def test_what_somebody_may_not_know_of_takes_no_place_on_their_pages(usher: World) -> None:
    """Whoever may only place holds finds them behind however many erasures."""
    usher.run(usher.apply_also(*ERASERS, "p, user:alice, sys:audit, audit.hold, allow, always"))
    hold = {"on": "exchange", "target": "01a204f7-b543-7fcc-ad7b-354f8602e626", "reason": "x"}
    held = [usher.ask("POST", "/api/audit/holds", "alice", json=hold).json()["id"]]
    propose(usher)
    held.append(usher.ask("POST", "/api/audit/holds", "alice", json=hold).json()["id"])
    propose(usher)
    found, after = [], None
    for _ in held:
        page = usher.ask("GET", PROPOSALS, "alice", params={"limit": 1} | ({"after": after} if after else {})).json()
        found, after = found + [one["id"] for one in page["proposals"]], page["next"]
    assert found == held[::-1]
    usher.run(usher.apply_also(*ERASERS))


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "x"},
        {"reason": "x", "user": "bob", "pseudonym": "b"},
        {"reason": " ", "pseudonym": "BOB"},
        {"reason": "x" * 2001, "pseudonym": "BOB"},
        {"reason": "x", "document": "no id"},
        {"reason": "x", "document": "01a204f7-b543-7fcc-ad7b-354f8602e626"},
        {"reason": "x", "pseudonym": "01a204f7-b543-7fcc-ad7b-354f8602e626"},
    ],
)
def test_what_cannot_be_erased_is_said(usher: World, body: dict[str, str]) -> None:
    """No target, two, nobody, nothing, or without a reason: 400, and the field."""
    known = {name: pseudonym(usher, "bob") if value == "BOB" else value for name, value in body.items()}
    before = len(usher.events())
    answer = usher.ask("POST", ERASE, "dave", json=known)
    assert answer.status_code in (400, 403)
    assert not [event for event in usher.events()[before:] if event["type"] == "approval"]


def test_a_document_is_proposed_by_its_id(usher: World) -> None:
    """Its approvers see which."""
    hotels = str(document_id(usher, "handbook/hotels.md"))
    assert propose(usher, document=hotels)["parts"] == ["document", hotels]


def test_of_those_who_race_one_decides(usher: World) -> None:
    """An approval and a refusal at once, again and again: one state, and one event for each that was told done."""

    async def race(item: Item) -> int:
        proposals = usher.services.audit.proposals
        dave, carol = await reviewer(usher, "dave"), await reviewer(usher, "carol")
        acts = [
            proposals.approve(item.id, item.stands.digest, dave),
            proposals.refuse(item.id, dave),
            proposals.refuse(item.id, carol),
            proposals.approve(item.id, item.stands.digest, carol),
        ]
        done = await asyncio.gather(*acts, return_exceptions=True)
        assert all(isinstance(one, Item | UserError) for one in done)
        return sum(isinstance(one, Item) for one in done)

    for _ in range(3):
        target = Target(pseudonym=pseudonym(usher, "bob"))
        item = usher.run(usher.services.audit.erasures.propose(OPERATOR, target, REASON))
        told = usher.run(race(item))
        events = [event["act"] for event in usher.events() if event.get("proposal") == str(item.id)]
        assert len(events) == told + 1
        assert events.count("refused") == 1
        assert events[-1] == "refused"


def test_a_review_of_what_was_done_alone_is_closed_by_somebody_else_later(usher: World) -> None:
    """With `audit.review`, and not before its time is over; until then there is the reason."""
    usher.run(usher.add("loner"))
    usher.run(usher.services.ledger.pseudonym("loner"))
    usher.run(usher.apply_also())
    alone = usher.run(usher.services.audit.erasures.alone(OPERATOR, Target(user="loner"), "Nobody is here."))
    usher.run(usher.apply_also(*ERASERS))
    shown = {"id": str(alone.id)}
    assert act(usher, shown, "review", "alice")[0] == 403
    assert act(usher, shown, "review", "dave")[0] == 409
    assert act(usher, shown, "approve", "dave", digest=alone.stands.digest)[0] == 404
    listed = usher.ask("GET", PROPOSALS, "dave", params={"limit": 1}).json()["proposals"]
    assert [(one["id"], one["state"], one["reason"]) for one in listed] == [(str(alone.id), "alone", "Nobody is here.")]


def test_the_operators_routes(usher: World) -> None:
    """Proposing, listing and withdrawing, over the operator's socket only."""
    people, usher.app = usher.app, usher.operator_app()
    try:
        body = {"user": "bob", "reason": REASON}
        made = usher.ask("POST", "/operator/audit/erase", None, json=body).json()
        assert (made["state"], made["proposer"][:9]) == ("open", "operator:")
        assert usher.ask("POST", "/operator/audit/erase", None, json=body | {"alone": True}).status_code == 403
        assert usher.ask("POST", f"/operator/audit/proposals/{made['id']}/carry-out", None).status_code == 409
        listed = usher.ask("GET", "/operator/audit/proposals", None, params={"names": "true"}).json()["proposals"]
        assert [one["user"] for one in listed if one["id"] == made["id"]] == ["bob"]
        gone = usher.ask("POST", f"/operator/audit/proposals/{made['id']}/withdraw", None).json()
        assert gone["state"] == "withdrawn"
    finally:
        usher.app = people
    assert usher.ask("POST", "/operator/audit/erase", None, json=body).status_code == 404


def test_the_operator_approves_nothing(usher: World) -> None:
    """Nor refuses: neither what a person has proposed, nor what the operator has; nor reviews."""

    async def tried() -> None:
        erasures, proposals = usher.services.audit.erasures, usher.services.audit.proposals
        for by in (OPERATOR, await reviewer(usher, "carol")):
            target = Target(pseudonym=await usher.services.ledger.pseudonym("bob"))
            item = await erasures.propose(by, target, REASON)
            for act in (proposals.approve(item.id, item.stands.digest, OPERATOR), proposals.refuse(item.id, OPERATOR)):
                with pytest.raises(NotPermitted):
                    await act

    usher.run(tried())
