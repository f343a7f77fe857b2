"""Data sets for adapters: only of what everybody with the role may read, recorded before they leave."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from tests.web.world import DOCUMENTS, POLICY, World, world
from typer.testing import CliRunner

from usher import cli, cli_adapter_data, cli_road
from usher.adapters.datasets import DataSets, Ready
from usher.adapters.deciders import Caller
from usher.adapters.material import Wanted
from usher.errors import UserError
from usher_lora.manifest import MadeFor
from usher_lora.recipe import parse_recipe
from usher_lora.training_set import training_set

WORDS = ("bicycles", "projectors", "ladders", "kettles", "scooters", "canoes", "tents", "drills")
PAPERS = {
    f"handbook/paper{number}.md": (
        f"# Paper {number}\n\nRule {number} says that {word} may be used by whoever has signed for {word} before.\n\n"
        f"## Who signs for {word}?\n\nThe desk of floor {number} signs for {word} in the first week of a month.\n"
    )
    for number, word in enumerate(WORDS)
}
SHELVES = ("coll:board", "coll:finance", "coll:handbook")
WANTED = {"role": "role:finance", "collections": list(SHELVES)}
TRAINER = "".join(f"p, {who}, adapter:desk, adapter.train, allow, always\n" for who in ("role:finance", "user:dave"))
BY = Caller(None, "operator:uid:0")


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("data"), documents={**DOCUMENTS, **PAPERS}) as made:
        made.app = made.operator_app()
        made.run(made.apply(POLICY + TRAINER))
        yield made


def make(usher: World, who: str | None = None, **more: Any) -> httpx.Response:
    path = "/operator/adapters/datasets" if who is None else "/api/adapters/datasets"
    return usher.ask("POST", path, who, json={**WANTED, **more})


def files(response: httpx.Response) -> tuple[dict[str, bytes], dict[str, Any]]:
    found: dict[str, bytes] = {}
    report: dict[str, Any] = {}
    assert response.status_code == 200, response.text
    for line in response.text.splitlines():
        event = json.loads(line)
        assert event["event"] != "error", event
        if event["event"] == "file":
            found[event["name"]] = found.get(event["name"], b"") + event["text"].encode()
        if event["event"] == "report":
            report = event
    return found, report


def made_while(usher: World, change: Callable[[], Any], **more: Any) -> Ready:
    """A data set, something changing once all texts have been read."""
    wanted = Wanted("role:employee", SHELVES, frozenset({"structure"}), **more)

    async def steps() -> Ready:
        async for step in usher.services.learning.datasets.steps(wanted, BY):
            if isinstance(step, Ready):
                return step
            if step.done == step.total:
                await change()
        raise AssertionError("it never ended")

    return usher.run(steps())


def said(ready: Ready) -> str:
    return b"".join(ready.made.files.values()).decode()


def test_a_data_set_has_only_what_the_role_opens(usher: World) -> None:
    """The handbook by inheritance and finance's own; nothing of the board, though its collection was named."""
    found, report = files(make(usher))
    text = b"".join(found.values()).decode()
    assert "zanzibar" not in text
    assert "Tromso" not in text
    assert "bicycles" in text
    assert training_set(found).digest == report["digest"]
    assert report["holders"] == 1


def test_it_is_recorded_before_it_leaves(usher: World) -> None:
    """By digests, counts, and the documents with their versions; without a name, a path or a word."""
    found, report = files(make(usher))
    event = usher.events()[-1]
    assert (event["type"], event["act"], event["digest"]) == ("adapter", "dataset", report["digest"])
    assert event["lineage"] == report["lineage"]
    assert event["files"].keys() == found.keys()
    assert {document for document, _ in event["documents"]} == {
        source["document"]
        for name in ("train.jsonl", "held_out.jsonl", "others.jsonl")
        for line in found[name].splitlines()
        for source in json.loads(line)["sources"]
    }
    told = json.dumps(event)
    assert not any(word in told for word in ("finance", "handbook", "bicycles", "paper", "alice"))


def test_what_changes_while_it_is_made_is_not_in_it(usher: World) -> None:
    """A new version, a withdrawal, and a document that goes to another shelf: none of them is learned."""
    papers = dict(PAPERS)
    papers["handbook/paper0.md"] += "\nA last word on bicycles.\n"
    del papers["handbook/paper1.md"]
    papers["board/paper2.md"] = papers.pop("handbook/paper2.md")
    try:
        text = said(made_while(usher, lambda: usher.ingest({**DOCUMENTS, **papers})))
        assert not any(word in text for word in WORDS[:3])
        assert WORDS[3] in text
    finally:
        usher.run(usher.ingest({**DOCUMENTS, **PAPERS}))


def test_a_policy_that_changes_while_it_is_made_binds(usher: World) -> None:
    """Here a person of the role may read one of its shelves no more."""
    denied = POLICY + TRAINER + "p, group:staff, coll:handbook, document.read, deny, always\n"
    try:
        with pytest.raises(UserError, match="empty"):
            made_while(usher, lambda: usher.apply(denied))
    finally:
        usher.run(usher.apply(POLICY + TRAINER))


def test_what_changes_while_it_is_recorded_does_not_leave(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made and recorded anew, without what has changed."""
    record, changed = DataSets._record, []

    async def changing(self: DataSets, *given: Any) -> None:
        if not changed:
            gone = "# Gone\n\nNo more of it here.\n"
            changed.append(await usher.ingest({**DOCUMENTS, **PAPERS, "handbook/paper4.md": gone}))
        await record(self, *given)

    monkeypatch.setattr(DataSets, "_record", changing)
    before = len(usher.events())
    try:
        text = said(made_while(usher, lambda: usher.add("frank")))
        assert "scooters" not in text
        assert sum(event["type"] == "adapter" for event in usher.events()[before:]) == 2
    finally:
        usher.run(usher.ingest({**DOCUMENTS, **PAPERS}))


def test_a_person_gets_no_more_than_they_may_read(usher: World) -> None:
    """Alice trains for her own role; dave has the right to train, and may read nothing."""
    found, _ = files(make(usher, "alice", name="desk"))
    assert "travel budget" in b"".join(found.values()).decode() or b"bicycles" in found["train.jsonl"]
    event = usher.events()[-1]
    assert event["by"] != "operator:uid:0"
    assert event["rules"]
    refused = make(usher, "dave", name="desk")
    assert (refused.status_code, refused.json()["field"]) == (400, "collections")


def test_it_takes_the_right_to_train_that_adapter(usher: World) -> None:
    """Another adapter's name, none at all, and nobody's key."""
    assert make(usher, "alice", name="other").status_code == 403
    assert make(usher, "alice").json()["field"] == "name"
    assert make(usher, "bob", name="desk").status_code == 403


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"role": "role:nobody"}, "role"),
        ({"role": "user:alice"}, "role"),
        ({"collections": ["mark:mnpi"]}, "collection"),
        ({"collections": []}, "collection"),
        ({"collections": ["coll:nowhere"]}, "collections"),
        ({"collections": ["coll:board"]}, "collections"),
        ({"collections": ["coll:finance"]}, "data set"),
        ({"makers": ["magic"]}, "makers"),
        ({"makers": []}, "makers"),
        ({"makers": ["model"]}, "makers"),
    ],
)
def test_what_makes_no_data_set_is_refused(usher: World, more: dict[str, Any], field: str) -> None:
    """With the field, before anything leaves: an unknown role, other shelves, one example, no model that writes."""
    response = make(usher, **more)
    told = json.loads(response.text.splitlines()[-1])
    assert told["field"] == field
    assert told["remedy"]
    assert '"event": "file"' not in response.text


def test_the_plan_is_from_the_policy_and_the_documents_of_now(usher: World) -> None:
    """For the operator, and for who may read all of the policy; alice's right over an adapter is none over that."""
    planned = usher.ask("GET", "/operator/adapters/plan", None).json()
    proposals = {tuple(one["roles"]): one for one in planned["plan"]["groups"]}
    assert {"role:employee", "role:finance", "role:board"} <= {role for roles in proposals for role in roles}
    finance = proposals[("role:finance",)]
    assert [shelf["collection"] for shelf in finance["learns"]] == ["coll:finance", "coll:handbook"]
    assert finance["people"] == 1
    assert finance["tokens"] > 100
    assert len(planned["rows"][0]) == len(planned["header"])
    assert usher.ask("GET", "/api/adapters/plan", "alice").status_code == 403
    usher.run(usher.apply(POLICY + TRAINER + "p, user:alice, sys:policy, policy.read, allow, always\n"))
    assert usher.ask("GET", "/api/adapters/plan", "alice").json()["plan"] == planned["plan"]
    assert usher.events()[-1]["type"] == "view"
    usher.run(usher.apply(POLICY + TRAINER))


def test_the_command_writes_a_folder_that_can_be_trained_on(
    usher: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whole or not at all, for its owner only; what is there already is left alone."""

    @asynccontextmanager
    async def road(settings: object) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(cast(Any, usher.app))
        async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
            yield client

    monkeypatch.delenv("USHER_KEY", raising=False)
    for module in (cli_road, cli_adapter_data):
        monkeypatch.setattr(module, "road", road)
        monkeypatch.setattr(module, "run", usher.run)
    out = tmp_path / "set"
    words = ["dataset", "--role", "role:finance", "--out", str(out), "--json"]
    shelves = [word for shelf in SHELVES for word in ("--collection", shelf)]
    done = CliRunner().invoke(cli.cli_adapter.adapter, [*words, *shelves])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    made = training_set({file.name: file.read_bytes() for file in out.iterdir()})
    assert made.digest == told["digest"]
    assert made.made_for == MadeFor("role:finance", tuple(sorted(SHELVES)), ("structure",), 1)
    assert out.stat().st_mode & 0o77 == 0
    again = CliRunner().invoke(cli.cli_adapter.adapter, [*words, *shelves])
    assert isinstance(again.exception, UserError)
    other = [*words[:-2], str(tmp_path / "none"), "--collection", "coll:board"]
    assert CliRunner().invoke(cli.cli_adapter.adapter, other).exit_code != 0
    assert [one.name for one in tmp_path.iterdir()] == ["set"]
    shown = CliRunner().invoke(cli.cli_adapter.adapter, ["plan"])
    assert "usher adapter dataset --role role:" in shown.output
    shown = CliRunner().invoke(cli.cli_adapter.adapter, [*words[:-3], "--out", str(tmp_path / "more"), *shelves])
    assert "licences: " in shown.output
    assert "markings: none (documents)" in shown.output
    lines = shown.output.partition("may say):\n")[2].splitlines()[:4]
    recipe = parse_recipe("\n".join(line.strip() for line in lines), tmp_path)
    assert (recipe.name, recipe.training_set) == ("finance", tmp_path / "more")
