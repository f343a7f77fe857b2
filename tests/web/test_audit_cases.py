"""`/api/audit/cases`: exchanges looked into together; each step recorded, what is typed sealed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from tests.web.case_kit import (
    HOLIDAY,
    NOTE,
    PATH,
    RULES,
    TITLE,
    add,
    change,
    exchange,
    opened,
    pseudonym,
    shown,
)
from tests.web.world import OPERATOR, World, world
from typer.testing import CliRunner

from usher import cli_audit_case
from usher.cli import app as cli


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("cases")) as made:
        made.run(made.apply(RULES))
        made.run(made.add("fred"))
        made.run(made.add("gina"))
        made.run(made.add("hank"))
        yield made


def test_a_case_goes_from_its_opening_to_its_decision(usher: World) -> None:
    """Each step by its version, and recorded with ids, counts and pseudonyms."""
    ident, other = exchange(usher), exchange(usher, "bob", HOLIDAY)
    case = opened(usher)
    assert add(usher, case, [ident, other, ident]).json() == {"id": case, "version": 2, "added": 2, "next": None}
    assert change(usher, case, "notes", text=NOTE).json()["version"] == 3
    assert change(usher, case, "decision", "carol", decision="violation").json()["version"] == 4
    told = shown(usher, case, names="true")
    assert (told["title"], told["review"], told["closed"], told["count"]) == (TITLE, "violation", True, 2)
    assert [(e["audit_id"], e["user"]) for e in told["exchanges"]] == [(ident, "alice"), (other, "bob")]
    assert [(s["op"], s["user"], s["text"]) for s in told["steps"]] == [
        ("open", "erin", TITLE),
        ("add", "erin", None),
        ("note", "erin", NOTE),
        ("decide", "carol", None),
    ]
    events = [event for event in usher.events() if event["type"] == "case" and event["case"] == case]
    assert [(e["op"], e["version"], e["count"], e["exchanges"], e["review"]) for e in events] == [
        ("open", 1, 0, [], None),
        ("add", 2, 2, [ident, other], None),
        ("note", 3, 2, [], None),
        ("decide", 4, 2, [], "violation"),
    ]
    assert [e["by"] for e in events] == [pseudonym(usher, who) for who in ("erin", "erin", "erin", "carol")]
    asked = usher.events()[-1]
    assert (asked["type"], asked["question"], asked["case"]) == ("audit_read", "case", case)


def test_what_is_typed_stands_nowhere_in_plain(usher: World) -> None:
    """Neither in the ledger nor in the database, nor a name."""
    case = opened(usher)
    change(usher, case, "notes", text=NOTE)
    for file in (usher.folder / "home").rglob("*"):
        assert not file.is_file() or not any(word in file.read_bytes() for word in (b"aardvark", b"walrus"))
    assert not any(name in json.dumps(shown(usher, case)) for name in ("erin", "alice"))


def test_exchanges_come_by_a_question_too(usher: World) -> None:
    """Who saw a document, what somebody saw, what was denied; views are none; each once; the question is recorded."""
    ident, other = exchange(usher), exchange(usher, "bob", HOLIDAY)
    usher.search("holiday", "dave")
    denied = usher.newest()[0]["audit_id"]
    case = opened(usher)
    by_person = change(usher, case, "exchanges", query={"person": "bob", "limit": 500}).json()
    assert by_person["added"] >= 1
    change(usher, case, "exchanges", query={"path": "finance/budget.md", "limit": 500})
    assert change(usher, case, "exchanges", query={"denied": True, "limit": 500}).json()["next"] is None
    assert {ident, other, denied} <= {e["audit_id"] for e in shown(usher, case)["exchanges"]}
    assert {"saw", "who_saw", "denied"} <= {e["question"] for e in usher.events() if "question" in e}
    version = shown(usher, case)["version"]
    again = change(usher, case, "exchanges", query={"denied": True, "limit": 500}).json()
    assert (again["added"], again["version"]) == (0, version)
    some = change(usher, opened(usher), "exchanges", query={"pseudonym": pseudonym(usher, "bob"), "limit": 1}).json()
    assert (some["added"], some["next"] is not None) == (1, True)


def test_of_two_changes_upon_one_version_one_is_refused(usher: World) -> None:
    """Together, however they meet: the other names the change that was made."""
    case, idents = opened(usher), [exchange(usher), exchange(usher)]

    async def both() -> list[httpx.Response]:
        bodies = [{"version": 1, "exchanges": [ident]} for ident in idents]
        asked = [
            usher.asked("POST", f"{PATH}/{case}/exchanges", who, json=body)
            for who, body in zip(("erin", "carol"), bodies, strict=True)
        ]
        return list(await asyncio.gather(*asked))

    answers = usher.run(both())
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    refused = next(answer for answer in answers if answer.status_code == 409).json()
    winner = shown(usher, case)["steps"][1]
    assert refused["field"] == "version"
    assert f"the case is at 2: add by {winner['by']}" in refused["problem"]
    assert shown(usher, case)["count"] == 1
    late = change(usher, case, "decision", decision="fine", version=1)
    assert (late.status_code, "the case is at 2" in late.json()["problem"]) == (409, True)


def test_what_is_decided_is_not_changed_but_by_a_decision(usher: World) -> None:
    """`needs_more` opens it again."""
    case, ident = opened(usher), exchange(usher)
    add(usher, case, [ident])
    change(usher, case, "decision", decision="fine", text="Nothing in it.")
    for what, body in (("notes", {"text": "x"}), ("exchanges", {"exchanges": [ident]})):
        refused = change(usher, case, what, **body)
        assert (refused.status_code, refused.json()["field"]) == (409, "case")
    assert change(usher, case, "decision", "carol", decision="needs_more").status_code == 200
    assert change(usher, case, "notes", text="x").status_code == 200
    assert shown(usher, case)["review"] == "needs_more"


def test_nobody_decides_on_an_exchange_of_their_own(usher: World) -> None:
    """Nor on an empty case; whoever opened it may. The refusal says why."""
    case = opened(usher, "alice")
    assert change(usher, case, "decision", decision="fine").status_code == 403
    add(usher, case, [exchange(usher, "alice"), exchange(usher, "bob", HOLIDAY)], "alice")
    refused = change(usher, case, "decision", "alice", decision="fine")
    assert (refused.status_code, "own exchange" in refused.json()["problem"]) == (403, True)
    other = opened(usher)
    add(usher, other, [exchange(usher, "alice")])
    assert change(usher, other, "decision", decision="violation").status_code == 200


def test_a_limited_reviewer_sees_what_their_right_reaches(usher: World) -> None:
    """Its exchanges only; not what others typed, where the case holds more; and decides only what they see whole."""
    near, far = exchange(usher), exchange(usher, "bob", HOLIDAY)
    mixed, away, own = opened(usher), opened(usher), opened(usher, "fred", "Mine")
    add(usher, mixed, [near, far])
    add(usher, away, [far])
    told = shown(usher, mixed, "fred")
    assert ([e["audit_id"] for e in told["exchanges"]], told["count"], told["title"]) == ([near], 1, None)
    assert [step["exchanges"] for step in told["steps"]] == [[], [near]]
    listed = {one["id"]: one for one in usher.ask("GET", PATH, "fred").json()["cases"]}
    assert (listed[own]["title"], listed[mixed]["title"], away in listed) == ("Mine", None, False)
    refused = change(usher, mixed, "decision", "fred", decision="fine")
    assert (refused.status_code, refused.json()["field"]) == (403, "case")
    assert add(usher, own, [near], "fred").status_code == 200
    foreign, absent = (add(usher, own, [ident], "fred") for ident in (far, str(uuid4())))
    assert (foreign.status_code, foreign.text) == (404, absent.text)
    assert change(usher, own, "decision", "fred", decision="fine").status_code == 403
    whole = opened(usher, title="All of it")
    add(usher, whole, [exchange(usher, "gina")])
    assert shown(usher, whole, "fred")["title"] == "All of it"
    assert change(usher, whole, "decision", "fred", decision="fine").status_code == 200
    absent_case = [usher.ask("GET", f"{PATH}/{ident}", "fred") for ident in (away, str(uuid4()), "x")]
    assert {(answer.status_code, answer.text) for answer in absent_case} == {(404, absent_case[0].text)}
    for what, body in (("notes", {"text": "x"}), ("decision", {"decision": "fine"}), ("exchanges", {"exchanges": []})):
        pair = [usher.ask("POST", f"{PATH}/{i}/{what}", "fred", json={"version": 2, **body}) for i in (away, uuid4())]
        assert pair[0].status_code == pair[1].status_code == 404
        assert pair[0].text == pair[1].text


def test_both_rights_are_needed(usher: World) -> None:
    """Reading the log is not reviewing it; and who has neither learns nothing of what there is."""
    case = opened(usher)
    for who in ("dave", "bob"):
        tries = [usher.ask("GET", PATH, who), usher.ask("POST", PATH, who, json={"title": "x"})]
        tries += [usher.ask("GET", f"{PATH}/{ident}", who) for ident in (case, str(uuid4()))]
        tries += [usher.ask("POST", f"{PATH}/{case}/notes", who, json={"version": 1, "text": "x"})]
        assert {answer.status_code for answer in tries} == {403}
    assert usher.ask("GET", f"{PATH}/{case}?names=true", "carol").status_code == 200
    far, own = exchange(usher, "bob", HOLIDAY), opened(usher, "hank")  # who reads all, and reviews one collection
    add(usher, case, [far])
    assert usher.ask("GET", f"{PATH}/{case}", "hank").status_code == 404
    note = {"version": 2, "text": "x"}
    assert usher.ask("POST", f"{PATH}/{case}/notes", "hank", json=note).status_code == 404
    assert add(usher, own, [far], "hank").status_code == 404


BAD = [
    ("", {"title": " "}, "title"),
    ("", {"title": "x" * 201}, "title"),
    ("/CASE/notes", {"version": 1, "text": ""}, "text"),
    ("/CASE/notes", {"version": 1, "text": "x" * 10_001}, "text"),
    ("/CASE/exchanges", {"version": 1}, "exchanges"),
    ("/CASE/exchanges", {"version": 1, "exchanges": []}, "exchanges"),
    ("/CASE/exchanges", {"version": 1, "query": {}}, "query"),
    ("/CASE/exchanges", {"version": 1, "query": {"denied": True, "person": "bob"}}, "query"),
    ("/CASE/exchanges", {"version": 1, "query": {"denied": True, "limit": 0}}, "limit"),
    ("/CASE/decision", {"version": 1, "decision": "guilty"}, "decision"),
]


@pytest.mark.parametrize(("path", "body", "field"), BAD)
def test_what_cannot_be_done_names_its_field(usher: World, path: str, body: dict[str, Any], field: str) -> None:
    """400, and no event."""
    case = opened(usher)
    before = len(usher.events())
    response = usher.ask("POST", PATH + path.replace("CASE", case), "erin", json=body)
    assert (response.status_code, response.json()["field"]) == (400, field)
    assert len(usher.events()) == before


def test_pages_of_cases_are_newest_first(usher: World) -> None:
    """From the last one's id on; each reading recorded."""
    made = [opened(usher) for _ in range(3)]
    first = usher.ask("GET", f"{PATH}?limit=2", "erin").json()
    assert [one["id"] for one in first["cases"]] == made[:0:-1]
    second = usher.ask("GET", f"{PATH}?limit=1&after={first['next']}", "erin").json()
    assert [one["id"] for one in second["cases"]] == made[:1]
    assert usher.events()[-1]["question"] == "cases"


def test_the_commands_act_as_the_operator_or_as_a_keys_person(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From opening to decision, which takes a person."""
    operator = usher.operator_app()

    def through(
        _settings: object, method: str, path: str, body: Any = None, key: str | None = None, **more: Any
    ) -> Any:
        async def asked() -> Any:
            transport = httpx.ASGITransport(cast(Any, operator))
            headers = {"authorization": f"Bearer {key}"} if key else {}
            async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
                answer = await client.request(method, path, json=body, headers=headers, **more)
                return answer.json() if answer.is_success else {**answer.json(), "status": answer.status_code}

        return asked()

    monkeypatch.setattr(cli_audit_case, "ask_operator", through)
    monkeypatch.setattr(cli_audit_case, "run", usher.run)
    ident, _ = exchange(usher), exchange(usher, "bob", HOLIDAY)

    def command(*words: str) -> str:
        done = CliRunner().invoke(cli, ["audit", "case", *words])
        assert done.exit_code == 0, done.output
        return done.output

    case = json.loads(command("open", TITLE, "--json"))["id"]
    assert "1 exchange(s) added" in command("add", case, ident)
    command("add", case, "--person", "bob")
    command("note", case, NOTE)
    body = {"version": 4, "decision": "fine"}
    refused = usher.run(through(None, "POST", f"/operator/audit/cases/{case}/decision", body))
    assert (refused["status"], refused["field"]) == (403, "key")
    assert CliRunner().invoke(cli, ["audit", "case", "decide", case, "guilty"]).exit_code == 2
    command("decide", case, "fine", "--why", "Nothing.", "--key", usher.keys["erin"])
    told = command("show", case, "--names")
    assert all(word in told for word in (TITLE, NOTE, "alice", "erin", "fine", ident, "operator:uid:"))
    assert case in command("list")
    assert OPERATOR.kind in {event["by"].partition(":")[0] for event in usher.events() if event["type"] == "case"}
