"""An exchange that an adapter answers: for whom, with what record, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.adapter_kit import BOTH, BUDGET, BY_ADAPTER, HANDBOOK, SpeakingModel, moved, publish, route_by
from tests.web.chat_kit import streamed
from tests.web.world import World, world

from usher_lora.registry import Alarm, State

BUDGETS = "How large is the travel budget of the company?"


@pytest.fixture
def usher(tmp_path: Path) -> Iterator[tuple[World, SpeakingModel]]:
    model = SpeakingModel()
    with world(tmp_path, model=model) as made:
        yield made, model


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


@pytest.mark.parametrize("change", ["policy", "label", "quarantined", "retired"])
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
            await made.ingest({BUDGET: "# Budget\n\nThe same.\n", "board/holidays.md": "x"})
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
