"""`/api/feedback`: on one's own answers only; its words are sealed, and follow what the answer has shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from tests.web.chat_kit import FailingLog
from tests.web.world import DOCUMENTS, POLICY, World, world

from usher.core.dialogue import HIDDEN

PATH = "/api/feedback"
REASON = "The aardvark clause is missing."
CORRECTION = "The travel budget is five million walrus teeth."
REVIEWERS = (
    "p, role:reviewer, sys:audit, audit.review, allow, always",
    "g, user:dave, role:reviewer",
    "g, user:carol, role:reviewer",
    "g, user:fred, role:finance",
)


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("feedback"), log=FailingLog) as made:
        made.run(made.apply_also(*REVIEWERS))
        made.run(made.add("fred"))
        yield made


def asked(usher: World, who: str = "alice", question: str = "What is the travel budget?") -> str:
    """An answered exchange: its audit id."""
    answer = usher.chat(question, who)
    assert answer.status_code == 200
    return str(answer.json()["usher"]["audit_id"])


def give(usher: World, exchange: str, who: str = "alice", **more: Any) -> httpx.Response:
    return usher.ask("POST", PATH, who, json={"exchange": exchange, "verdict": "down", **more})


def listed(usher: World, who: str = "dave", query: str = "") -> dict[str, Any]:
    response = usher.ask("GET", f"{PATH}?{query}", who)
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


def of(page: dict[str, Any], exchange: str) -> dict[str, Any]:
    return next(one for one in page["feedback"] if one["exchange"] == exchange)


def test_it_is_recorded_without_its_words(usher: World) -> None:
    """Verdict, exchange and a commitment stand in the ledger; neither there nor in the database is a word in plain."""
    exchange = asked(usher)
    response = give(usher, exchange, reason=REASON, correction=CORRECTION)
    assert response.status_code == 201
    body, event = response.json(), usher.events()[-1]
    assert (body["exchange"], body["verdict"]) == (exchange, "down")
    assert (event["type"], event["feedback"], event["exchange"]) == ("feedback", body["id"], exchange)
    assert event["verdict"] == "down"
    assert event["subject"] == usher.events(exchange)[0]["who"]["pseudonym"]
    for file in (usher.folder / "home").rglob("*"):
        assert not file.is_file() or not any(word in file.read_bytes() for word in (b"aardvark", b"walrus"))


def test_one_reads_back_what_one_said(usher: World) -> None:
    """Recorded as a view before it is given; given again, it is replaced."""
    exchange = asked(usher)
    assert usher.ask("GET", f"{PATH}/{exchange}", "alice").status_code == 404
    give(usher, exchange, reason="first")
    ident = give(usher, exchange, verdict="up", correction=CORRECTION).json()["id"]
    own = usher.ask("GET", f"{PATH}/{exchange}", "alice")
    assert own.headers["cache-control"] == "no-store"
    assert {name: own.json()[name] for name in ("id", "verdict", "reason", "correction")} == {
        "id": ident,
        "verdict": "up",
        "reason": None,
        "correction": CORRECTION,
    }
    view = usher.events()[-1]
    assert (view["type"], view["feedback"], view["exchange"]) == ("view", ident, exchange)
    assert [event["verdict"] for event in usher.events()[-3:-1]] == ["down", "up"]


def test_a_foreign_an_absent_and_a_hidden_exchange_are_one_answer(usher: World) -> None:
    """Also what is no id, and one's own of a deleted conversation; nothing is recorded."""
    exchange = asked(usher)
    give(usher, exchange, reason=REASON)
    before = len(usher.events())
    ids = (exchange, exchange.upper(), f"{{{exchange}}}", exchange.replace("-", ""), str(uuid4()), "x", "", "\0")
    answers = [give(usher, ident, "bob") for ident in ids]
    answers += [usher.ask("GET", f"{PATH}/{ident}", "bob") for ident in (*ids[:5], "x", "%00", "..%2f")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({(answer.text, str(answer.headers)) for answer in answers}) == 1
    assert len(usher.events()) == before
    absent = give(usher, str(uuid4())).text
    usher.run(usher.apply_also(*REVIEWERS, "p, user:alice, coll:finance, document.read, deny, always"))
    hidden = [give(usher, exchange, reason="again"), usher.ask("GET", f"{PATH}/{exchange}", "alice")]
    usher.run(usher.apply_also(*REVIEWERS))
    assert [(answer.status_code, answer.text) for answer in hidden] == [(404, absent)] * 2
    assert usher.ask("GET", f"{PATH}/{exchange}", "alice").json()["reason"] == REASON


def test_without_the_right_to_ask_there_is_none_to_give(usher: World) -> None:
    """403 by the route's own rule; without a key 401."""
    for who, status in (("erin", 403), ("dave", 403), (None, 401)):
        assert usher.ask("POST", PATH, who, json={"exchange": str(uuid4()), "verdict": "up"}).status_code == status
        assert usher.ask("GET", f"{PATH}/{uuid4()}", who).status_code == status


def test_only_reviewers_list_it(usher: World) -> None:
    """`audit.read` does not: the list needs `audit.review`."""
    for who, status in (("alice", 403), ("erin", 403), (None, 401)):
        assert usher.ask("GET", PATH, who).status_code == status
    usher.run(usher.apply(POLICY))
    assert usher.ask("GET", PATH, "dave").status_code == 403
    usher.run(usher.apply_also(*REVIEWERS))


def test_words_are_for_those_who_may_read_what_the_answer_showed(usher: World) -> None:
    """Others see who, which, when and the verdict, and one fixed text, whether there were words or not."""
    finance, handbook = asked(usher), asked(usher, "bob", "How many days of holiday has an employee?")
    give(usher, finance, reason=REASON, correction=CORRECTION)
    give(usher, handbook, "bob", verdict="up", reason="Thanks.")
    carol, dave = listed(usher, "carol"), listed(usher, "dave")
    assert of(carol, handbook)["words"] == {"reason": "Thanks.", "correction": None, "train": False}
    assert of(carol, handbook)["hidden"] is None
    for page, exchange in ((carol, finance), (dave, finance), (dave, handbook)):
        assert (of(page, exchange)["words"], of(page, exchange)["hidden"]) == (None, HIDDEN)
    assert of(dave, finance)["subject"] == usher.events(finance)[0]["who"]["pseudonym"]
    assert (of(dave, finance)["verdict"], of(dave, handbook)["verdict"]) == ("down", "up")
    assert not any(word in repr([carol, dave]) for word in ("aardvark", "walrus", "alice", "bob", "budget"))
    give(usher, finance)
    assert of(listed(usher, "dave"), finance)["hidden"] == HIDDEN


def test_words_come_and_go_with_the_right(usher: World) -> None:
    """A deleted document keeps its last requirements; a right that is given shows them."""
    exchange = asked(usher, "fred")
    give(usher, exchange, "fred", reason=REASON)
    assert of(listed(usher, "carol"), exchange)["words"] is None
    usher.run(usher.apply_also(*REVIEWERS, "g, user:carol, role:finance"))
    assert of(listed(usher, "carol"), exchange)["words"]["reason"] == REASON
    usher.run(usher.ingest({path: text for path, text in DOCUMENTS.items() if path != "finance/budget.md"}))
    assert of(listed(usher, "carol"), exchange)["words"]["reason"] == REASON
    usher.run(usher.apply_also(*REVIEWERS))
    assert of(listed(usher, "carol"), exchange)["words"] is None
    usher.run(usher.ingest())


def test_a_list_is_recorded_before_it_is_given(usher: World) -> None:
    """Who asked, which feedback was listed, and which with its words."""
    exchange = asked(usher, "bob", "How many days of holiday has an employee?")
    ident = give(usher, exchange, "bob", reason="Thanks.").json()["id"]
    page = listed(usher, "carol", "limit=1")
    event = usher.events()[-1]
    assert page["feedback"][0]["id"] == ident
    assert (event["type"], event["actor"], event["limit"], event["after"]) == ("audit_read", "key", 1, None)
    assert event["feedback"] == [{"feedback": ident, "words": True}]
    assert event["who"]["roles"] == ["role:board", "role:employee", "role:reviewer"]
    log = usher.services.audit.review._log
    assert isinstance(log, FailingLog)
    log.full = True
    with structlog.testing.capture_logs():
        answers = [
            usher.ask("GET", PATH, "carol"),
            usher.ask("GET", f"{PATH}/{exchange}"),
            give(usher, exchange, "bob"),
        ]
    log.full = False
    assert [answer.status_code for answer in answers] == [503] * 3
    assert not any("Thanks" in answer.text for answer in answers)


@pytest.mark.parametrize("limit", [1, 2, 500])
def test_pages_together_are_the_list(usher: World, limit: int) -> None:
    """Newest first; `next` goes into `after`, until it is null."""
    for who in ("alice", "bob", "alice"):
        give(usher, asked(usher, who, "How much may a hotel cost?"), who)
    whole = [one["id"] for one in listed(usher, query="limit=500")["feedback"]]
    assert whole == sorted(whole, reverse=True)
    found, after = [], ""
    while True:
        page = listed(usher, query=f"limit={limit}{after}")
        assert 0 < len(page["feedback"]) <= limit
        found += [one["id"] for one in page["feedback"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == whole


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "limit=", "after=x", "after=1", "after=%00"])
def test_a_page_that_cannot_be_asked_for_is_400(usher: World, query: str) -> None:
    """With the field's name, and unrecorded."""
    before = len(usher.events())
    response = usher.ask("GET", f"{PATH}?{query}", "dave")
    assert (response.status_code, response.json()["field"]) == (400, query.partition("=")[0])
    assert len(usher.events()) == before


BAD: dict[str, dict[str, Any]] = {
    "a long reason": {"reason": "aardvark " * 300},
    "a long correction": {"correction": "aardvark " * 3000},
    "another verdict": {"verdict": "sideways"},
    "no verdict": {"verdict": None},
    "a reason that is no text": {"reason": 5},
    "an exchange that is no text": {"exchange": 5},
}


@pytest.mark.parametrize("more", BAD.values(), ids=BAD)
def test_feedback_that_cannot_be_taken_is_400(usher: World, more: dict[str, Any]) -> None:
    """The field is named, nothing of what was sent comes back, and nothing is recorded; also for a foreign exchange."""
    exchange = asked(usher)
    before = len(usher.events())
    answers = [usher.ask("POST", PATH, who, json={"exchange": exchange, "verdict": "up"} | more) for who in PAIR]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].text == answers[1].text
    assert "aardvark" not in answers[0].text
    assert len(usher.events()) == before


PAIR = ("alice", "bob")


def test_the_longest_words_are_taken(usher: World) -> None:
    """2,000 and 20,000 characters, whatever they are."""
    exchange, long = asked(usher), "\U0001f600\0\u202e'"
    assert give(usher, exchange, reason=long * 500, correction=long * 5000).status_code == 201
    own = usher.ask("GET", f"{PATH}/{exchange}", "alice").json()
    assert (own["reason"], own["correction"]) == (long * 500, long * 5000)


@pytest.mark.parametrize("what", ["list", "own"])
def test_whoever_loses_the_right_meanwhile_gets_nothing(
    usher: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The grant is judged again after the record, and what has gone is not given."""
    exchange = asked(usher, "carol", "How many days of holiday has an employee?")
    give(usher, exchange, "carol", reason=REASON)
    append, done = usher.services.ledger.append, []

    async def meanwhile(entries: Any, *rows: Any) -> Any:
        receipt = await append(entries, *rows)
        if entries and entries[0].type in ("view", "audit_read") and not done:
            done.append(True)
            await usher.apply_also(*REVIEWERS, "p, user:carol, coll:handbook, document.read, deny, always")
        return receipt

    monkeypatch.setattr(usher.services.ledger, "append", meanwhile)
    response = usher.ask("GET", PATH if what == "list" else f"{PATH}/{exchange}", "carol")
    monkeypatch.undo()
    usher.run(usher.apply_also(*REVIEWERS))
    assert "aardvark" not in response.text
    if what == "own":
        assert response.status_code == 404
    else:
        assert of(response.json(), exchange)["hidden"] == HIDDEN
        assert {"feedback": of(response.json(), exchange)["id"], "words": False} in [
            one for event in usher.events() if event["type"] == "audit_read" for one in event.get("feedback", ())
        ]


def test_the_address_is_documented(usher: World) -> None:
    """With an example of its body, and what each status means."""
    paths = usher.ask("GET", "/schema/openapi.json", None).json()["paths"]
    assert set(paths[PATH]) == {"get", "post"}
    assert set(paths[f"{PATH}/{{exchange}}"]) == {"get"}
    content = paths[PATH]["post"]["requestBody"]["content"]["application/json"]
    assert content["schema"]["examples"][0]["verdict"] == "down"
    assert {"201", "400", "401", "403", "404", "503"} <= set(paths[PATH]["post"]["responses"])
