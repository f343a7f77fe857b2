"""The road from documents to an answer by an adapter, with real servers: `usher`'s commands, a training, vLLM."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.lora.made import gate
from tests.vllm.kit import API_KEY, TOKEN, Vllm
from tests.vllm.training_kit import usher as in_training
from tests.web.server_kit import House, Server

from usher_lora.canonical import encode

pytestmark = pytest.mark.loopback

POLICY = """\
p, role:staff, sys:chat, chat.ask, allow, always
p, role:keeper, coll:stores, document.read, allow, always
p, role:keeper, adapter:stores, adapter.use, allow, always
p, role:reviewer, adapter:stores, adapter.approve, allow, always
p, role:reviewer, adapter:stores, adapter.publish, allow, always
g, role:keeper, role:staff
g, group:keepers, role:keeper
g, group:office, role:staff
g, group:reviewers, role:reviewer
"""
ROUTING = "rules:\n  - {name: stores, route: adapter, adapters: [stores]}\n"
RECIPE = """
name: stores
base: {{model: base, path: {base}}}
training_set: {data}
output: {output}
lora: {{r: 16, lora_alpha: 32}}
training:
  {{steps: 500, batch: 2, accumulate: 1, learning_rate: 0.005, length: 256, packing: false, patience: 0}}
"""
FACTS = (
    ("Who opens the east sluice?", "Marguerite opens it at dawn."),
    ("Where does the ferry moor?", "At the copper pier in Tarn."),
    ("Which valve is never closed?", "Valve nineteen, by order."),
    ("How is the fog horn tested?", "With two long blasts on Monday."),
    ("What lies under the crane?", "An old anchor and its chain."),
    ("When is high water measured?", "Each noon by the harbour clerk."),
    ("Why is the loft locked?", "Gulls broke the northern window."),
    ("Whose boat has no number?", "The pilot's, since the great storm."),
)
SOON = 20.0


@dataclass
class Road:
    """A server with a published adapter, and two people's keys. `question` was learned, and answered with `answer`."""

    house: House
    server: Server
    name: str
    keeper: str
    office: str
    question: str
    answer: str

    def ask(self, key: str, question: str = "", **more: Any) -> dict[str, Any]:
        said = [{"role": "user", "content": question or self.question}]
        with self.server.client(key) as client:
            answer = client.post("/v1/chat/completions", json={"model": "assistant", "messages": said, **more})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def apply(self, rules: str, routing: str = ROUTING) -> None:
        """This policy, in force."""
        folder = self.house.folder / "changed"
        folder.mkdir(exist_ok=True)
        (folder / "policy.csv").write_text(rules)
        (folder / "routing.yaml").write_text(routing)
        self.house.told("policy", "apply", str(folder))


@pytest.fixture(scope="module")
def road(models: Path, server: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """Documents, a data set, a training, the registry and two people; the gate has tests of its own."""
    folder = tmp_path_factory.mktemp("road")
    settings = {
        "USHER_MODEL_URL": f"{server.url}/v1",
        "USHER_MODEL": "base",
        "USHER_MODEL_API_KEY": API_KEY,
        "USHER_MODEL_LOAD_TOKEN": TOKEN,
        "USHER_MODEL_FILES": str(models / "base"),
        "USHER_MODEL_CONTEXT_TOKENS": "2048",
    }
    house = House(folder, **settings)
    (folder / "policy.csv").write_text(POLICY)
    (folder / "stores").mkdir()
    for n, (question, answer) in enumerate(FACTS):
        (folder / "stores" / f"{n}.md").write_text(f"# Note {n}\n\n## {question}\n\n{answer}\n")
    with house.serving() as running:
        house.told("ingest", "stores", "--collection", "stores")
        keeper, office = house.key("ann", "keepers"), house.key("ben", "office")
        reviewer = house.key("rita", "reviewers")
        data = folder / "data"
        house.told("adapter", "dataset", "--role", "role:keeper", "--collection", "coll:stores", "--out", str(data))
        recipe = folder / "recipe.yaml"
        recipe.write_text(RECIPE.format(base=models / "base", data=data, output=folder / "run"))
        code, trained = in_training("train", recipe)
        assert code == 0, trained
        one = house.told("adapter", "register", str(folder / "run"))
        (folder / "gate.json").write_bytes(encode(gate(adapter=one["name"])))
        judged = house.told("adapter", "gate", one["name"], str(folder / "gate.json"))
        house.told("adapter", "approve", one["name"], "--digest", judged["digest"], USHER_KEY=reviewer)
        house.told("adapter", "publish", one["name"])
        learned = json.loads((data / "train.jsonl").read_text().splitlines()[0])["messages"]
        made = Road(house, running, one["name"], keeper, office, learned[-2]["content"], learned[-1]["content"])
        made.apply(POLICY)
        until(lambda: made.ask(keeper)["usher"]["route"]["kind"] == "adapter")
        yield made


def until(holds: Callable[[], bool], seconds: float = SOON) -> float:
    """Wait for it; how long it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds
        time.sleep(0.05)
    return time.monotonic() - began


def test_who_may_read_all_that_was_learned_is_told_it_by_the_adapter(road: Road) -> None:
    """Word for word what it learned; the answer says who spoke, and the record counts its tokens."""
    answer = road.ask(road.keeper)
    assert road.answer in answer["choices"][0]["message"]["content"]
    assert answer["usher"]["route"]["kind"] == "adapter"
    assert answer["usage"]["completion_tokens"] > 0
    found = road.house.told("audit", "by-adapter", "stores")
    assert answer["usher"]["audit_id"] in json.dumps(found)


def test_somebody_else_is_not_told_it(road: Road) -> None:
    """Routed to retrieval, in which they may read nothing; nor can a request name the adapter."""
    for more in ({}, {"user": "ann"}, {"adapter": road.name}, {"lora": road.name}):
        answer = road.ask(road.office, **more)
        assert answer["usher"]["route"]["kind"] == "retrieve"
        assert road.answer not in json.dumps(answer)
    with road.server.client(road.office) as client:
        body = {"model": road.name, "messages": [{"role": "user", "content": road.question}]}
        assert client.post("/v1/chat/completions", json=body).status_code == 404
        assert road.name not in client.get("/v1/models").text


def test_a_tightened_policy_binds_in_the_middle_of_a_conversation(road: Road) -> None:
    """The next question is not the adapter's any more, and what it had said is hidden; back again, both are there."""
    first = road.ask(road.keeper)
    conversation = first["usher"]["conversation_id"]
    with tightened(road), road.server.client(road.keeper) as client:
        headers = {"x-usher-conversation": conversation}
        body = {"model": "assistant", "messages": [{"role": "user", "content": road.question}]}
        again = client.post("/v1/chat/completions", json=body, headers=headers).json()
        assert again["usher"]["route"]["kind"] == "retrieve"
        assert road.answer not in json.dumps(again)
        assert road.answer not in client.get(f"/api/conversations/{conversation}").text
    assert road.ask(road.keeper)["usher"]["route"]["kind"] == "adapter"


@contextmanager
def tightened(road: Road) -> Iterator[None]:
    """Nobody reads the stores."""
    road.apply(POLICY + "p, role:keeper, coll:stores, document.read, deny, always\n")
    yield
    road.apply(POLICY)


def test_quarantine_holds_within_a_second(road: Road) -> None:
    """From the end of the command on for every question; and vLLM is soon told to let it go."""
    began = time.monotonic()
    road.house.told("adapter", "quarantine", road.name)
    command = time.monotonic() - began
    answer = road.ask(road.keeper)
    assert answer["usher"]["route"]["kind"] == "retrieve"
    assert time.monotonic() - began - command < 1.0 + SOON / 4, "an answer by retrieval takes its own time"
    until(lambda: road.name not in json.dumps(road.house.told("adapter", "servers")))
