"""The registry over HTTP: two people bring an adapter into service, everybody may stop it, each step is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar
from tests.web.registry_kit import (
    MADE,
    OPERATOR,
    adapter_events,
    as_person,
    company,
    evaluated,
    fresh,
    handbook,
    lying,
    published,
    registered,
    served,
    told,
    trained,
)
from tests.web.world import World

from usher.core.adapters import Registered
from usher.core.standing import Actor
from usher.errors import UserError
from usher.viewing import NotPermitted
from usher_lora.registry import State

API = "/api/adapters"
OPERATOR_ACTOR = Actor("operator", "uid:0")


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with company(tmp_path_factory.mktemp("adapters")) as (made, _):
        yield made


async def asked(app: Litestar, path: str, body: object) -> int:
    transport = httpx.ASGITransport(cast(Any, app))
    async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
        return (await client.post(path, json=body)).status_code


def draft(usher: World, folder: Path, by: str | None = "alice") -> Registered:
    return usher.run(registered(usher, trained(folder / "run", handbook(usher), made=fresh()), by))


def passed(usher: World, folder: Path) -> Registered:
    return usher.run(evaluated(usher, draft(usher, folder)))


def test_two_people_bring_an_adapter_into_service(usher: World, tmp_path: Path) -> None:
    """Registered by one, approved and published by another; each step has its event, by whom and why."""
    begun, one = len(adapter_events(usher)), passed(usher, tmp_path)
    address, body = f"{API}/{one.name}", {"digest": one.digest}
    mine = usher.ask("POST", f"{address}/approve", "alice", json=body)
    assert (mine.status_code, mine.json()["field"]) == (403, "adapter")
    approved = usher.ask("POST", f"{address}/approve", "carol", json=body)
    assert (approved.status_code, approved.json()["state"]) == (200, "approved")
    assert one.name not in published(usher)
    done = usher.ask("POST", f"{address}/publish", "carol", json=body).json()
    assert (done["state"], done["serves"], done["name"]) == ("published", True, one.name)
    assert one.name in published(usher)
    what, *events = adapter_events(usher)[begun:]
    assert (what["act"], what["adapter"], what["part"], what["parts"]) == ("learned", one.name, 1, 1)
    assert what["documents"] == [[str(d.document), d.version, d.access_class] for d in handbook(usher).documents]
    assert [event["act"] for event in events] == ["registered", "evaluated", "approved", "published"]
    assert [event["stands"]["state"] for event in events] == ["draft", "evaluated", "approved", "published"]
    alice, carol = (usher.run(usher.services.ledger.pseudonym(who)) for who in ("alice", "carol"))
    assert [event["by"] for event in events] == [alice, "operator:uid:0", carol, carol]
    assert events[2]["rules"]
    assert {event["adapter"] for event in events} == {one.name}


def test_what_waits_says_its_digest_and_why_a_gate_was_not_passed(usher: World, tmp_path: Path) -> None:
    """To those who may decide on it: with the manifest, and how much it learned."""
    one = passed(usher, tmp_path)
    shown = usher.ask("GET", f"{API}/{one.id}", "carol").json()
    assert shown["adapter"]["digest"] == one.digest
    assert shown["adapter"]["gate"] == "passed"
    assert shown["manifest"]["identity"]["name"] == "support"
    assert shown["lineage"]["documents"] == 2
    listed = usher.ask("GET", API, "alice").json()["adapters"]
    assert one.name in [each["name"] for each in listed]


def test_a_foreign_adapter_is_an_absent_one(usher: World, tmp_path: Path) -> None:
    """Whatever is tried on it, by somebody who decides on another; and nobody else gets in at all."""
    one = passed(usher, tmp_path)
    absent = f"support@sha256:{'0' * 64}"
    for method, act in (
        ("GET", ""),
        *(("POST", f"/{verb}") for verb in ("approve", "publish", "retire", "quarantine")),
    ):
        body = None if method == "GET" else {"digest": one.digest}
        answers = [
            usher.ask(method, f"{API}/{name}{act}", "erin", json=body) for name in (one.name, one.id, absent, "nothing")
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.content for answer in answers}) == 1
    assert usher.ask("GET", API, "erin").json() == {"adapters": [], "to_train_anew": []}
    assert usher.ask("GET", API, "bob").status_code == 403
    assert usher.run(usher.services.adapters.store.get(one.id)) == one


def test_what_a_right_does_not_cover_is_refused(usher: World, tmp_path: Path) -> None:
    """Who may only train neither approves nor publishes; who has no right to train registers nothing."""
    folder = trained(tmp_path / "run", handbook(usher), made=fresh())
    with pytest.raises(NotPermitted):
        usher.run(registered(usher, folder, "carol"))
    with pytest.raises(NotPermitted):
        usher.run(registered(usher, folder, "erin"))
    assert not [name for name in lying(usher) if name.startswith(".")]


def test_the_operator_approves_nothing(usher: World, tmp_path: Path) -> None:
    """That takes a person; what the operator registered, somebody may approve."""
    one = usher.run(evaluated(usher, draft(usher, tmp_path, None)))
    registry = usher.services.adapters.registry
    with pytest.raises(NotPermitted):
        usher.run(registry.approve(one.id, one.digest or "", OPERATOR))
    assert usher.ask("POST", f"{API}/{one.id}/approve", "alice", json={"digest": one.digest}).status_code == 200


def test_an_approval_counts_while_its_right_holds(usher: World, tmp_path: Path) -> None:
    """Taken from who approved, nothing is published by it, by the operator neither."""
    one = passed(usher, tmp_path)
    usher.run(usher.services.adapters.registry.approve(one.id, one.digest or "", usher.run(as_person(usher, "carol"))))
    usher.run(usher.services.people.deactivate("carol", OPERATOR_ACTOR))
    try:
        with pytest.raises(UserError, match="may no longer"):
            usher.run(usher.services.adapters.registry.publish(one.id, one.digest or "", OPERATOR))
        assert one.name not in published(usher)
    finally:
        usher.run(usher.add("carol"))


def test_anybody_who_decides_on_it_may_stop_it(usher: World, tmp_path: Path) -> None:
    """At once; it is approved and published no more, and begins again only by another than its author."""
    one = usher.run(served(usher, trained(tmp_path / "run", handbook(usher), made=fresh())))
    assert one.name in published(usher)
    stopped = usher.ask("POST", f"{API}/{one.name}/quarantine", "alice").json()
    assert (stopped["state"], stopped["alarm"], stopped["serves"]) == ("quarantined", "reported", False)
    assert one.name not in published(usher)
    assert usher.ask("POST", f"{API}/{one.name}/publish", "carol", json={"digest": one.digest}).status_code == 409
    assert usher.ask("POST", f"{API}/{one.name}/retire", "carol").status_code == 409
    assert usher.ask("POST", f"{API}/{one.name}/reopen", "alice").status_code == 409
    again = usher.ask("POST", f"{API}/{one.name}/reopen", "carol").json()
    assert (again["state"], again["digest"], again["approved_by"]) == ("draft", None, None)


def test_registering_again_changes_nothing(usher: World, tmp_path: Path) -> None:
    """Not by the same, not by another, and whatever became of it."""
    folder = trained(tmp_path / "run", handbook(usher), made=fresh())
    one = usher.run(served(usher, folder))
    before = len(adapter_events(usher))
    assert usher.run(registered(usher, folder, None)) == one
    assert usher.run(registered(usher, folder)).entry.author == one.entry.author
    assert len(adapter_events(usher)) == before


def test_a_gate_is_of_the_figures_that_were_found(usher: World, tmp_path: Path) -> None:
    """Of this adapter, with the verdict that they give; else nothing moves, and the field is named."""
    one, other = draft(usher, tmp_path / "a"), draft(usher, tmp_path / "b")
    operators = usher.operator_app()
    bad = told(one)
    bad["gate"]["measured"]["outside"]["canaries_found"] = 3
    for body, status in ((told(other), 409), (bad, 409), ({"gate": {}}, 400), ({"gate": {"adapter": 1}}, 400)):
        answer = usher.run(asked(operators, f"/operator/adapters/{one.id}/evaluated", body))
        assert answer == status
    assert usher.run(usher.services.adapters.store.get(one.id)) == one
    assert usher.run(asked(operators, f"/operator/adapters/{one.id}/evaluated", told(one))) == 200


def test_the_weights_lie_as_a_model_server_may_read_them(usher: World, tmp_path: Path) -> None:
    """Two files that nobody may write, in a folder that nobody may write to; the manifest is signed beside them."""
    one = passed(usher, tmp_path)
    place = usher.services.adapters.weights.place(one.id)
    assert sorted(path.name for path in place.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o444}
    assert place.stat().st_mode & 0o777 == 0o555
    assert usher.run(usher.services.adapters.upkeep.problem(one)) is None
    assert usher.services.adapters.weights.manifest(one.id) is not None


def test_reading_the_registry_is_recorded(usher: World, tmp_path: Path) -> None:
    """Who looked at which, as a view."""
    one = draft(usher, tmp_path)
    usher.ask("GET", f"{API}/{one.id}", "carol")
    usher.ask("GET", API, "carol")
    views = [event["adapters"] for event in usher.events() if event["type"] == "view" and "adapters" in event]
    assert views[-2:] == [{"question": "adapter", "adapter": one.id}, {"question": "adapters"}]


def test_a_state_moves_by_recorded_events_only(usher: World, tmp_path: Path) -> None:
    """What the ledger cannot record does not bring an adapter further."""
    one = passed(usher, tmp_path)
    assert (one.entry.state, one.recorded, one.identity.made != MADE) == (State.EVALUATED, True, True)
    newest = [event for event in adapter_events(usher) if event["adapter"] == one.name][-1]
    assert newest["stands"]["state"] == one.entry.state.value
    assert newest["stands"]["gate"]["adapter"] == one.name
