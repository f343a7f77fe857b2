"""What a policy version allowed that the next would not, what an adapter answered, and what is inherited by asking once
more; as routes and as commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
from tests.web.audit_kit import BUDGET, HOLIDAY, REVIEWERS, answered, asked, document_of, reviewed
from tests.web.world import POLICY, World
from tests.web.ws_kit import Client, talk
from typer.testing import CliRunner

from usher import cli_audit, cli_audit_ask
from usher.cli import app as cli
from usher.errors import UserError
from usher.ledger.record import Entry, EventType, Who, uuid7

BOOKS = "finance/budget.md"
NARROWER = POLICY.replace("p, role:finance, coll:finance", "p, role:finance, coll:elsewhere")
"""Alice's finance is taken from her."""


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with reviewed(tmp_path_factory.mktemp("comparison")) as made:
        yield made


class Story:
    """What happened under version 2, and what version 3 is."""

    def __init__(self, usher: World) -> None:
        self.finance = document_of(usher, BOOKS)
        self.budget = answered(usher, BUDGET, "alice")["audit_id"]
        self.holiday = answered(usher, HOLIDAY, "bob")["audit_id"]
        usher.ask("GET", f"/api/documents/{self.finance}", "alice")
        usher.run(usher.apply(NARROWER + REVIEWERS))
        usher.run(usher.apply(POLICY.replace("g, group:staff, role:employee\n", "") + REVIEWERS))
        usher.run(usher.apply(POLICY + REVIEWERS))


@pytest.fixture(scope="module")
def story(usher: World) -> Story:
    return Story(usher)


def test_what_the_next_version_would_not_have_allowed_is_listed(usher: World, story: Story) -> None:
    """The passages of finance that Alice was shown, and her view of the document; nobody else's."""
    answer = asked(usher, "narrowed", "olga", version=2, names="true")
    entries = answer["entries"]
    assert {ident: name["path"] for ident, name in answer["documents"].items()} == {story.finance: BOOKS}
    assert [(entry["audit_id"], entry["user"]) for entry in entries] == [(story.budget, "alice"), (None, "alice")]
    assert [entry["asking"] for entry in entries] == ["allowed", None]
    assert {p["document"] for entry in entries for p in entry["passages"]} == {story.finance}
    lost = entries[0]["passages"][0]
    assert (lost["verdict"], lost["requirements"]) == ("denied", {"coll:finance": "denied"})
    event = usher.events()[-1]
    assert (event["question"], event["policy_version"], event["than"]) == ("narrowed", 2, 3)
    without = asked(usher, "narrowed", "olga", version=2)
    assert ({entry["user"] for entry in without["entries"]}, without["documents"]) == ({None}, {})


def test_what_hangs_on_groups_is_certain_only_where_the_record_tells(usher: World, story: Story) -> None:
    """Bob was an employee by his group alone: the version that takes the group's role would have denied him."""
    entries = asked(usher, "narrowed", "olga", version=2, than=4)["entries"]
    bob = usher.run(usher.services.ledger.pseudonym("bob"))
    assert [(entry["audit_id"], entry["asking"]) for entry in entries if entry["pseudonym"] == bob] == [
        (story.holiday, "denied")
    ]
    assert asked(usher, "narrowed", "olga", version=2, than=5)["entries"] == []


def test_a_limited_reviewer_learns_only_of_what_was_lost_within_reach(usher: World, story: Story) -> None:
    """Frank of finance, and nothing of the handbook."""
    entries = asked(usher, "narrowed", "frank", version=2, than=4)["entries"]
    assert {p["document"] for entry in entries for p in entry["passages"]} <= {story.finance}
    assert story.holiday not in {entry["audit_id"] for entry in entries}
    assert len(asked(usher, "narrowed", "frank", version=2)["entries"]) == 2


@pytest.mark.parametrize("query", ["version=0", "version=99", "version=2&than=99", "version=x", "than=2"])
def test_a_version_that_never_was_cannot_be_asked_about(usher: World, story: Story, query: str) -> None:
    """400, and not recorded."""
    before = len(usher.events())
    assert usher.ask("GET", f"/api/audit/narrowed?{query}", "olga").status_code == 400
    assert len(usher.events()) == before


def test_every_answer_of_an_adapter_is_found_by_its_name(usher: World, story: Story) -> None:
    """As its generation has it; a name that the log does not know is not recorded."""
    audit_id, ledger = uuid7(), usher.services.ledger
    by = usher.run(_who(usher))
    generation = {"purpose": "answer", "adapter": {"name": "finance-v3", "digest": "d"}, "history": [story.budget]}
    decision = {"effect": "allow", "reason": "r", "policy_version": 2}
    entries = [
        Entry(EventType.REQUEST, audit_id, by, {"operation": "chat"}),
        Entry(EventType.DECISION, audit_id, by, decision),
        Entry(EventType.RETRIEVAL, audit_id, by, {"outcome": "nothing", "passages": []}),
        Entry(EventType.GENERATION, audit_id, by, generation),
        Entry(EventType.ANSWER, audit_id, by, {"outcome": "answered"}),
    ]
    usher.run(ledger.append(entries))
    found = asked(usher, "by-adapter", "olga", adapter="finance-v3")["entries"]
    assert [(entry["audit_id"], entry["adapter"]) for entry in found] == [(audit_id, "finance-v3@sha256:d")]
    assert usher.events()[-1]["adapter"] == "finance-v3"
    assert asked(usher, "by-adapter", "olga", adapter="carol's secret plan")["entries"] == []
    assert usher.events()[-1]["adapter"] is None
    assert [e["audit_id"] for e in asked(usher, "by-adapter", "frank", adapter="finance-v3")["entries"]] == [audit_id]


async def _who(usher: World) -> Any:
    return Who(await usher.services.ledger.pseudonym("alice"), ("role:finance",), "key")


def test_a_marking_that_is_none_cannot_be_asked_about(usher: World, story: Story) -> None:
    """And one that no document has touched nothing, and is not recorded."""
    assert usher.ask("GET", "/api/audit/touched?marking=coll:finance", "olga").status_code == 400
    assert asked(usher, "touched", "olga", marking="mark:pii")["entries"] == []
    assert (usher.events()[-1]["question"], usher.events()[-1]["marking"]) == ("touched", None)


def test_who_asks_once_more_inherits_what_was_shown_before(usher: World, story: Story) -> None:
    """The question of the first answer is put again: its event says of which, and who-saw knows it."""

    async def again(client: Client) -> None:
        client.ask("again", None, instead_of=story.budget)
        await client.end("again")

    once_more = talk(usher, again, "alice").got[-1]["audit_id"]
    request = usher.events(once_more)[0]
    assert request["asks_again"] == story.budget
    entries = asked(usher, "who-saw", "olga", document=story.finance)["entries"]
    entry = next(entry for entry in entries if entry["audit_id"] == once_more)
    assert story.budget in entry["earlier"]


def test_events_by_person_take_the_right_to_identify(usher: World, story: Story) -> None:
    """By name or pseudonym the same; nobody's name has none."""
    by_name = asked(usher, "events", "olga", person="bob", limit=500)["events"]
    whose = usher.run(usher.services.ledger.pseudonym("bob"))
    assert by_name
    by_or_about = ({(event["who"] or {}).get("pseudonym"), event.get("subject")} for event in by_name)
    assert all(whose in both for both in by_or_about)
    assert asked(usher, "events", "grace", pseudonym=whose, limit=500)["events"]
    assert usher.ask("GET", "/api/audit/events?person=bob", "grace").status_code == 403
    assert asked(usher, "events", "olga", person="nobody-at-all")["events"] == []
    assert usher.ask("GET", f"/api/audit/events?person=bob&pseudonym={whose}", "olga").status_code == 400


COMMANDS = {
    "saw alice": "saw",
    "denied": "denied",
    "by-adapter x": "by_adapter",
    "touched mark:mnpi": "touched",
    "narrowed 2": "narrowed",
    "break-glass": "break_glass",
    "uses": "uses",
}


@pytest.fixture(scope="module")
def operator(usher: World) -> Iterator[CliRunner]:
    """The commands, over the operator's app in this process."""
    app = usher.operator_app()

    def through(_settings: object, method: str, path: str, **more: Any) -> Any:
        async def answer() -> Any:
            transport = httpx.ASGITransport(cast(Any, app))
            async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
                given = {"json": more.pop("body")} if "body" in more else {}
                return (await client.request(method, path, **given, **more)).json()

        return answer()

    with pytest.MonkeyPatch.context() as patch:
        for module in (cli_audit_ask, cli_audit):
            patch.setattr(module, "ask_operator", through)
            patch.setattr(module, "run", usher.run)
        yield CliRunner()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_question_is_a_command(usher: World, story: Story, operator: CliRunner, command: str) -> None:
    """A table, or JSON; recorded as the operator's."""
    shown = operator.invoke(cli, ["audit", *command.split()])
    assert shown.exit_code == 0, shown.output
    event = usher.events()[-1]
    assert (event["question"], event["actor"].startswith("operator:uid:")) == (COMMANDS[command], True)
    told = operator.invoke(cli, ["audit", *command.split(), "--json"])
    assert "next" in json.loads(told.output)


def test_the_commands_tell_what_the_routes_do(usher: World, story: Story, operator: CliRunner) -> None:
    """Names on demand, content for a reason, events by document and by person."""
    seen = operator.invoke(cli, ["audit", "saw", "alice", "--names"])
    assert ("alice" in seen.output, story.budget in seen.output) == (True, True)
    assert (BOOKS in seen.output, story.finance in seen.output) == (True, False)
    lost = operator.invoke(cli, ["audit", "narrowed", "2", "--names"]).output
    assert (lost.count(f"{BOOKS} denied"), story.finance in lost) == (2, False)
    newest = usher.ask("GET", "/api/audit/narrowed?version=5", "olga").json()
    assert newest["detail"].startswith("version is the newest")
    assert isinstance(operator.invoke(cli, ["audit", "saw"]).exception, UserError)
    opened = operator.invoke(cli, ["audit", "unseal", story.budget, "--reason", "A complaint"])
    assert (opened.exit_code, BUDGET in opened.output) == (0, True)
    used = operator.invoke(cli, ["audit", "uses", "--limit", "500"])
    assert "A complaint" in used.output
    events = operator.invoke(cli, ["audit", "events", "--document", story.finance, "--person", "alice", "--json"])
    assert {event["audit_id"] for event in json.loads(events.output)["events"]} >= {story.budget}
