"""`/api/audit/replay`: a recorded exchange decided again, then and now, over real exchanges."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from tests.web import world as worlds
from tests.web.world import OPERATOR, POLICY, World, world
from typer.testing import CliRunner

from usher import cli_audit_replay
from usher.cli import app as cli
from usher.ledger.record import Entry, EventType, Who, uuid7

BUDGET = "What is the travel budget?"
HOLIDAY = "How many days of holiday has every employee?"
AUDIT = (
    "p, role:privacy, sys:audit, audit.read, allow, always",
    "p, role:privacy, sys:audit, audit.identify, allow, always",
    "g, user:erin, role:privacy",
    "p, role:local, coll:finance, audit.read, allow, always",
    "g, user:carol, role:local",
)
RULES = POLICY + "".join(f"{line}\n" for line in AUDIT)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("replay")) as made:
        yield made


@pytest.fixture
def usher(house: World) -> World:
    """Everybody as at first, and the rules in force."""
    house.run(house.services.people.add("bob", ["staff"], OPERATOR))
    house.run(house.apply(RULES))
    return house


def in_force(usher: World) -> int:
    return int(usher.run(usher.services.policy.active())["version"])


def exchange(usher: World, who: str = "alice", question: str = BUDGET) -> str:
    return str(usher.chat(question, who).json()["usher"]["audit_id"])


def replayed(usher: World, audit_id: str, who: str = "dave", **query: Any) -> dict[str, Any]:
    response = usher.ask("GET", f"/api/audit/replay/{audit_id}", who, params=query)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def passage(answer: dict[str, Any], requirement: str) -> dict[str, Any]:
    return next(one for one in answer["passages"] if requirement in one["then"]["requirements"])


def again(answer: dict[str, Any], requirement: str) -> tuple[bool, bool, str]:
    one = passage(answer, requirement)
    return one["then"]["readable"], one["now"]["readable"], one["agreement"]


def why(one: dict[str, Any]) -> set[str]:
    return {change["why"] for change in one["changes"]}


def test_what_has_not_changed_comes_out_as_it_was_recorded(usher: World) -> None:
    """The decision with its rules, and each passage by its requirements; recorded, and without a name or a rule's
    text for whoever may not know them."""
    ident = exchange(usher)
    answer = replayed(usher, ident)
    recorded = usher.events(ident)[1]
    assert answer["agreement"] == answer["decision"]["agreement"] == "agrees"
    assert answer["decision"]["then"]["rules"] == answer["decision"]["now"]["rules"] == recorded["rules"]
    assert again(answer, "coll:finance") == (True, True, "agrees")
    assert {one["agreement"] for one in answer["passages"]} == {"agrees"}
    assert not any(one["changes"] for one in (answer["decision"], *answer["passages"]))
    assert answer["basis"]["scope"] == "the whole recorded scope comes out again"
    assert answer["then"]["policy_version"] == answer["now"]["policy_version"] == in_force(usher)
    assert answer["then"]["roles"] == answer["now"]["roles"] == ["role:employee", "role:finance"]
    assert not any(word in json.dumps(answer) for word in ("alice", "budget.md", "p, role"))
    asked = next(event for event in usher.events()[::-1] if event["type"] == "audit_read")
    assert (asked["question"], asked["exchange"], asked["policy"]) == ("replay", ident, None)


def test_names_and_rules_come_to_whoever_may_know_them(usher: World) -> None:
    """`audit.identify`, asked for; the text of each rule that took part."""
    ident = exchange(usher)
    told = replayed(usher, ident, "erin", names="true")
    assert (told["user"], told["then"]["groups"]) == ("alice", [])
    assert {"finance/budget.md"} <= {name["path"] for name in told["documents"].values()}
    assert "p, role:finance, coll:finance, document.read, allow, always" in told["rules"].values()
    assert usher.ask("GET", f"/api/audit/replay/{ident}?names=true", "dave").status_code == 403


def test_a_rule_that_went_is_named_with_what_it_took(usher: World) -> None:
    """By the policy of now, or by a version that is asked for; then it stays as it was recorded."""
    ident, version = exchange(usher), in_force(usher)
    usher.run(usher.apply(RULES.replace("p, role:finance, coll:finance, document.read, allow, always\n", "")))
    answer = replayed(usher, ident)
    assert again(answer, "coll:finance") == (True, False, "agrees")
    assert why(passage(answer, "coll:finance")) == {"the policy has it no more"}
    assert (answer["now"]["policy_version"], answer["agreement"]) == (version + 1, "agrees")
    assert again(replayed(usher, ident, policy=version), "coll:finance") == (True, True, "agrees")
    usher.run(usher.apply(RULES + "p, user:alice, coll:finance, document.read, deny, always\n"))
    denied = passage(replayed(usher, ident), "coll:finance")
    assert why(denied) == {"it holds still, and another outweighs it", "the policy did not have it"}


def test_a_label_that_changed_is_told_by_its_requirements(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the document requires no more and since, and the rules that go with it."""
    ident = exchange(usher)
    moved = worlds.RULES.replace("collection: finance", "collection: board, markings: [mnpi]")
    monkeypatch.setattr(worlds, "RULES", moved)
    usher.run(usher.ingest())
    one = passage(replayed(usher, ident), "coll:finance")
    assert usher.ask("GET", f"/api/audit/replay/{ident}", "carol").status_code == 404  # out of her reach by now
    monkeypatch.undo()
    usher.run(usher.ingest())
    assert (one["required_no_more"], one["required_since"]) == (["coll:finance"], ["coll:board", "mark:mnpi"])
    assert (one["then"]["readable"], one["now"]["readable"], one["agreement"]) == (True, False, "agrees")
    assert why(one) == {"the document does not require that any more"}


def test_a_role_that_was_lost_shows_in_the_rules_that_came_by_it(usher: World) -> None:
    """Then is judged by the recorded roles, whatever groups the person is in now; now by those of now."""
    ident = exchange(usher, "bob", HOLIDAY)
    usher.run(usher.services.people.set_groups("bob", [], OPERATOR))
    answer = replayed(usher, ident)
    assert again(answer, "coll:handbook") == (True, False, "agrees")
    assert (
        why(answer["decision"]) == why(passage(answer, "coll:handbook")) == {"its subject is none of theirs any more"}
    )
    assert (answer["then"]["roles"], answer["now"]["roles"]) == (["role:employee"], [])
    usher.run(usher.services.people.deactivate("bob", OPERATOR))
    assert why(replayed(usher, ident)["decision"]) == {"they may do nothing any more"}


def test_a_group_that_a_rule_names_itself_is_assumed_and_said_to_be(usher: World) -> None:
    """Where it is not the same now, what was shown cannot be told; it is no contradiction."""
    usher.run(usher.apply(RULES + "p, group:staff, coll:finance, document.read, allow, always\n"))
    ident = exchange(usher, "bob")
    assert replayed(usher, ident)["agreement"] == "agrees"
    usher.run(usher.services.people.set_groups("bob", [], OPERATOR))
    answer = replayed(usher, ident)
    assert again(answer, "coll:finance") == (False, False, "cannot be told")
    assert (answer["agreement"], answer["problems"]) == ("cannot be told", [])
    assert answer["basis"]["groups"].startswith("as now")


def test_what_an_exchange_inherited_is_judged_again_too(usher: World) -> None:
    """By way of the exchange that showed it."""
    first = usher.chat(HOLIDAY, "bob").json()["usher"]
    talk = {"x-usher-conversation": first["conversation_id"]}
    body = {"model": "assistant", "messages": [{"role": "user", "content": "And a hotel for one night?"}]}
    second = usher.ask("POST", "/v1/chat/completions", "bob", json=body, headers=talk).json()["usher"]["audit_id"]
    inherited = [one for one in replayed(usher, second)["passages"] if one["how"] == "inherited"]
    assert {one["via"] for one in inherited} == {first["audit_id"]}
    assert {(one["then"]["readable"], one["agreement"]) for one in inherited} == {(True, "agrees")}


def test_a_denial_and_a_search_are_decided_again(usher: World) -> None:
    """One who may now what they might not then."""
    assert usher.search("holiday", "dave").status_code == 403
    denied = usher.newest()[0]["audit_id"]
    usher.run(usher.apply(RULES + "g, user:dave, role:employee\n"))
    answer = replayed(usher, denied)
    decision = answer["decision"]
    assert (decision["recorded"]["allowed"], decision["then"]["allowed"], decision["now"]["allowed"]) == (0, 0, 1)
    assert (answer["agreement"], why(decision)) == ("agrees", {"its subject was none of theirs"})


def forged(usher: World, who: str, effect: str, *shown: dict[str, Any]) -> str:
    """An exchange that was recorded, and not decided as it says: like a real one's events but for that."""
    real = usher.events(str(usher.search("holiday", who).json()["audit_id"]))
    ident = uuid7()
    envelope = ("number", "time", "type", "audit_id", "who", "content")
    entries = []
    for event in real:
        body = {name: value for name, value in event.items() if name not in envelope}
        if event["type"] == "decision":
            body["effect"] = effect
        if event["type"] == "retrieval" and shown:
            body["passages"] = list(shown)
        by = Who(event["who"]["pseudonym"], tuple(event["who"]["roles"]), "key")
        entries.append(Entry(EventType(event["type"]), ident, by, body))
    usher.run(usher.services.ledger.append(entries[:2]))
    if effect == "allow":
        usher.run(usher.services.ledger.append(entries[2:]))
    return ident


def test_what_cannot_have_been_decided_so_is_an_alarm(usher: World) -> None:
    """A passage shown to somebody who might not read it, and an effect that no rule gives."""
    secret = usher.events(str(usher.search("merger", "carol").json()["audit_id"]))[2]["passages"][0]
    shown = replayed(usher, forged(usher, "bob", "allow", secret))
    assert shown["agreement"] == "contradicts the record"
    assert [secret["document"] in problem for problem in shown["problems"]] == [True]
    assert shown["decision"]["agreement"] == "agrees"
    near = passage(replayed(usher, exchange(usher)), "coll:finance")["document"]
    budget = next(p for p in usher.newest()[2]["passages"] if p["document"] == near)
    told = replayed(usher, forged(usher, "alice", "allow", budget, secret), "carol")
    assert (told["problems"], told["agreement"], len(told["passages"])) == ([], "agrees", 1)  # the rest is out of reach
    effect = replayed(usher, forged(usher, "bob", "deny"))
    assert (effect["decision"]["agreement"], len(effect["problems"])) == ("contradicts the record", 1)


def test_a_policy_version_that_was_changed_in_its_table_is_an_alarm(usher: World) -> None:
    """The record has its digest."""
    ident, version = exchange(usher), in_force(usher)
    changed = "UPDATE policy_version SET rules = ? WHERE version = ?"
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite")) as database, database:
        database.execute(changed, (RULES + "# a comment is no rule\n", version))
    assert replayed(usher, ident)["agreement"] == "agrees"
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite")) as database, database:
        database.execute(changed, (RULES + "g, user:bob, role:board\n", version))
    answer = replayed(usher, ident)
    assert answer["agreement"] == "contradicts the record"
    assert answer["problems"] == [
        f"policy version {version} is stored with other rules than those that the record names"
    ]


def test_who_reaches_a_part_sees_that_part(usher: World) -> None:
    """A right on one collection: its passages and no roles; an exchange without any is one that is not there."""
    one, other = exchange(usher), exchange(usher, "bob", HOLIDAY)
    told = replayed(usher, one, "carol")
    assert {name for p in told["passages"] for name in p["then"]["requirements"]} == {"coll:finance"}
    assert (told["then"]["roles"], told["now"]["roles"]) == (None, None)
    answers = [usher.ask("GET", f"/api/audit/replay/{ident}", "carol") for ident in (other, str(uuid4()), "x")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    assert usher.ask("GET", f"/api/audit/replay/{one}", "bob").status_code == 403


def test_a_version_that_is_not_there_cannot_be_asked_for(usher: World) -> None:
    """It names the field."""
    ident = exchange(usher)
    for version in ("99", "0", "-1", "99999999999"):
        response = usher.ask("GET", f"/api/audit/replay/{ident}?policy={version}", "dave")
        assert (response.status_code, response.json()["field"]) == (400, "policy")


def test_whoever_loses_the_right_meanwhile_gets_no_answer(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rights are judged again before it is given."""
    ident = exchange(usher)
    follower = usher.services.audit.questions.follower
    real = follower.caught_up

    async def meanwhile() -> None:
        await usher.apply(RULES.replace("g, user:dave, role:auditor\n", ""))
        await real()

    monkeypatch.setattr(follower, "caught_up", meanwhile)
    assert usher.ask("GET", f"/api/audit/replay/{ident}", "dave").status_code == 403


def test_the_command_tells_it_and_fails_where_the_record_is_contradicted(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the operator; in words or as JSON."""
    operator = usher.operator_app()

    def through(_settings: object, method: str, path: str, **more: Any) -> Any:
        async def asked() -> Any:
            transport = httpx.ASGITransport(cast(Any, operator))
            async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
                return (await client.request(method, path, **more)).json()

        return asked()

    monkeypatch.setattr(cli_audit_replay, "ask_operator", through)
    monkeypatch.setattr(cli_audit_replay, "run", usher.run)
    ident = exchange(usher)
    usher.run(usher.apply(RULES.replace("p, role:finance, coll:finance, document.read, allow, always\n", "")))
    told = CliRunner().invoke(cli, ["audit", "replay", ident, "--names"])
    assert (told.exit_code, "alice" in told.output, "finance/budget.md" in told.output) == (0, True, True)
    assert "the policy has it no more [role:finance may document.read on coll:finance]" in told.output
    bad = CliRunner().invoke(cli, ["audit", "replay", forged(usher, "bob", "deny"), "--json", "--policy", "1"])
    assert (bad.exit_code, json.loads(bad.output.splitlines()[-1])["agreement"]) == (1, "contradicts the record")
