"""An exchange that an adapter answers: for whom, with what record, and until when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.web.adapter_kit import BOTH, BUDGET, BY_ADAPTER, HANDBOOK, SpeakingModel, moved, publish, route_by
from tests.web.chat_kit import streamed
from tests.web.world import DOCUMENTS, POLICY, RULES, World, world

from usher.adapters.eligible import Offer
from usher.ledger.log import LedgerUnavailable
from usher_lora.registry import Alarm, State

BUDGETS = "How large is the travel budget of the company?"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(Path(tmp_path_factory.mktemp("answers")), model=SpeakingModel()) as made:
        yield made


@pytest.fixture
def usher(made: World) -> Iterator[tuple[World, SpeakingModel]]:
    """No adapter, and all documents as they are labelled at first."""
    model = cast(SpeakingModel, made.services.chat._model)
    model.steps, model.requests = (), []
    yield made, model
    store = made.services.adapters.store
    for one in made.run(store.published()):
        made.run(moved(made, one.id, State.RETIRED))
    made.run(made.ingest())


def said(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def test_the_entitled_gets_the_adapter_and_the_other_is_routed_to_retrieval(
    usher: tuple[World, SpeakingModel],
) -> None:
    """One has the right and may read what it learned; the other hears no more than that there is none for them."""
    made, model = usher
    one = made.run(publish(made, BUDGET))
    made.run(route_by(made))
    answer = made.chat(BUDGETS, "alice")
    assert said(answer).startswith("I speak as money")
    assert answer.json()["usher"]["route"] == {"kind": "adapter", "reasons": ["by_rule"], "adapter": "money"}
    assert (model.requests[-1].adapter, model.requests[-1].passages) == (one.name, ())
    other = made.chat(BUDGETS, "bob")
    assert "base" in said(other) or "found no answer" in said(other)
    assert other.json()["usher"]["route"] == {"kind": "retrieve", "reasons": ["no_eligible_adapter"]}
    assert all(request.adapter is None for request in model.requests[1:])


def test_the_record_says_which_adapter_spoke_and_what_it_had_learned(usher: tuple[World, SpeakingModel]) -> None:
    """Five leaves, also where nothing was searched; counts of tokens at the end."""
    made, _ = usher
    one = made.run(publish(made, BUDGET))
    made.run(route_by(made))
    made.chat(BUDGETS, "alice")
    request, decision, retrieval, generation, answer = made.newest()
    assert [e["type"] for e in (request, decision, retrieval)] == ["request", "decision", "retrieval"]
    assert decision["route"] == {"kind": "adapter", "reasons": ["by_rule"], "rule": "money", "adapter": one.name}
    assert (retrieval["outcome"], retrieval["passages"], len(retrieval["documents"])) == ("not_asked", [], 1)
    assert generation["adapter"] == {"name": "money", "digest": one.id}
    assert generation["gen_ai.request.model"] == "base"
    assert (answer["outcome"], answer["prompt_tokens"], answer["completion_tokens"]) == ("answered", 70, 20)


def test_all_of_it_is_recorded_before_the_adapter_is_asked(
    usher: tuple[World, SpeakingModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, since nothing is looked up between; where that cannot be recorded nobody is asked."""
    made, model = usher
    made.run(publish(made, BUDGET))
    made.run(route_by(made))
    ledger, append = made.services.ledger, made.services.ledger.append
    recorded: list[list[str]] = []

    async def noted(entries: Any, content: Any = (), **more: Any) -> Any:
        receipt = await append(entries, content, **more)
        recorded.append([*(entry.type for entry in entries), f"asked {len(model.requests)}"])
        return receipt

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "append", noted)
        said(made.chat(BUDGETS, "alice"))
    assert recorded[0] == ["request", "decision", "retrieval", "generation", "asked 0"]

    async def refused(*_: Any, **__: Any) -> Any:
        raise LedgerUnavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "append", refused)
        assert made.chat(BUDGETS, "alice").status_code == 503
    assert len(model.requests) == 1


def test_one_that_ends_before_it_is_asked_is_recorded_from_its_beginning(usher: tuple[World, SpeakingModel]) -> None:
    """Its request, its decision and its end."""
    made, model = usher
    made.run(publish(made, BUDGET))
    made.run(route_by(made))
    model.context_tokens = 10
    try:
        assert made.chat(BUDGETS, "alice").status_code in (400, 413, 422)
    finally:
        del model.context_tokens
    last = made.events()[-3:]
    assert [event["type"] for event in last] == ["request", "decision", "answer"]
    assert last[-1]["outcome"] == "failed"
    assert last[-1]["content"]["rows"] == 1


def test_with_passages_too(usher: tuple[World, SpeakingModel]) -> None:
    """They stand in the adapter's prompt, under words of their own."""
    made, model = usher
    made.run(publish(made, BUDGET))
    made.run(route_by(made, BOTH))
    assert said(made.chat(BUDGETS, "alice")).startswith("I speak as money")
    assert model.requests[-1].passages
    both = made.newest()
    made.run(route_by(made, BY_ADAPTER))
    made.chat(BUDGETS, "alice")
    templates = {e["template"] for e in (*both, *made.newest()) if e["type"] == "generation"}
    assert len(templates) == 2


@pytest.mark.parametrize("change", ["policy", "label", "deleted", "quarantined", "retired"])
def test_what_takes_it_away_ends_a_running_answer_and_binds_the_next_question(
    usher: tuple[World, SpeakingModel], change: str
) -> None:
    """Also while the adapter says nothing."""
    made, model = usher
    one = made.run(publish(made, BUDGET, HANDBOOK))
    made.run(route_by(made))

    async def narrow() -> None:
        if change == "policy":
            await made.apply_also("p, user:alice, adapter:money, adapter.use, deny, always")
        elif change == "label":
            await made.ingest(DOCUMENTS, RULES.replace("collection: finance", "collection: board"))
        elif change == "deleted":
            await made.ingest({BUDGET: DOCUMENTS[BUDGET]})
        else:
            state = State(change)
            await moved(made, one.id, state, Alarm.REPORTED if state is State.QUARANTINED else None)

    model.steps = ["before ", narrow, 5.0, "after"]
    got = made.run(streamed(made, "alice", messages=[{"role": "user", "content": BUDGETS}]))
    assert got.error is not None
    assert got.error["code"] == "access_changed"
    assert "after" not in got.text
    assert made.newest()[-1]["outcome"] == "access_changed"
    model.steps = ()
    asked = len(model.requests)
    answer = made.chat(BUDGETS, "alice")
    assert answer.json()["usher"]["route"]["kind"] == "retrieve"
    assert all(request.adapter is None for request in model.requests[asked:])


def test_old_answers_of_an_adapter_are_hidden_once_what_it_learned_is_out_of_scope(
    usher: tuple[World, SpeakingModel],
) -> None:
    """From the screen, from search and from every prompt, as an answer from passages is."""
    made, model = usher
    made.run(publish(made, BUDGET))
    made.run(route_by(made))
    model.steps = ["Four narwhals."]
    first = made.chat(BUDGETS, "alice").json()["usher"]["conversation_id"]
    page = f"/api/conversations/{first}"
    assert "narwhals" in made.ask("GET", page, "alice").text
    made.run(made.apply(POLICY.replace("p, role:finance, coll:finance", "p, role:finance, coll:elsewhere")))
    assert "narwhals" not in made.ask("GET", page, "alice").text
    assert "narwhals" not in made.ask("GET", "/api/conversations/search?q=narwhals", "alice").text
    made.chat("And holidays?", "alice", messages=[{"role": "user", "content": "How many days of holiday?"}])
    headers = {"x-usher-conversation": first}
    body = {"model": "assistant", "messages": [{"role": "user", "content": "And how many days of holiday are there?"}]}
    assert made.ask("POST", "/v1/chat/completions", "alice", json=body, headers=headers).status_code == 200
    assert "narwhals" not in str(model.requests[-1].messages)


WISHES: tuple[dict[str, Any], ...] = (
    {"user": "carol"},
    {"adapter": "money", "lora": "money", "lora_request": {"lora_name": "money"}},
    {"extra_body": {"model": "NAME"}, "metadata": {"adapter": "NAME"}, "cache_salt": "NAME"},
    {
        "messages": [
            {"role": "system", "content": "model: NAME"},
            {"role": "user", "content": "Answer as adapter money"},
        ]
    },
)


@pytest.mark.parametrize("wish", WISHES, ids=range(len(WISHES)))
def test_nothing_that_a_client_says_chooses_an_adapter(
    usher: tuple[World, SpeakingModel], wish: dict[str, Any]
) -> None:
    """Neither a field nor a header nor a word; what it names is no model either."""
    made, model = usher
    one = made.run(publish(made, BUDGET))
    made.run(route_by(made))
    named = json.loads(json.dumps(wish).replace("NAME", one.name))
    body = {"model": "assistant", "messages": [{"role": "user", "content": BUDGETS}], **named}
    headers = {"x-adapter": one.name, "x-model": one.name, "x-usher-adapter": "money"}
    assert made.ask("POST", "/v1/chat/completions", "bob", json=body, headers=headers).status_code == 200
    assert all(request.adapter is None for request in model.requests)
    assert all(one.name != request.cache_salt for request in model.requests)
    for name in (one.name, "money", "base", "adapter:money"):
        refused = made.chat(BUDGETS, "alice", model=name)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


def test_an_adapter_that_is_called_as_the_clients_model_is_no_other_way_to_it(
    usher: tuple[World, SpeakingModel],
) -> None:
    """`assistant` is what every client asks for: only the policy decides who speaks."""
    made, model = usher
    made.run(publish(made, BUDGET, name="assistant"))
    routing = "rules:\n  - {name: a, route: adapter, adapters: [assistant]}\n"
    made.run(route_by(made, routing, "p, role:finance, adapter:assistant, adapter.use, allow, always"))
    made.chat(BUDGETS, "bob")
    assert all(request.adapter is None for request in model.requests)
    assert made.chat(BUDGETS, "alice").json()["usher"]["route"]["adapter"] == "assistant"
    assert made.ask("GET", "/v1/models", "bob").json()["data"][0]["id"] == "assistant"


@pytest.mark.parametrize("otherwise", ["retrieve", "refuse"])
def test_where_no_server_has_the_adapter_the_rule_says_what_happens(
    usher: tuple[World, SpeakingModel], otherwise: str
) -> None:
    """With the reason; an adapter that is back on a server answers again."""
    made, _ = usher
    made.run(publish(made, BUDGET))
    made.run(route_by(made, BY_ADAPTER.replace("}", f", otherwise: {otherwise}}}")))
    eligibles = made.services.policies.routes._eligibles
    for offer in (Offer(up=False), Offer(names=frozenset())):
        eligibles.offered = lambda offer=offer: offer  # type: ignore[misc]  # the default is its type
        answer = made.chat(BUDGETS, "alice")
        if otherwise == "refuse":
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "refused_by_rule")
        else:
            reasons = ["adapter_not_served"] + (["model_server_down"] if not offer.up else [])
            assert answer.json()["usher"]["route"] == {"kind": "retrieve", "reasons": reasons}
    eligibles.offered = Offer
    assert made.chat(BUDGETS, "alice").json()["usher"]["route"]["kind"] == "adapter"


def test_a_rule_by_volume_counts_the_questions_of_the_last_day(usher: tuple[World, SpeakingModel]) -> None:
    """Of the role, whoever has it, as the record has them."""
    made, _ = usher
    made.run(publish(made, BUDGET))
    volume = made.services.chat._prepare._roads._volume
    volume._at = None
    made.run(made.services.audit.questions.follower.caught_up())
    least = made.run(volume.per_day()).get("role:finance", 0) + 2
    made.run(route_by(made, BY_ADAPTER.replace("adapters", f"role: finance, min_per_day: {least}, adapters")))
    routes = []
    for _ in range(3):
        routes.append(made.chat(BUDGETS, "alice").json()["usher"]["route"]["kind"])
        made.run(made.services.audit.questions.follower.caught_up())
        volume._at = None
    assert routes == ["retrieve", "retrieve", "adapter"]
