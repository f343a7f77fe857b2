"""Whatever happens to policy, labels, documents and adapters: no model is ever asked as an adapter that the person who
asks may not use, and one that they may use answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.web.adapter_kit import BOTH, BUDGET, BY_ADAPTER, HANDBOOK, MERGER, USE, SpeakingModel, moved, publish
from tests.web.world import DOCUMENTS, POLICY, RULES, World, world

from usher_lora.lineage import Lineage
from usher_lora.registry import State
from usher_policy.vocabulary import Action

QUESTION = "What do you know of holidays, budgets and mergers?"
EVERYBODY = "p, role:employee, adapter:money, adapter.use, allow, always"
POLICIES = (
    f"{POLICY}{USE}\n",
    f"{POLICY}{EVERYBODY}\n",
    f"{POLICY}{EVERYBODY}\np, user:alice, adapter:money, adapter.use, deny, always\n",
    f"{POLICY}{EVERYBODY}\n".replace("p, role:finance, coll:finance", "p, role:board, coll:finance"),
    POLICY,
)
LABELS = (RULES, RULES.replace("collection: finance", "collection: board"), RULES.replace("handbook}", "finance}"))
FEWER = {path: text for path, text in DOCUMENTS.items() if path != BUDGET}

steps = st.one_of(
    st.tuples(st.just("policy"), st.sampled_from(POLICIES), st.sampled_from((BY_ADAPTER, BOTH))),
    st.tuples(st.just("labels"), st.sampled_from(LABELS), st.sampled_from((DOCUMENTS, FEWER))),
    st.tuples(st.just("publish"), st.sets(st.sampled_from((HANDBOOK, MERGER, BUDGET)), min_size=1), st.booleans()),
    st.tuples(st.just("stop"), st.sampled_from((State.RETIRED, State.QUARANTINED)), st.none()),
)


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(Path(tmp_path_factory.mktemp("adapters")), model=SpeakingModel()) as made:
        yield made


ANY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(ANY, max_examples=3)
@given(st.lists(steps, min_size=2, max_size=3))
def test_no_model_is_asked_as_an_adapter_that_one_may_not_use(usher: World, acts: list[tuple[object, ...]]) -> None:
    """By what the database itself says, each adapter looked at alone."""
    _play(usher, acts)


@pytest.mark.crash
@settings(ANY, max_examples=12)
@given(st.lists(steps, min_size=3, max_size=8))
def test_in_many_long_stories_neither(usher: World, acts: list[tuple[object, ...]]) -> None:
    """The same, at length."""
    _play(usher, acts)


def _play(usher: World, acts: list[tuple[object, ...]]) -> None:
    usher.run(usher.apply(POLICIES[1], **{"routing.yaml": BY_ADAPTER}))
    usher.run(publish(usher, HANDBOOK))
    for act in acts:
        usher.run(done(usher, act))
        for who in ("alice", "bob", "carol"):
            model = cast(SpeakingModel, usher.services.chat._model)
            model.requests.clear()
            answer = usher.chat(QUESTION, who)
            assert answer.status_code == 200
            may = usher.run(allowed(usher, who))
            asked = {request.adapter for request in model.requests} - {None}
            assert asked <= may
            assert bool(asked) == bool(may)
            assert (answer.json()["usher"]["route"].get("adapter") == "money") == bool(may)
    for one in usher.run(usher.services.adapters.store.published()):
        usher.run(moved(usher, one.id, State.RETIRED))
    usher.run(usher.ingest())


async def done(usher: World, act: tuple[object, ...]) -> None:
    match act:
        case ("policy", str(rules), str(routing)):
            await usher.apply(rules, **{"routing.yaml": routing})
        case ("labels", str(labels), documents):
            await usher.ingest(cast("dict[str, str]", documents), labels)
        case ("publish", paths, strange):
            there = sorted(path for path in cast("set[str]", paths) if _rows(usher, path=path)[0][2] is None)
            if there:
                await publish(usher, *there, trained=[2] * len(there) if strange else None)
        case ("stop", state, _):
            for one in (await usher.services.adapters.store.published())[:1]:
                await moved(usher, one.id, cast(State, state))


async def allowed(usher: World, who: str) -> set[str]:
    """The published adapters that somebody may use."""
    grant = await usher.services.authority.admit(usher.keys[who])
    assert grant is not None
    store = usher.services.adapters.store
    if not grant.may(Action.ADAPTER_USE, "adapter:money").allowed:
        return set()
    found = set()
    for one in await store.all():
        lineage = await store.lineage(one.id)
        if one.entry.served and lineage is not None and _readable(usher, lineage, set(grant.scope.classes)):
            found.add(one.name)
    return found


def _readable(usher: World, lineage: Lineage, scope: set[int]) -> bool:
    for learned in lineage.documents:
        row = next(iter(_rows(usher, id=learned.document.hex)), None)
        if row is None or row[2] is not None or not {row[1], learned.access_class} <= scope:
            return False
    return True


def _rows(usher: World, **where: str) -> list[tuple[str, int, int | None]]:
    ((column, value),) = where.items()
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite")) as connection:
        statement = f"SELECT id, access_class, deleted_at FROM document WHERE {column} = ?"  # noqa: S608  # two columns
        return connection.execute(statement, (value,)).fetchall()
