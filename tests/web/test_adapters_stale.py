"""What an adapter learned and may no longer be known stops it: at once, recorded, and for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.erasure_kit import ERASERS, approved, erased
from tests.web.registry_kit import (
    DECIDERS,
    OPERATOR,
    adapter_events,
    company,
    evaluated,
    fresh,
    gave,
    handbook,
    learned,
    lying,
    published,
    registered,
    served,
    trained,
)
from tests.web.world import DOCUMENTS, POLICY, World

from usher.adapters.upkeep import Upkeep
from usher.audit import erasing
from usher.audit.erasure import Target
from usher.backends.sql_adapters import SqlAdapters
from usher.core.adapters import Registered
from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable
from usher.ledger.sequencer import Ledger
from usher.outbox import ChangePending
from usher.ports import LabelChange
from usher_lora.lineage import Cause, lineage
from usher_lora.manifest import MadeFor
from usher_lora.registry import State

HOTELS = "handbook/hotels.md"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, company(tmp_path_factory.mktemp("stale")) as (made, _):
        patch.setattr(erasing, "GRACE", 0.0)
        made.run(made.apply_also(*DECIDERS, *ERASERS))
        yield made


@pytest.fixture(autouse=True)
def _all_in(usher: World) -> None:
    """Whatever another test took out."""
    usher.run(usher.ingest())


def somebody(usher: World) -> tuple[str, str, list[tuple[str, str]]]:
    """A new person, their pseudonym, and what they gave for training."""
    user = f"somebody-{fresh()}"
    usher.run(usher.add(user, ["staff"]))
    person = usher.run(usher.services.ledger.pseudonym(user))
    return user, person, [(person, gave(usher, user))]


def stands(usher: World, one: Registered) -> tuple[State, list[Cause]]:
    found = usher.run(usher.services.adapters.store.get(one.id))
    assert found is not None
    return found.entry.state, [each.cause for each in found.entry.stale]


def test_a_deleted_document_retires_what_learned_it(usher: World, tmp_path: Path) -> None:
    """With the run that takes it out; what did not learn it goes on; taken in again, nothing comes back."""
    asked = MadeFor("role:employee", ("coll:handbook",), ("structure",), 1)
    one = usher.run(served(usher, trained(tmp_path / "a", handbook(usher), made=fresh(), asked=asked)))
    other = lineage([learned(usher, "handbook/notice.md")])
    two = usher.run(served(usher, trained(tmp_path / "b", other, made=fresh())))
    assert {one.name, two.name} <= set(published(usher))
    usher.run(usher.ingest({path: text for path, text in DOCUMENTS.items() if path != HOTELS}))
    assert stands(usher, one) == (State.RETIRED, [Cause.DOCUMENT_DELETED])
    assert one.name not in published(usher)
    assert two.name in published(usher)
    event = next(event for event in adapter_events(usher)[::-1] if event["adapter"] == one.name)
    assert (event["act"], event["by"], event["adapter"]) == ("stale", "lineage", one.name)
    usher.run(usher.ingest())
    assert one.name not in published(usher)
    assert usher.ask("POST", f"/api/adapters/{one.id}/reopen", "carol").status_code == 409
    shown = usher.ask("GET", f"/api/adapters/{one.id}", "carol").json()["adapter"]
    assert shown["stale"] == ["document_deleted"]
    assert shown["made_for"] == {
        "role": "role:employee",
        "collections": ["coll:handbook"],
        "makers": ["structure"],
        "seed": 1,
    }


def test_another_is_proposed_in_its_place_until_it_is_registered(usher: World, tmp_path: Path) -> None:
    """To whoever decides on it: what is lost is to be trained anew, on what there is now."""
    asked = MadeFor("role:employee", ("coll:handbook",), ("structure",), 2)
    one = usher.run(served(usher, trained(tmp_path / "a", handbook(usher), made=fresh(), asked=asked)))
    assert one.name not in proposed(usher)
    usher.run(usher.ingest({path: text for path, text in DOCUMENTS.items() if path != HOTELS}))
    assert one.name in proposed(usher)
    assert one.name not in proposed(usher, "erin")
    rest = lineage([learned(usher, "handbook/notice.md")])
    usher.run(registered(usher, trained(tmp_path / "b", rest, made=fresh(), asked=asked)))
    assert one.name not in proposed(usher)


def proposed(usher: World, who: str = "carol") -> list[str]:
    return list(usher.ask("GET", "/api/adapters", who).json()["to_train_anew"])


def test_a_deletion_that_is_only_pending_stops_it_already(
    usher: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the ledger cannot record, and before anybody has marked it; the mark follows."""
    one = usher.run(served(usher, trained(tmp_path / "a", handbook(usher), made=fresh())))
    document = learned(usher, HOTELS)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", _unrecorded)
        with pytest.raises(ChangePending):
            usher.run(_withdrawn(usher, document))
    assert one.name not in published(usher)
    assert stands(usher, one)[0] is State.PUBLISHED
    usher.run(_recovered(usher))
    assert stands(usher, one) == (State.RETIRED, [Cause.DOCUMENT_DELETED])


async def _unrecorded(self: Ledger, *_: object, **__: object) -> object:
    raise LedgerUnavailable("away")


async def _withdrawn(usher: World, document: Any) -> None:
    ingest = usher.services.ingest
    async with ingest.turn:
        await ingest.committer.label(
            [LabelChange("delete", document.document, document.version, document.access_class)], "operator:uid:0"
        )


async def _recovered(usher: World) -> None:
    await usher.services.ingest.recover()
    await usher.services.adapters.upkeep.recover()


def test_what_a_deletion_left_unmarked_is_marked_at_the_next_start(
    usher: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off between the two: it serves nobody meanwhile, and is not published either."""
    one = usher.run(served(usher, trained(tmp_path / "a", handbook(usher), made=fresh())))
    draft = usher.run(
        evaluated(usher, usher.run(registered(usher, trained(tmp_path / "b", handbook(usher), made=fresh()))))
    )
    with monkeypatch.context() as patch:
        patch.setattr(SqlAdapters, "gone", _cut)
        with pytest.raises(RuntimeError):
            usher.run(_withdrawn(usher, learned(usher, HOTELS)))
    assert one.name not in published(usher)
    usher.run(_recovered(usher))
    assert stands(usher, one) == (State.RETIRED, [Cause.DOCUMENT_DELETED])
    assert stands(usher, draft) == (State.RETIRED, [Cause.DOCUMENT_DELETED])


async def _cut(self: object) -> None:
    raise RuntimeError("cut off here")


def test_an_erased_document_is_told_as_that(usher: World, tmp_path: Path) -> None:
    """The erasure is done; what learned it is retired before its event."""
    one = usher.run(served(usher, trained(tmp_path / "a", handbook(usher), made=fresh())))
    document = learned(usher, HOTELS).document
    usher.run(erased(usher, Target(document=document)))
    state, causes = stands(usher, one)
    assert (state, set(causes)) == (State.RETIRED, {Cause.DOCUMENT_DELETED, Cause.DOCUMENT_ERASED})
    events = usher.events()
    erasure = max(event["number"] for event in events if event["type"] == "erasure")
    stale = [event["number"] for event in events if event["type"] == "adapter" and event["adapter"] == one.name][4:]
    assert stale[0] < erasure
    assert not [name for name in lying(usher) if one.id in name]
    assert one.name not in [finding.adapter for finding in usher.run(usher.services.adapters.upkeep.check())]
    assert one.name not in published(usher)


def test_an_erased_person_retires_what_learned_from_them(usher: World, tmp_path: Path) -> None:
    """Before their key goes; a lineage that names them is refused from then on."""
    user, person, given = somebody(usher)
    line = lineage([learned(usher, HOTELS)], [person])
    one = usher.run(served(usher, trained(tmp_path / "a", line, made=fresh(), exchanges=given)))
    usher.run(erased(usher, Target(user=user)))
    assert stands(usher, one) == (State.RETIRED, [Cause.SUBJECT_ERASED])
    assert not [name for name in lying(usher) if one.id in name]
    with pytest.raises(UserError, match="erased"):
        usher.run(registered(usher, trained(tmp_path / "b", line, made=fresh(), exchanges=given)))


def test_an_erasure_that_is_cut_off_has_stopped_it_all_the_same(
    usher: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is destroyed; what missed it is marked by the next check."""
    user, person, given = somebody(usher)
    line = lineage([learned(usher, HOTELS)], [person])
    one = usher.run(served(usher, trained(tmp_path / "a", line, made=fresh(), exchanges=given)))
    item = usher.run(approved(usher, Target(user=user)))
    with monkeypatch.context() as patch:
        patch.setattr(erasing.Erasing, "_renew", _cut_at)
        with pytest.raises(UserError):
            usher.run(usher.services.audit.erasures.carry_out(item.id, _operator()))
    assert stands(usher, one) == (State.RETIRED, [Cause.SUBJECT_ERASED])


async def _cut_at(self: object, *_: object) -> None:
    raise RuntimeError("cut off here")


def _operator() -> Any:
    from tests.web.erasure_kit import OPERATOR as REVIEWER

    return REVIEWER


def test_a_subject_who_takes_back_their_leave_retires_it(usher: World, tmp_path: Path) -> None:
    """Only what learned from them, and once."""
    _, person, given = somebody(usher)
    line = lineage([learned(usher, HOTELS)], [person])
    one = usher.run(served(usher, trained(tmp_path / "a", line, made=fresh(), exchanges=given)))
    two = usher.run(served(usher, trained(tmp_path / "b", handbook(usher), made=fresh())))
    upkeep = usher.services.adapters.upkeep
    found = usher.run(upkeep.without({person: Cause.SUBJECT_WITHDREW}))
    assert [finding.adapter for finding in found] == [one.name]
    assert usher.run(upkeep.without({person: Cause.SUBJECT_WITHDREW})) == []
    assert stands(usher, one) == (State.RETIRED, [Cause.SUBJECT_WITHDREW])
    assert [name for name in lying(usher) if one.id in name]
    assert one.name not in published(usher)
    assert two.name in published(usher)


@pytest.mark.parametrize("acts", [("retire", "quarantine"), ("quarantine",)], ids=["retire", "quarantine"])
def test_what_stops_an_adapter_binds_without_the_ledger(
    usher: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acts: tuple[str, ...]
) -> None:
    """It serves nobody at once; a second stop is not lost behind the first; both are recorded later, in order."""
    one = usher.run(served(usher, trained(tmp_path / "a", handbook(usher), made=fresh())))
    registry = usher.services.adapters.registry
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", _unrecorded)
        for act in acts:
            with pytest.raises(ChangePending):
                usher.run(getattr(registry, act)(one.id, OPERATOR))
            assert one.name not in published(usher)
    usher.run(_recovered(usher))
    recorded = [event["act"] for event in adapter_events(usher) if event["adapter"] == one.name][5:]
    assert recorded == [{"retire": "retired", "quarantine": "quarantined"}[act] for act in acts]
    assert stands(usher, one)[0] is State.QUARANTINED


def test_a_gate_that_asks_more_stops_what_passed_before(usher: World, tmp_path: Path) -> None:
    """At the next look, everywhere, as the part of Usher that found it; a looser one brings nothing back."""
    one = usher.run(served(usher, trained(tmp_path / "a", handbook(usher), made=fresh())))
    upkeep = usher.services.adapters.upkeep
    usher.run(upkeep.gates())
    assert one.name in published(usher)
    rules = POLICY + "".join(f"{line}\n" for line in (*DECIDERS, *ERASERS))
    try:
        usher.run(usher.apply(rules, **{"gates.yaml": "leakage: {width: 0.02}\n"}))
        usher.run(upkeep.gates())
        assert one.name not in published(usher)
    finally:
        usher.run(usher.apply(rules))
    usher.run(upkeep.gates())
    assert one.name not in published(usher)
    event = next(event for event in adapter_events(usher)[::-1] if event["adapter"] == one.name)
    assert (event["act"], event["by"], event["stands"]["alarm"]) == ("quarantined", "gate", "gate")
    assert usher.ask("POST", f"/api/adapters/{one.id}/reopen", "carol").json()["state"] == "draft"


def test_who_was_erased_unnoticed_is_found_by_a_check(
    usher: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whatever the erasure was done that did not know of adapters; and what was learned from them goes."""
    user, person, given = somebody(usher)
    line = lineage([learned(usher, HOTELS)], [person])
    one = usher.run(served(usher, trained(tmp_path / "a", line, made=fresh(), exchanges=given)))
    with monkeypatch.context() as patch:
        patch.setattr(Upkeep, "without", _nobody)
        usher.run(erased(usher, Target(user=user)))
    assert one.name in published(usher)
    found = usher.run(usher.services.adapters.upkeep.check())
    assert one.name in [finding.adapter for finding in found]
    assert stands(usher, one) == (State.RETIRED, [Cause.SUBJECT_ERASED])
    assert not [name for name in lying(usher) if one.id in name]


async def _nobody(self: object, subjects: object) -> None: ...
