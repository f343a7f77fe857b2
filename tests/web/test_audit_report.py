"""`/api/audit/report` and `usher audit report`: figures that are those of the events, for whoever may know them all."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from tests.web.export_kit import RIGHTS, something_happens
from tests.web.world import POLICY, World, world
from typer.testing import CliRunner

from usher import cli_audit_report
from usher.cli import app as cli
from usher.cli_road import Refused
from usher.core.report import policy
from usher.core.report_figures import DAY, HOUR, Figures
from usher.errors import UserError

PATH = "/api/audit/report"
Event = Mapping[str, Any]


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("report")) as made:
        yield made


@pytest.fixture(scope="module")
def document(usher: World) -> str:
    """Much happens: also answers that inherit, what is denied, and what shows a marked document."""
    document = something_happens(usher)
    talk = usher.chat("When does the merger close?", "carol").json()["usher"]["conversation_id"]
    body = {"model": "assistant", "messages": [{"role": "user", "content": "And how many holidays are there?"}]}
    usher.ask("POST", "/v1/chat/completions", "carol", json=body, headers={"x-usher-conversation": talk})
    usher.ask("GET", f"/api/conversations/{talk}", "carol")
    usher.search("merger", "carol")
    usher.search("merger", "dave")
    usher.chat("merger", "dave")
    usher.chat("xyzzy", "bob")
    usher.ask("GET", "/api/audit/denied", "dave")
    return document


def marked(usher: World) -> list[int]:
    _, snapshot = usher.run(usher.services.authority.current())
    return [number for number, names in snapshot.catalog.classes.items() if "mark:mnpi" in names]


def figures(usher: World, first: int, last: int, width: int = DAY) -> Figures:
    markings = {"mark:mnpi": marked(usher)}

    async def read() -> Figures:
        await usher.services.audit.questions.follower.caught_up()
        index = usher.services.audit.reports._index
        return await asyncio.to_thread(index.figures, first, last, width, markings)

    return usher.run(read())


class Oracle:
    """The same figures, counted from the events themselves, one by one."""

    def __init__(self, events: Sequence[Event], first: int, last: int, classes: Sequence[int], width: int) -> None:
        self.outcomes: dict[str, str] = {}
        self.denied: dict[str, tuple[str, str | None]] = {}
        self.begun: dict[str, Event] = {}
        self.routes: dict[str, str | None] = {}
        self.shown: dict[str, set[str]] = {}
        self.cited: dict[str, set[str]] = {}
        self.marked: dict[str, set[str]] = {"shown": set(), "found": set()}
        self.exposed: set[str] = set()
        self._classes, self._found = classes, dict[str, list[Any]]()
        for event in events:
            getattr(self, f"_{event['type']}", lambda event: None)(event)
        span = [key for key, event in self.begun.items() if first <= event["number"] <= last]
        asked = [key for key in span if self.begun[key]["type"] == "request"]
        self.state = Counter((self.begun[key]["time"][:width], self._state(key)) for key in asked)
        self.answers = Counter(
            (self._kind(key), self.routes.get(key), self.outcomes.get(key), key in self.denied) for key in span
        )
        self.reasons = Counter(self.denied[key] for key in asked if key in self.denied)
        self.roles = Counter((role, self._state(key)) for key in asked for role in self.begun[key]["who"]["roles"])
        self.documents = Counter(document for key in span for document in self.shown.get(key, ()))
        self.cites = Counter(document for key in span for document in self.cited.get(key, ()))
        self.exposures = Counter(self.begun[key]["time"][:width] for key in span if key in self.marked["shown"])
        inherited = self.marked["found"] - self.marked["shown"]
        self.inherited = Counter(self.begun[key]["time"][:width] for key in span if key in inherited)

    def _kind(self, key: str) -> str:
        return str(self.begun[key].get("operation", "view"))

    def _state(self, key: str) -> str:
        good = self.outcomes.get(key) in ("answered", "found")
        return "denied" if key in self.denied else "answered" if good else "other"

    def _request(self, event: Event) -> None:
        self.begun[event["audit_id"]] = event

    def _decision(self, event: Event) -> None:
        self.routes[event["audit_id"]] = (event.get("route") or {}).get("kind")
        if event["effect"] == "deny":
            self.denied[event["audit_id"]] = event["reason"], event["action"]

    def _retrieval(self, event: Event) -> None:
        key = event["audit_id"]
        self.outcomes[key] = event["outcome"]
        self._found[key] = event["passages"]
        search = self._kind(key) == "search"
        for passage in event["passages"]:
            self._passage(key, passage, search or passage["in_prompt"])

    def _passage(self, key: str, passage: Event, shown: bool) -> None:
        if shown:
            self.shown.setdefault(key, set()).add(passage["document"])
        if passage.get("access_class") in self._classes:
            self.marked["found"].add(key)
            self.marked["shown"] |= {key} if shown else set()

    def _generation(self, event: Event) -> None:
        self._inherits(event["audit_id"], event.get("history") or ())

    def _inherits(self, key: str, earlier: Sequence[str | None]) -> None:
        if any(one in self.marked["found"] for one in earlier):
            self.marked["found"].add(key)

    def _answer(self, event: Event) -> None:
        key = event["audit_id"]
        self.outcomes[key] = event["outcome"]
        cited = event.get("cited") or ()
        found = {passage["document"] for passage in self._found.get(key, ()) if passage["rank"] in cited}
        self.cited[key] = found

    def _view(self, event: Event) -> None:
        key = str(event["number"])
        self.begun[key] = event
        for shown in event.get("documents") or ():
            self._passage(key, shown, True)
        self._inherits(key, [event.get("exchange"), *(event.get("exchanges") or ())])


@pytest.mark.parametrize("part", ["all", "middle", "nothing"])
@pytest.mark.parametrize("width", [DAY, HOUR])
def test_the_figures_are_those_of_the_events(usher: World, document: str, part: str, width: int) -> None:
    """Every one of them, counted anew from the events; also of a part of them, which what was before exposes too."""
    events = usher.events()
    first, last = {"all": (1, len(events)), "middle": (len(events) // 3, len(events) - 20), "nothing": (9, 8)}[part]
    told, counted = figures(usher, first, last, width), Oracle(events, first, last, marked(usher), width)
    assert {(bucket, state): count for bucket, state, count in told.activity} == counted.state
    assert {(a.kind, a.route, a.outcome, a.denied): a.count for a in told.answers} == counted.answers
    assert {(one.reason, one.action): one.count for one in told.denials} == counted.reasons
    for role in told.roles:
        assert role.answered == counted.roles[role.role, "answered"]
        assert role.denied == counted.roles[role.role, "denied"]
        assert role.nothing + role.other == counted.roles[role.role, "other"]
    assert {role.role for role in told.roles} == {role for role, _ in counted.roles}
    assert {one.document: one.shown for one in told.documents} == counted.documents
    assert {one.document: one.cited for one in told.documents if one.cited} == {
        d: n for d, n in counted.cites.items() if n
    }
    (exposures,) = told.exposures
    assert (exposures.shown, exposures.inherited) == (counted.exposures, counted.inherited)
    acts = [e["number"] for e in events if first <= e["number"] <= last and e["type"] in ("policy", "audit_read")]
    assert sorted([*told.acts, *told.looks]) == acts
    if part == "all":
        assert exposures.shown
        assert exposures.inherited
        assert told.denials
        assert told.indexed == len(events)


def test_the_page_is_given_and_its_reading_recorded(usher: World, document: str) -> None:
    """With headers that let nothing run or stay; without names, unless they were asked for."""
    response = usher.ask("GET", PATH, "dave", params={"from": "2020-01-01T00:00:00Z"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith(policy())
    assert (response.headers["cache-control"], response.headers["x-content-type-options"]) == ("no-store", "nosniff")
    event = usher.events()[-1]
    assert (event["type"], event["question"], event["names"]) == ("audit_read", "report", False)
    assert event["from"] == "2020-01-01T00:00:00.000000Z"
    page = response.text
    assert f"events 1 to {event['number']} of the log" in page
    assert document in page
    assert not [word for word in ("holidays.md", "bob", "carol") if word in page]
    named = usher.ask("GET", PATH, "dave", params={"names": "true"}).text
    assert "shelf: handbook/holidays.md" in named
    assert usher.events()[-1]["names"] is True


def test_a_span_is_of_its_events_only(usher: World, document: str) -> None:
    """From an instant on (included), up to one (excluded); one without events says so."""
    events = usher.events()
    span = {"from": events[9]["time"], "to": events[19]["time"]}
    page = usher.ask("GET", PATH, "dave", params=span).text
    assert "events 10 to 19 of the log" in page
    assert f"--from {events[9]['time']}" in page
    assert "has no events in this span" in usher.ask("GET", PATH, "dave", params={"to": "2020-01-01T00:00:00Z"}).text


def test_who_looked_at_the_log_is_told_to_those_who_may_review_it(usher: World, document: str) -> None:
    """With the right on all of it; nobody else learns it from the report."""
    assert "takes the right audit.review" in usher.ask("GET", PATH, "dave").text
    usher.run(usher.apply_also(*RIGHTS, "p, role:auditor, sys:audit, audit.review, allow, always"))
    told = usher.ask("GET", PATH, "dave", params={"names": "true"}).text
    assert "takes the right audit.review" not in told
    assert "denied</td>" in told
    assert "dave (" in told
    usher.run(usher.apply_also(*RIGHTS))


@pytest.mark.parametrize("who", ["erin", "alice", None])
def test_a_report_is_of_all_or_nothing(usher: World, document: str, who: str | None) -> None:
    """Whoever's right is limited, or who has none, gets no figure; names take the right to identify."""
    before = len(usher.events())
    assert usher.ask("GET", PATH, who).status_code == (401 if who is None else 403)
    assert usher.ask("GET", PATH, "bob", params={"names": "true"}).status_code == 403
    assert len(usher.events()) == before


def test_whoever_loses_the_right_meanwhile_gets_no_page(
    usher: World, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is judged again before the page is given."""
    real = usher.services.audit.reports._report

    async def meanwhile(*asked: Any) -> Any:
        made = await real(*asked)
        await usher.apply(POLICY.replace("g, user:dave, role:auditor\n", ""))
        return made

    monkeypatch.setattr(type(usher.services.audit.reports), "_report", lambda _, *asked: meanwhile(*asked))
    assert usher.ask("GET", PATH, "dave").status_code == 403
    monkeypatch.undo()
    usher.run(usher.apply_also(*RIGHTS))


@pytest.fixture
def on_the_road(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def road(settings: object) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(cast(Any, usher.operator_app()))
        async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
            yield client

    monkeypatch.setattr(cli_audit_report, "road", road)
    monkeypatch.setattr(cli_audit_report, "run", usher.run)


def test_no_act_is_hidden_behind_how_often_the_log_was_looked_at(
    usher: World, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes of the policy, and whoever opened content, are listed behind however many readings."""
    monkeypatch.setattr("usher.audit.report.MOST_LOOKS", 1)
    exchange = next(event["audit_id"] for event in usher.events() if event["type"] == "answer")
    usher.run(usher.apply_also(*RIGHTS, "p, user:dave, sys:audit, audit.unseal, allow, always"))
    opened = usher.ask("POST", "/api/audit/unseal", "dave", json={"exchange": exchange, "reason": "x"})
    assert opened.status_code == 200, opened.text
    for _ in range(2):
        usher.ask("GET", "/api/audit/denied", "dave")
    page = usher.ask("GET", PATH, "dave").text
    assert f"question unseal, exchange {exchange}" in page
    assert all(f"version {event['version']}" in page for event in usher.events() if event["type"] == "policy")
    usher.run(usher.apply_also(*RIGHTS))


@pytest.mark.usefixtures("on_the_road")
def test_the_command_writes_one_file_that_only_its_owner_reads(usher: World, document: str, tmp_path: Path) -> None:
    """As the operator; never over another file; nothing is left of what is refused."""
    out = tmp_path / "report.html"
    made = CliRunner().invoke(cli, ["audit", "report", "--out", str(out), "--names", "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["bytes"] == len(out.read_bytes())
    assert out.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert "shelf: handbook/holidays.md" in out.read_text("utf-8")
    assert out.stat().st_mode & 0o777 == 0o600
    assert usher.events()[-1]["actor"].startswith("operator:uid:")
    assert isinstance(CliRunner().invoke(cli, ["audit", "report", "--out", str(out)]).exception, UserError)
    bad = CliRunner().invoke(cli, ["audit", "report", "--out", str(tmp_path / "x"), "--from", "yesterday"])
    assert isinstance(bad.exception, Refused)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
