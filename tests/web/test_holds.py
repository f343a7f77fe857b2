"""Legal holds: placed and released by two people, recorded, and stronger than any rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.web.holds_kit import (
    HOLDS,
    PROPOSALS,
    Talk,
    approved,
    bob,
    held,
    kept_of,
    let_go,
    proposed,
    released,
    start_over,
    verdict,
)
from tests.web.world import World, world

from usher.audit.reviewers import Reviewer
from usher.viewing import NotPermitted


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("holds")) as made:
        yield made


@pytest.fixture
def usher(house: World) -> World:
    return start_over(house)


COVERED = {
    "person": [True, True, True, False],
    "user": [True, True, True, False],
    "conversation": [True, True, False, False],
    "exchange": [False, True, False, False],
    "document": [True, True, False, False],
    "collection": [True, True, True, True],
    "finance": [False, False, False, True],
}


@pytest.mark.parametrize("what", COVERED)
def test_what_a_hold_covers_stays_until_its_release(usher: World, what: str) -> None:
    """A document's also what inherited it from an earlier answer; all is gone once it is released."""
    said = Talk(usher)
    on = {
        "person": {"on": "person", "target": bob(usher)},
        "user": {"on": "person", "user": "bob"},
        "conversation": {"on": "conversation", "target": said.talk},
        "exchange": {"on": "exchange", "target": said.second},
        "document": {"on": "document", "target": said.document},
        "collection": {"on": "collection", "target": "handbook"},
        "finance": {"on": "collection", "target": "coll:finance"},
    }[what]
    hold = held(usher, **on)
    report = let_go(usher)
    shown = [{p["document"] for e in usher.events(one) for p in e.get("passages", ())} for one in said.all]
    wanted = COVERED[what]
    if what == "document":
        wanted = [wanted[0], wanted[1], said.document in shown[2], said.document in shown[3]]
    assert kept_of(usher, said) == wanted
    assert report["held"] == sum(wanted)
    released(usher, hold)
    let_go(usher)
    assert kept_of(usher, said) == [False] * 4
    assert verdict(usher).ok


def test_it_takes_two_people_and_both_are_recorded(usher: World) -> None:
    """By proposal, approval and hold; with neither name nor reason, which are sealed."""
    said = Talk(usher)
    before = len(usher.events())
    item = proposed(usher, on="person", user="bob")
    let_go(usher, dry=True)
    own = usher.ask("POST", f"{PROPOSALS}/{item['id']}/approve", "dave", json={"digest": item["digest"]})
    assert own.status_code == 403
    wrong = usher.ask("POST", f"{PROPOSALS}/{item['id']}/approve", "erin", json={"digest": "0" * 64})
    assert wrong.status_code == 409
    early = usher.ask("POST", f"{PROPOSALS}/{item['id']}/carry-out", "erin")
    assert early.status_code == 409
    assert usher.ask("GET", HOLDS, "dave").json()["holds"] == []
    assert approved(usher, item)["state"] == "carried_out"
    [event] = [event for event in usher.events()[before:] if event["type"] == "hold"]
    assert (event["op"], event["hold"], event["on"], event["target"]) == (
        "place",
        item["id"],
        "person",
        bob(usher),
    )
    text = json.dumps(usher.events()[before:])
    assert not any(word in text for word in ("zeppelin", '"bob"', "user:bob"))
    stored = b"".join(file.read_bytes() for file in (usher.folder / "home").rglob("*.sqlite*"))
    assert b"zeppelin" not in stored
    [shown] = usher.ask("GET", HOLDS, "erin").json()["holds"]
    assert (shown["reason"], shown["released_at"], shown["target"]) == ("The zeppelin affair.", None, bob(usher))
    let_go(usher)
    assert kept_of(usher, said) == COVERED["person"]


def test_a_release_takes_two_people_too(usher: World) -> None:
    """Until the second has said yes it binds; after that it is listed as released, and cannot be released again."""
    said = Talk(usher)
    before = len(usher.events())
    hold = held(usher, on="exchange", target=said.first)
    release = usher.ask("POST", f"{HOLDS}/{hold}/release", "dave", json={"reason": "Over."}).json()
    let_go(usher)
    assert kept_of(usher, said) == [True, False, False, False]
    approved(usher, release)
    [shown] = usher.ask("GET", HOLDS, "erin").json()["holds"]
    assert shown["released_at"] is not None
    assert [event["op"] for event in usher.events()[before:] if event["type"] == "hold"] == ["place", "release"]
    again = usher.ask("POST", f"{HOLDS}/{hold}/release", "dave", json={"reason": "Over."})
    assert (again.status_code, again.json()["field"]) == (404, "hold")
    assert usher.ask("POST", f"{HOLDS}/{uuid4()}/release", "dave", json={"reason": "Over."}).status_code == 404


def test_a_hold_may_be_of_a_time(usher: World) -> None:
    """From one instant (included) to another (excluded)."""
    said = Talk(usher)
    times = [next(e["time"] for e in usher.events(one) if e["type"] == "request") for one in said.all]
    held(usher, on="collection", target="handbook", since=times[1], until=times[2])
    let_go(usher)
    assert kept_of(usher, said) == [False, True, False, False]


def test_without_the_right_there_is_nothing_to_propose_or_approve(usher: World) -> None:
    """Nor to list; on some collections alone it is not enough, since a hold may be on anything."""
    item = proposed(usher, on="exchange", target=str(uuid4()))
    usher.run(usher.apply(LIMITED))
    for who in ("bob", "carol"):
        for method, path, body in (
            ("GET", HOLDS, None),
            ("POST", HOLDS, {"on": "exchange", "target": str(uuid4()), "reason": "x"}),
            ("POST", f"{PROPOSALS}/{item['id']}/approve", {"digest": item["digest"]}),
            ("POST", f"{PROPOSALS}/{item['id']}/carry-out", None),
            ("POST", f"{HOLDS}/{uuid4()}/release", {"reason": "x"}),
        ):
            assert usher.ask(method, path, who, json=body).status_code == 403
    grant = usher.run(usher.services.authority.admit(usher.keys["carol"]))
    with pytest.raises(NotPermitted, match="some collections"):
        usher.run(usher.services.audit.holds.page(Reviewer(grant, "key"), None, 10))


def test_that_a_name_was_tried_is_recorded(usher: World) -> None:
    """Before it is told whether the record knows it; the name itself stands nowhere."""
    before = len(usher.events())
    body = {"on": "person", "user": "nobody-at-all", "reason": "x"}
    assert usher.ask("POST", HOLDS, "dave", json=body).status_code == 400
    [event] = usher.events()[before:]
    assert (event["type"], event["question"], event["names"]) == ("audit_read", "holds", True)
    assert "nobody-at-all" not in json.dumps(event)


def test_whom_a_hold_is_on_does_not_decide_on_it(usher: World) -> None:
    """Neither that it is placed nor, by refusing it, that it is not; nor on its release."""
    erin = usher.run(usher.services.ledger.pseudonym("erin"))
    item = proposed(usher, on="person", target=erin)
    for what, body in (("approve", {"digest": item["digest"]}), ("refuse", {})):
        refused = usher.ask("POST", f"{PROPOSALS}/{item['id']}/{what}", "erin", json=body)
        assert (refused.status_code, refused.json()["field"]) == (403, "proposal")


def test_a_right_that_is_denied_on_a_collection_is_not_one_everywhere(usher: World) -> None:
    """A hold may be on that collection, or on what showed its documents."""
    usher.run(usher.apply(LIMITED + "p, user:alice, coll:board, audit.hold, deny, always\n"))
    body = {"on": "collection", "target": "board", "reason": "x"}
    assert usher.ask("POST", HOLDS, "alice", json=body).status_code == 403
    assert usher.ask("GET", HOLDS, "alice").status_code == 403


def test_to_hold_a_person_by_name_takes_the_right_to_identify(usher: World) -> None:
    """By pseudonym it does not."""
    Talk(usher)
    usher.run(usher.apply(LIMITED))
    body = {"on": "person", "reason": "x"}
    assert usher.ask("POST", HOLDS, "alice", json={**body, "user": "bob"}).status_code == 403
    assert usher.ask("POST", HOLDS, "alice", json={**body, "target": bob(usher)}).status_code == 201


LIMITED = """\
p, role:some, coll:finance, audit.hold, allow, always
p, role:all, sys:audit, audit.hold, allow, always
g, user:carol, role:some
g, user:alice, role:all
"""

BAD: dict[str, dict[str, Any]] = {
    "on": {"on": "planet", "target": "x"},
    "target": {"on": "exchange", "target": "x"},
    "user": {"on": "person"},
    "since": {"on": "exchange", "target": str(UUID(int=1)), "since": "yesterday"},
    "to": {"on": "exchange", "target": str(UUID(int=1)), "since": "2026-01-02T00:00Z", "until": "2026-01-01T00:00Z"},
    "from": {"on": "exchange", "target": str(UUID(int=1)), "since": "2026-01-02T00:00"},
    "reason": {"on": "exchange", "target": str(UUID(int=1)), "reason": " "},
    "person": {"on": "person", "user": "nobody-at-all"},
}


def test_a_hold_that_cannot_be_is_400(usher: World) -> None:
    """It names the field and the remedy."""
    for field, body in BAD.items():
        response = usher.ask("POST", HOLDS, "dave", json={"reason": "why", **body})
        assert (response.status_code, response.json()["field"]) == (400, field)
