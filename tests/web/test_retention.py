"""Retention over real exchanges: what goes, what stays, and what is told of what has gone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from tests.web.chat_kit import QUESTION, FailingLog
from tests.web.holds_kit import DAYS, RULES, counted, gone, held, let_go, released, set_rules, verdict
from tests.web.world import World, world
from typer.testing import CliRunner

from usher import cli_audit_hold
from usher.audit import kept
from usher.cli import app as cli
from usher.core.retention import NO_LONGER_KEPT
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import Entry, EventType, Kind, Who, uuid7

MONEY = "What is the travel budget of the whole company?"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("retention"), log=FailingLog) as made:
        yield made


@pytest.fixture
def usher(house: World) -> World:
    """The same for every test, with the same rules, and nothing over its time."""
    house.run(set_rules(house))
    let_go(house)
    return house


class Said:
    """A conversation of bob's, with feedback; a search of his; and what alice asked of the finance department."""

    def __init__(self, usher: World) -> None:
        first = usher.chat(QUESTION).json()
        self.answer = first["choices"][0]["message"]["content"]
        self.talk, self.first = first["usher"]["conversation_id"], first["usher"]["audit_id"]
        again = {"messages": [{"role": "user", "content": "And a hotel for one night?"}], "model": "assistant"}
        headers = {"x-usher-conversation": self.talk}
        second = usher.ask("POST", "/v1/chat/completions", "bob", json=again, headers=headers)
        self.second = second.json()["usher"]["audit_id"]
        words = {"exchange": self.first, "verdict": "up", "reason": "quagmire"}
        assert usher.ask("POST", "/api/feedback", "bob", json=words).status_code == 201
        self.search = usher.search("holiday").json()["audit_id"]
        self.money = usher.chat(MONEY, "alice").json()["usher"]["audit_id"]


def test_what_is_over_its_time_goes_with_the_event_that_names_it(usher: World) -> None:
    """Not what a longer rule is about; verify finds nothing wrong, and a second run nothing to do."""
    said = Said(usher)
    report = let_go(usher)
    event = next(event for event in usher.events() if said.first in event.get("exchanges", ()))
    assert (event["type"], event["exchanges"]) == ("retention", [said.first, said.second, said.search])
    assert (event["actor"], event["rules"]) == ("operator:uid:0", {"looked": 1, "talk": 3})
    assert counted(report) == {("talk", "chat"): 2, ("talk", "feedback"): 1, ("looked", "search"): 1}
    assert [gone(usher, one) for one in (said.first, said.second, said.search, said.money)] == [True, True, True, False]
    assert verdict(usher).problems == ()
    usher.ask("GET", "/api/audit/denied", "dave")
    size = len(usher.events())
    assert let_go(usher)["gone"] == []
    assert len(usher.events()) == size == usher.run(usher.services.audit.retention._store.forgotten())


def test_a_preview_tells_what_would_go_and_takes_nothing(usher: World) -> None:
    """The same as the run after it; that it was asked is recorded."""
    said = Said(usher)
    told = let_go(usher, dry=True)
    event = usher.events()[-1]
    assert (event["type"], event["question"], event["actor"]) == ("audit_read", "retention", "operator:uid:0")
    assert not gone(usher, said.first)
    done = let_go(usher)
    assert (told["dry_run"], done["dry_run"]) == (True, False)
    assert told["gone"] == done["gone"]
    assert told["gone"][0]["oldest"] <= told["gone"][0]["newest"]


def test_what_has_gone_is_said_to_be_wherever_it_is_read_again(usher: World) -> None:
    """In its conversation and when it is taken up again; a search in one's own does not find the words for it."""
    said = Said(usher)
    let_go(usher)
    read = usher.ask("GET", f"/api/conversations/{said.talk}").json()
    assert (read["title"], read["hidden"]) == (None, False)
    assert [(one["question"], one["answer"]) for one in read["exchanges"]] == [(NO_LONGER_KEPT, NO_LONGER_KEPT)] * 2
    assert [one["citations"] for one in read["exchanges"]] == [[], []]
    for word in ("longer", "holiday"):
        assert usher.ask("GET", f"/api/conversations/search?q={word}").json()["hits"] == []
    own = usher.ask("GET", f"/api/feedback/{said.first}").json()
    assert (own["verdict"], own["reason"]) == ("up", None)
    page = usher.ask("GET", "/api/feedback", "dave").json()["feedback"]
    assert [(one["words"], one["hidden"]) for one in page if one["exchange"] == said.first] == [(None, NO_LONGER_KEPT)]
    words = {"exchange": said.first, "verdict": "down", "reason": "more"}
    assert usher.ask("POST", "/api/feedback", "bob", json=words).status_code == 404


def test_what_has_gone_is_in_no_prompt_and_is_not_recognised(usher: World) -> None:
    """Its conversation goes on without it; its question cannot be asked once more; resent, it is unknown."""
    said = Said(usher)
    let_go(usher)
    headers, more = {"x-usher-conversation": said.talk}, {"role": "user", "content": "And in a leap year?"}
    body: dict[str, Any] = {"model": "assistant", "messages": [more]}
    resent = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": said.answer}, more]
    answer = usher.ask("POST", "/v1/chat/completions", "bob", json={**body, "messages": resent})
    assert answer.json()["usher"]["route"]["reasons"] == ["earlier_turns_left_out:2"]
    following = usher.ask("POST", "/v1/chat/completions", "bob", json=body, headers=headers)
    assert following.status_code == 200
    generated = [e for e in usher.events(following.json()["usher"]["audit_id"]) if e["type"] == "generation"]
    assert [event["history"] for event in generated] == [[]]


def test_what_it_has_shown_still_counts(usher: World) -> None:
    """Who saw a document is answered as before."""
    Said(usher)
    document = usher.ask("GET", "/api/documents?limit=500").json()["documents"][0]["id"]
    before = usher.ask("GET", f"/api/audit/who-saw?document={document}", "dave").json()["entries"]
    let_go(usher)
    assert usher.ask("GET", f"/api/audit/who-saw?document={document}", "dave").json()["entries"] == before


def test_what_showed_something_of_an_unknown_place_stays(usher: World) -> None:
    """Whatever would keep it cannot be told: its access class, or the document itself, is not known here."""

    async def recorded(passage: dict[str, object]) -> str:
        subject, ident = await usher.services.ledger.subject("bob"), uuid7()
        request = Entry(EventType.REQUEST, ident, Who(subject.pseudonym), {"operation": "search"})
        found = Entry(EventType.RETRIEVAL, ident, None, {"outcome": "found", "passages": [passage]})
        rows = [subject.conversation(ident).seal(ident, 0, Kind.QUESTION, "What?")]
        decision = Entry(EventType.DECISION, ident, None, {"effect": "allow", "reason": "rule"})
        await usher.services.ledger.append([request, decision, found], rows)
        return ident

    known = {"document": str(uuid4()), "access_class": 1}
    passages = [known, {"document": str(uuid4()), "access_class": 999}, {"document": str(uuid4())}]
    idents = [usher.run(recorded(passage)) for passage in passages]
    let_go(usher)
    assert [gone(usher, ident) for ident in idents] == [True, False, False]


def test_feedback_has_a_time_of_its_own(usher: World) -> None:
    """Its words go, the answer stays; what a hold covers stays with both."""
    said = Said(usher)
    usher.run(set_rules(usher, "rules: [{name: words, type: feedback, days: 3}]"))
    hold = held(usher, on="exchange", target=said.first)
    assert counted(let_go(usher)) == {}
    assert usher.ask("GET", f"/api/feedback/{said.first}").json()["reason"] == "quagmire"
    released(usher, hold)
    assert counted(let_go(usher)) == {("words", "feedback"): 1}
    assert usher.ask("GET", f"/api/feedback/{said.first}").json()["reason"] is None
    assert not gone(usher, said.first)
    event = [event for event in usher.events() if event["type"] == "retention"][-1]
    assert (event["exchanges"], len(event["feedback"]), event["rules"]) == ([], 1, {"words": 1})


def test_a_run_that_is_cut_off_is_gone_on_with(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is recorded and done, or neither: what failed is there, and goes with the next run."""
    said = Said(usher)
    monkeypatch.setattr(kept, "PAGE", 6)
    log = cast(FailingLog, usher.services.ledger._log)
    real, commits = log.commit, []

    def fails_at_the_second(batch: Any) -> None:
        if batch.dropped:
            commits.append(batch)
            if len(commits) == 2:
                raise LedgerUnavailable("the disk is full")
        real(batch)

    monkeypatch.setattr(log, "commit", fails_at_the_second)
    with pytest.raises(LedgerUnavailable):
        let_go(usher)
    state = [gone(usher, one) for one in (said.first, said.second, said.search)]
    assert True in state
    assert False in state
    let_go(usher)
    assert [gone(usher, one) for one in (said.first, said.second, said.search)] == [True] * 3
    named = [one for event in usher.events() if event["type"] == "retention" for one in event["exchanges"]]
    assert [named.count(one) for one in (said.first, said.second, said.search)] == [1, 1, 1]
    assert verdict(usher).ok


def test_what_is_kept_beside_the_record_is_forgotten_by_the_next_run(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a run was cut off between its event and that: meanwhile the text is gone all the same."""
    said = Said(usher)
    store = usher.services.audit.retention._store

    async def killed(number: int, exchanges: Sequence[UUID], *_: object) -> None:
        if exchanges:
            raise OSError("killed")

    monkeypatch.setattr(store, "forget", killed)
    with pytest.raises(OSError, match="killed"):
        let_go(usher)
    assert usher.ask("GET", f"/api/conversations/{said.talk}").json()["exchanges"][0]["answer"] == NO_LONGER_KEPT
    assert usher.ask("GET", f"/api/conversations/{said.talk}").json()["title"] is not None
    more = {"model": "assistant", "messages": [{"role": "user", "content": "And in a leap year?"}]}
    headers = {"x-usher-conversation": said.talk}
    following = usher.ask("POST", "/v1/chat/completions", "bob", json=more, headers=headers).json()["usher"]["audit_id"]
    assert [event["history"] for event in usher.events(following) if event["type"] == "generation"] == [[]]
    monkeypatch.undo()
    let_go(usher)
    assert usher.ask("GET", f"/api/conversations/{said.talk}").json()["title"] is None
    assert usher.ask("GET", f"/api/feedback/{said.first}").json()["reason"] is None


def test_no_byte_of_what_has_gone_is_left_in_the_data_folder(usher: World) -> None:
    """Neither sealed text, nor sealed words and titles: whoever has the keys finds nothing to open."""
    said = Said(usher)
    ledger, home = usher.services.ledger, usher.folder / "home"
    sealed = [
        row.ciphertext for one in (said.first, said.second, said.search) for row in usher.run(ledger.content(one))
    ]
    with usher.services.audit.retention._store._database.engine.connect() as connection:  # type: ignore[attr-defined]  # SQL's
        for query in ("SELECT sealed FROM feedback", "SELECT sealed_title FROM conversation WHERE user = 'bob'"):
            sealed += [row[0] for row in connection.exec_driver_sql(query) if row[0]]
    assert len(sealed) >= 7
    let_go(usher)
    stored = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    assert [text for text in sealed if text[12:40] in stored or text[-28:] in stored] == []


def test_rules_that_are_taken_back_or_made_longer_keep_at_once(usher: World) -> None:
    """Whatever was over its time before."""
    said = Said(usher)
    for rules in ("", "rules: [{name: all, days: 50}]"):
        usher.run(set_rules(usher, rules))
        assert let_go(usher)["gone"] == []
    assert not gone(usher, said.first)


def test_the_command_shows_what_would_go_and_lets_it_go(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By rule, with a word on what a hold keeps; JSON too."""
    said = Said(usher)
    hold = held(usher, on="exchange", target=said.second)
    operator = usher.operator_app()

    class Road:
        async def __aenter__(self) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(cast(Any, operator))
            return httpx.AsyncClient(transport=transport, base_url="http://operator")

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr(cli_audit_hold, "road", lambda _: Road())
    monkeypatch.setattr(cli_audit_hold, "run", usher.run)
    told = CliRunner().invoke(cli, ["audit", "retention", "--dry-run"])
    assert (told.exit_code, "3 would go of" in told.output, "1 kept by a hold" in told.output) == (0, True, True)
    done = CliRunner().invoke(cli, ["audit", "retention", "--json"])
    assert counted(json.loads(done.output)) == {("talk", "chat"): 1, ("talk", "feedback"): 1, ("looked", "search"): 1}
    assert (gone(usher, said.first), gone(usher, said.second)) == (True, False)
    released(usher, hold)


def test_the_daily_task_runs_once_a_day(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first look that finds none of the last day, nor one of the future."""
    runs = usher.services.audit.retention
    assert not usher.run(runs._is_time())
    clock = runs._clock
    usher.run(set_rules(usher, RULES, DAYS + 1))
    assert usher.run(runs._is_time())
    monkeypatch.setattr(runs, "_clock", lambda: clock().replace(year=2020))
    assert usher.run(runs._is_time())


def test_a_clock_that_jumps_ahead_lets_nothing_go(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a week after the last run none is made but by the operator, who looks at the clock first; nor does a
    run that goes on follow a clock that jumps."""
    said, runs = Said(usher), usher.services.audit.retention
    usher.run(set_rules(usher, RULES, DAYS + 8))
    assert not usher.run(runs._is_time())
    usher.run(set_rules(usher, RULES, DAYS + 6))
    assert usher.run(runs._is_time())
    usher.run(set_rules(usher, RULES, 11))
    step = runs._step

    async def as_it_jumps(*given: Any) -> None:
        runs._clock = lambda: datetime.now(UTC) + timedelta(days=900)
        await step(*given)

    monkeypatch.setattr(runs, "_step", as_it_jumps)
    assert counted(let_go(usher)) == {("looked", "search"): 1}
    monkeypatch.undo()
    usher.run(set_rules(usher, RULES, 2 * DAYS))
    let_go(usher)
    assert gone(usher, said.first)
    assert not usher.run(runs._is_time())
