"""The reviewers' questions, over what real exchanges, searches and views leave in the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from tests.web.chat_kit import QUESTION
from tests.web.world import POLICY, World, world
from typer.testing import CliRunner

from usher import cli_who_saw
from usher.cli import app as cli

IDENTIFY = POLICY + "p, role:privacy, sys:audit, audit.read, allow, always\n"
IDENTIFY += "p, role:privacy, sys:audit, audit.identify, allow, always\ng, user:erin, role:privacy\n"
PATH = "handbook/holidays.md"

NOBODY = "01a2043e-25a5-71d1-98db-b2170744b0c1"


class Seen:
    """What happened in the world, by audit id."""

    def __init__(self, usher: World) -> None:
        first = usher.chat(QUESTION).json()["usher"]
        self.first, self.document = first["audit_id"], first["citations"][0]["document"]
        self.chunk = first["citations"][0]["chunk"]
        talk = {"x-usher-conversation": first["conversation_id"]}
        body = {"model": "assistant", "messages": [{"role": "user", "content": "And a hotel for one night?"}]}
        asked = usher.ask("POST", "/v1/chat/completions", "bob", json=body, headers=talk)
        self.second = asked.json()["usher"]["audit_id"]
        self.search = usher.search("holiday", "alice").json()["audit_id"]
        usher.ask("GET", f"/api/documents/{self.document}", "carol")
        usher.ask("GET", f"/api/documents/{self.document}?passage={self.chunk}", "carol")
        usher.ask("GET", f"/api/conversations/{first['conversation_id']}", "bob")
        usher.ask("GET", "/api/conversations", "bob")
        usher.ask("POST", "/api/feedback", "bob", json={"exchange": self.first, "verdict": "up"})
        usher.ask("GET", f"/api/feedback/{self.first}", "bob")
        usher.chat(QUESTION, "dave")
        usher.search("holiday", "dave")


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("questions")) as made:
        made.run(made.apply(IDENTIFY))
        yield made


@pytest.fixture(scope="module")
def seen(usher: World) -> Seen:
    return Seen(usher)


def asked(usher: World, question: str, who: str = "dave", **query: Any) -> dict[str, Any]:
    response = usher.ask("GET", f"/api/audit/{question}", who, params=query)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def pseudonym(usher: World, who: str) -> str:
    return usher.run(usher.services.ledger.pseudonym(who))


def test_who_saw_lists_answers_searches_views_and_what_inherited_them(usher: World, seen: Seen) -> None:
    """By pseudonym, in the order of the log, with the first step of an inheritance; the index is at the log's end."""
    answer = asked(usher, "who-saw", document=seen.document)
    entries = {entry["audit_id"]: entry for entry in answer["entries"] if entry["audit_id"]}
    views = [entry for entry in answer["entries"] if entry["kind"] == "view"]
    assert (entries[seen.first]["how"], entries[seen.first]["kind"]) == ("direct", "chat")
    assert entries[seen.search]["how"] == "direct"
    assert entries[seen.first]["pseudonym"] == pseudonym(usher, "bob")
    assert entries[seen.first]["passages"][0]["chunk"] == seen.chunk
    assert entries[seen.first]["passages"][0]["cited"]
    assert seen.first in entries[seen.second]["earlier"]
    assert all(view["pseudonym"] in {pseudonym(usher, "carol"), pseudonym(usher, "bob")} for view in views)
    again = [view for view in views if view["how"] == "inherited"]
    assert len(again) == 2  # the conversation opened, and the feedback on its answer
    assert {view["via"] for view in again} <= {seen.first, seen.second}
    numbers = [entry["number"] for entry in answer["entries"]]
    assert numbers == sorted(numbers)
    assert answer["indexed"] == answer["size"] == len(usher.events())
    assert all(word not in json.dumps(answer) for word in ("bob", "alice", "holidays", "Holidays"))


def test_a_conversation_inherits_what_stood_in_its_prompt(usher: World, seen: Seen) -> None:
    """The passage of the first answer is in the second by way of it, unless it was found anew."""
    entries = asked(usher, "who-saw", document=seen.document, passage=seen.chunk)["entries"]
    second = next(entry for entry in entries if entry["audit_id"] == seen.second)
    anew = [p for p in second["passages"] if p["in_prompt"]]
    assert (second["how"], second["via"]) == (("direct", None) if anew else ("inherited", seen.first))


def test_pages_together_are_the_whole_answer(usher: World, seen: Seen) -> None:
    """`next` goes into `after`."""
    whole = asked(usher, "who-saw", document=seen.document)["entries"]
    found: list[Any] = []
    after: int | None = 0
    while after is not None:
        page = asked(usher, "who-saw", document=seen.document, after=after, limit=2)
        found, after = found + page["entries"], page["next"]
    assert found == whole
    assert asked(usher, "who-saw", document=seen.document, version=99)["entries"] == []
    assert asked(usher, "who-saw", document=str(uuid4()))["entries"] == []
    assert asked(usher, "who-saw", document=seen.document, to=whole[0]["time"])["entries"] == []


def test_each_question_is_recorded_before_its_answer_and_without_names(usher: World, seen: Seen) -> None:
    """What kind, about which ids, and whether with names; never the name or path that was asked by."""
    asked(usher, "who-saw", "erin", path=PATH, names="true", **{"from": "2020-01-01T00:00:00Z"})
    event = usher.events()[-1]
    assert (event["type"], event["question"], event["document"]) == ("audit_read", "who_saw", seen.document)
    assert (event["names"], event["since"]) == (True, "2020-01-01T00:00:00+00:00")
    assert event["who"]["pseudonym"] == pseudonym(usher, "erin")
    asked(usher, "saw", "erin", person="bob")
    event = usher.events()[-1]
    assert (event["question"], event["subject"]) == ("saw", pseudonym(usher, "bob"))
    assert "bob" not in json.dumps(event)
    asked(usher, "denied")
    assert usher.events()[-1]["question"] == "denied"


def test_names_paths_and_titles_take_the_right_to_identify(usher: World, seen: Seen) -> None:
    """In the answer as in the question: `audit.read` alone gets neither, and the try is not recorded."""
    before = len(usher.events())
    for query in ("who-saw?path=x", f"who-saw?document={seen.document}&names=true", "saw?person=bob", "denied?names=1"):
        assert usher.ask("GET", f"/api/audit/{query}", "dave").status_code == 403
    assert len(usher.events()) == before
    answer = asked(usher, "who-saw", "erin", path=PATH, names="true")
    assert {entry["user"] for entry in answer["entries"]} == {"alice", "bob", "carol"}
    name = answer["documents"][seen.document]
    assert (name["source"], name["path"], name["title"]) == ("shelf", PATH, "holidays.md")
    bare = asked(usher, "who-saw", "erin", path=PATH)
    assert (bare["documents"], {entry["user"] for entry in bare["entries"]}) == ({}, {None})


def test_what_somebody_saw_is_asked_by_name_or_pseudonym(usher: World, seen: Seen) -> None:
    """A name that nobody has gets the answer of somebody who saw nothing."""
    by_name = asked(usher, "saw", "erin", person="bob")
    assert by_name["entries"] == asked(usher, "saw", pseudonym=pseudonym(usher, "bob"))["entries"]
    assert [e["audit_id"] for e in by_name["entries"] if e["audit_id"]] == [seen.first, seen.second]
    nobody = asked(usher, "saw", "erin", person="nobody-at-all")
    assert (nobody["entries"], nobody["next"]) == ([], None)
    assert asked(usher, "saw", pseudonym=str(uuid4()))["entries"] == []
    with pytest.raises(StopIteration):
        next(e for e in usher.events() if "nobody-at-all" in json.dumps(e))


def test_denied_lists_what_was_refused_and_why(usher: World, seen: Seen) -> None:
    """A chat and a search by somebody without the right, each once."""
    entries = asked(usher, "denied", "erin", names="true")["entries"]
    assert [(entry["kind"], entry["user"]) for entry in entries] == [("chat", "dave"), ("search", "dave")]
    assert {(entry["action"], entry["object"]) for entry in entries} == {("chat.ask", "sys:chat")}
    assert all(entry["reason"] for entry in entries)


BAD = {
    "who-saw": "document",
    "who-saw?document=x": "document",
    f"who-saw?document={NOBODY}&path=x": "document",
    f"who-saw?document={NOBODY}&passage=x": "passage",
    f"who-saw?document={NOBODY}&limit=0": "limit",
    f"who-saw?document={NOBODY}&after=-1": "after",
    f"who-saw?document={NOBODY}&version=x": "version",
    f"who-saw?document={NOBODY}&version=99999999999999999999": "version",
    "saw": "person",
    "saw?pseudonym=bob": "pseudonym",
    "denied?from=yesterday": "from",
    "denied?to=2026-01-01": "to",
    "denied?after=9223372036854775808": "after",
}


@pytest.mark.parametrize("query", BAD)
def test_a_question_that_cannot_be_asked_is_400_and_unrecorded(usher: World, query: str) -> None:
    """It names the field and the remedy."""
    before = len(usher.events())
    response = usher.ask("GET", f"/api/audit/{query}", "dave")
    assert (response.status_code, response.json()["field"]) == (400, BAD[query])
    assert len(usher.events()) == before


def test_whoever_loses_the_right_meanwhile_gets_no_answer(
    usher: World, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rights are judged again before it is given."""
    follower = usher.services.audit.questions.follower
    real = follower.caught_up

    async def meanwhile() -> bool:
        await usher.apply(IDENTIFY.replace("audit.identify", "audit.review"))
        return await real()

    monkeypatch.setattr(follower, "caught_up", meanwhile)
    assert usher.ask("GET", "/api/audit/denied?names=true", "erin").status_code == 403
    monkeypatch.undo()
    assert usher.ask("GET", "/api/audit/denied", "erin").status_code == 200
    usher.run(usher.apply(IDENTIFY))


def test_an_index_that_was_deleted_is_there_again(usher: World, seen: Seen) -> None:
    """Built from the first event on, by the follower that is running."""
    before = asked(usher, "who-saw", document=seen.document)["entries"]
    (usher.folder / "home" / "audit-index.sqlite").unlink()
    assert asked(usher, "who-saw", document=seen.document)["entries"] == before


def test_the_index_holds_no_names_and_no_text(usher: World, seen: Seen) -> None:
    """It is as private as the leaves: pseudonyms and ids, in a file that nobody else reads."""
    path = usher.folder / "home" / "audit-index.sqlite"
    stored = path.read_bytes() + path.with_name(path.name + "-wal").read_bytes()
    assert seen.document.encode() in stored
    assert not any(word in stored for word in (b"bob", b"holidays", b"Holidays", b"employee has"))
    assert path.stat().st_mode & 0o077 == 0


def test_the_command_asks_as_the_operator(usher: World, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with names on demand, or JSON; bad usage has its own exit code."""
    operator = usher.operator_app()

    def through(_settings: object, method: str, path: str, **more: Any) -> Any:
        async def asked() -> Any:
            transport = httpx.ASGITransport(cast(Any, operator))
            async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
                return (await client.request(method, path, **more)).json()

        return asked()

    monkeypatch.setattr(cli_who_saw, "ask_operator", through)
    monkeypatch.setattr(cli_who_saw, "run", usher.run)
    shown = CliRunner().invoke(cli, ["audit", "who-saw", "--path", PATH, "--names"])
    assert (shown.exit_code, "carol" in shown.output, seen.first in shown.output) == (0, True, True)
    bare = CliRunner().invoke(cli, ["audit", "who-saw", seen.document, "--json"])
    assert len(json.loads(bare.output)["entries"]) == len(asked(usher, "who-saw", document=seen.document)["entries"])
    assert "carol" not in bare.output
    assert usher.events()[-2]["actor"].startswith("operator:uid:")
