"""How a question would be answered, told to whoever asks it and to whoever may read the policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.adapter_kit import BUDGET, HANDBOOK, MERGER, SpeakingModel, moved, publish, route_by
from tests.web.world import World, world

from usher.adapters.eligible import Offer
from usher.cli_route import explained
from usher_lora.registry import State

ROUTE = "/api/route/explain"
QUESTION = "How large is the travel budget?"
READER = "p, user:erin, sys:policy, policy.read, allow, always"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(Path(tmp_path_factory.mktemp("route")), model=SpeakingModel()) as made:
        made.run(publish(made, BUDGET))
        made.run(publish(made, BUDGET, MERGER, name="secret"))
        made.run(publish(made, HANDBOOK, name="help"))
        secret = "p, role:finance, adapter:secret, adapter.use, allow, always"
        made.run(route_by(made, "rules:\n  - {name: any, route: adapter, words: [budget]}\n", secret, READER))
        yield made


def told(usher: World, who: str, **query: str) -> Any:
    answer = usher.ask("GET", ROUTE, who, params={"q": QUESTION, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_ones_own_is_what_the_answer_would_say_and_no_more(usher: World) -> None:
    """Nothing is asked of a model, and neither the question nor an adapter that one may not use is told."""
    expected = {"kind": "adapter", "reasons": ["by_rule"], "adapter": "money"}
    assert {key: told(usher, "alice")[key] for key in expected} == expected
    assert told(usher, "bob")["reasons"] == ["no_eligible_adapter"]
    assert told(usher, "alice").keys() == {"kind", "reasons", "adapter", "policy_version"}
    view = usher.events()[-1]
    assert (view["type"], view["policy"]) == ("view", {"question": "route_own"})
    assert usher.chat(QUESTION, "alice").json()["usher"]["route"] == expected


def test_with_policy_read_all_that_decided_is_told_of_anybody(usher: World) -> None:
    """Each rule, and each adapter with what keeps it away."""
    found = told(usher, "erin", user="alice")
    assert (found["rule"], found["rules"]) == ("any", [{"rule": "any", "came_to": "applies"}])
    reasons = {one["adapter"].partition("@")[0]: (one["reason"], one["missing"]) for one in found["adapters"]}
    assert reasons["money"] == (None, 0)
    assert reasons["secret"] == ("learned_what_is_outside_the_scope", 1)
    assert reasons["help"] == ("no_right_to_use", 0)
    text = "\n".join(explained(found))
    assert "adapter secret@sha256:" in text
    assert "access classes out of reach: 1" in text


def test_ties_and_fallbacks_are_explained(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two would do, and where none is on the model servers: by the reasons that the answer has too."""
    second = usher.run(publish(usher, BUDGET))
    tie, chat = told(usher, "alice"), usher.chat(QUESTION, "alice").json()
    usher.run(moved(usher, second.id, State.RETIRED))
    assert (tie["kind"], tie["adapter"], tie["reasons"]) == ("adapter", "money", ["by_rule", "several_adapters:2"])
    assert chat["usher"]["route"]["reasons"] == tie["reasons"]
    assert "adapter by money (by_rule, several_adapters:2)" in "\n".join(explained(tie))
    monkeypatch.setattr(usher.services.policies.routes._eligibles, "offered", lambda: Offer(names=frozenset()))
    fallback = told(usher, "erin", user="alice")
    assert (fallback["kind"], fallback["reasons"]) == ("retrieve", ["adapter_not_served"])
    assert "not on the model servers" in "\n".join(explained(fallback))


def test_anybody_elses_takes_the_right_to_read_the_policy(usher: World) -> None:
    """One answer, whether there is such a person or not; and an empty question is refused."""
    refused = {usher.ask("GET", ROUTE, "bob", params={"q": QUESTION, "user": name}).text for name in ("alice", "noone")}
    assert len(refused) == 1
    assert "may not do policy.read" in refused.pop()
    assert usher.ask("GET", ROUTE, "bob").status_code == 400
