"""What a person's own conversations may still show: judged by the rights and labels of now, recorded before it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from tests.web.chat_kit import FailingLog, ScriptedModel
from tests.web.conversation_kit import BUDGET, HOLIDAYS, HOTELS, ROUTE, Asked, Talker, talker
from tests.web.world import DOCUMENTS, HOST, OPERATOR, POLICY, RULES, World, world

from usher.core.dialogue import HIDDEN

SECRET = ("four million", "travel budget", "Travel", "How large")
"""Words of the budget's question, title and answer."""
PLACEHOLDER = {"hidden": True, "text": HIDDEN}


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("hidden"), log=FailingLog) as made:
        made.run(made.apply_also("g, group:money, role:finance"))
        yield made


@pytest.fixture
def pat(usher: World) -> Talker:
    """May read the handbook and, until the group is taken away, the finance papers."""
    return talker(usher, "staff", "money")


def as_staff(pat: Talker, question: str, conversation: str | None = None) -> Asked:
    """Asked while the finance papers may not be read, so that none of them comes into the prompt."""
    pat.groups("staff")
    asked, _ = pat.ask(question, conversation)
    pat.groups("staff", "money")
    return asked


def bare(text: str) -> list[str]:
    """Which of the secret words stand in a text."""
    return [word for word in SECRET if word.casefold() in text.casefold()]


def test_what_may_not_be_read_any_more_leaves_a_placeholder(pat: Talker) -> None:
    """In the list, the conversation and a search; nothing of it stands in any body. It comes back with the right."""
    about_money = pat.ask(BUDGET)[0].conversation
    about_holidays = as_staff(pat, HOLIDAYS).conversation
    before = pat.everything()
    assert set(bare(before)) == {"four million", "travel budget", "Travel", "How large"}
    pat.groups("staff")
    assert [(one["id"], one["title"], one["hidden"]) for one in pat.listed()] == [
        (about_holidays, HOLIDAYS, False),
        (about_money, HIDDEN, True),
    ]
    read = pat.read(about_money)
    assert (read["title"], read["hidden"], read["exchanges"], read["next"]) == (HIDDEN, True, [PLACEHOLDER], None)
    for word in ("budget", "million", "company"):
        assert pat.get(f"/search?q={word}")["hits"] == []
    assert not bare(pat.everything())
    pat.groups("staff", "money")
    assert pat.everything() == before


def test_a_run_of_hidden_exchanges_is_one_placeholder(pat: Talker) -> None:
    """However many there are: no id, time, length or count; what follows hangs on what is visible before."""
    first = as_staff(pat, HOLIDAYS)
    for _ in range(3):
        pat.ask(BUDGET, first.conversation)
    last = as_staff(pat, HOTELS, first.conversation)
    pat.groups("staff")
    said = pat.read(first.conversation)["exchanges"]
    assert said[1] == PLACEHOLDER
    assert [one.get("audit_id") for one in said] == [first.audit_id, None, last.audit_id]
    assert said[2]["parent"] == first.audit_id
    page = pat.get(f"/{first.conversation}?limit=2")
    assert len(page["exchanges"]) == 3  # a page begins with an exchange, which a place is of
    pat.groups("staff", "money")
    assert [one["question"] for one in pat.read(first.conversation)["exchanges"]] == [HOLIDAYS, *[BUDGET] * 3, HOTELS]


def test_one_hidden_exchange_and_three_look_alike(pat: Talker) -> None:
    """But for ids, times and nothing else, two such conversations are the same bytes."""
    ids = [as_staff(pat, HOLIDAYS).conversation for _ in range(2)]
    for conversation, times in zip(ids, (1, 3), strict=True):
        for _ in range(times):
            pat.ask(BUDGET, conversation)
    pat.groups("staff")
    bodies = [pat.send("GET", f"{ROUTE}/{ident}").text for ident in ids]
    assert all(HOLIDAYS in body and HIDDEN in body for body in bodies)
    id_or_time = re.compile(r"[0-9a-f-]{36}|2[0-9T:.-]{18,}Z")
    assert len({id_or_time.sub("", body) for body in bodies}) == 1


def test_what_quotes_a_hidden_answer_is_hidden_with_it(pat: Talker) -> None:
    """An answer whose prompt held an earlier one has shown what that one had shown."""
    conversation = pat.ask(BUDGET)[0].conversation
    pat.ask(HOLIDAYS, conversation)
    pat.groups("staff")
    assert pat.read(conversation)["exchanges"] == [PLACEHOLDER]


def test_a_name_tells_of_all_that_was_shown_before_it(pat: Talker) -> None:
    """Renamed, it hides with the conversation; named before the first question, it tells of nothing."""
    renamed, named = pat.ask(HOLIDAYS)[0].conversation, pat.create("My plans")["id"]
    for conversation in (renamed, named):
        pat.ask(BUDGET, conversation)
    pat.send("PATCH", f"{ROUTE}/{renamed}", json={"title": "Four million"})
    pat.groups("staff")
    assert {one["id"]: one["title"] for one in pat.listed()} == {renamed: HIDDEN, named: "My plans"}
    hidden = pat.send("PATCH", f"{ROUTE}/{renamed}", json={"title": "Still four million"})
    assert (hidden.status_code, hidden.json()["title"]) == (200, HIDDEN)
    pat.groups("staff", "money")
    assert pat.listed()[1]["title"] == "Still four million"


def test_a_document_that_moves_to_another_shelf_takes_its_answers_along(
    usher: World, pat: Talker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requirements of now decide, not those of when it was shown."""
    conversation = pat.ask(BUDGET)[0].conversation
    monkeypatch.setattr("tests.web.world.RULES", RULES.replace("collection: finance", "collection: board"))
    usher.run(usher.ingest())
    assert pat.read(conversation)["exchanges"] == [PLACEHOLDER]
    assert not bare(pat.everything())
    monkeypatch.undo()
    usher.run(usher.ingest())
    assert "four million" in pat.read(conversation)["exchanges"][0]["answer"]


def test_a_deleted_document_is_judged_by_its_last_requirements(usher: World, pat: Talker) -> None:
    """Whoever may read its shelf may read again what it had shown; nobody else."""
    conversation = pat.ask(BUDGET)[0].conversation
    usher.run(usher.ingest({path: text for path, text in DOCUMENTS.items() if not path.startswith("finance")}))
    try:
        assert "four million" in pat.read(conversation)["exchanges"][0]["answer"]
        pat.groups("staff")
        assert pat.read(conversation)["exchanges"] == [PLACEHOLDER]
    finally:
        usher.run(usher.ingest())


READS: dict[str, tuple[Callable[[str], str], str]] = {
    "list": (lambda conversation: "", "conversations"),
    "read": (lambda conversation: f"/{conversation}", "exchanges"),
    "search": (lambda conversation: "/search?q=budget", "exchanges"),
}


@pytest.mark.parametrize("what", READS)
def test_a_view_is_recorded_before_it_is_shown(usher: World, pat: Talker, what: str) -> None:
    """By ids, under policy, labels and scope; no text, no name. What is hidden is not viewed."""
    asked = pat.ask(BUDGET)[0]
    path, member = READS[what]
    before = len(usher.events())
    pat.get(path(asked.conversation))
    [event] = usher.events()[before:]
    assert event["type"] == "view"
    assert event["who"]["pseudonym"] == pat.pseudonym
    assert event["credential_id"] == usher.key_ids[pat.name]
    assert {"policy_version", "label_version", "scope_digest"} <= set(event)
    assert event[member] == [asked.conversation if member == "conversations" else asked.audit_id]
    assert not bare(repr(event))
    assert pat.name not in repr(event)
    pat.groups("staff")
    before = len(usher.events())
    pat.get(path(asked.conversation))
    assert [event[member] for event in usher.events()[before:]] == [[]]


@pytest.mark.parametrize("what", READS)
def test_without_its_ledger_nothing_is_shown(usher: World, pat: Talker, what: str) -> None:
    """503, and none of the words."""
    path = READS[what][0](pat.ask(BUDGET)[0].conversation)
    log = usher.services.audit.review._log
    assert isinstance(log, FailingLog)
    log.full = True
    with structlog.testing.capture_logs():
        response = pat.send("GET", ROUTE + path)
    log.full = False
    assert response.status_code == 503
    assert not bare(response.text)
    usher.run(usher.services.ledger.checkpoint())  # the ledger sees that it can write again
    assert bare(pat.send("GET", ROUTE + path).text)


@pytest.mark.parametrize("what", READS)
@pytest.mark.parametrize("taken", ["group", "key"])
def test_what_is_taken_away_while_it_is_recorded_is_not_shown(
    usher: World, pat: Talker, monkeypatch: pytest.MonkeyPatch, what: str, taken: str
) -> None:
    """It is judged once more after the record; a key that was revoked meanwhile opens nothing."""
    asked = pat.ask(BUDGET)[0]
    pat.ask(BUDGET, asked.conversation)
    append = usher.services.ledger.append

    async def meanwhile(entries: Any, *rows: Any) -> Any:
        receipt = await append(entries, *rows)
        if entries and entries[0].type == "view":
            if taken == "group":
                await usher.services.people.set_groups(pat.name, ["staff"], OPERATOR)
            else:
                await usher.services.people.revoke_key(usher.key_ids[pat.name], OPERATOR)
        return receipt

    monkeypatch.setattr(usher.services.ledger, "append", meanwhile)
    response = pat.send("GET", ROUTE + READS[what][0](asked.conversation))
    assert response.status_code == (200 if taken == "group" else 403)
    assert not bare(response.text)
    if (taken, what) == ("group", "read"):
        assert response.json()["exchanges"] == [PLACEHOLDER]


@pytest.mark.parametrize("meanwhile", [False, True], ids=["before", "while it is recorded"])
def test_an_old_answer_loses_links_to_hosts_that_are_allowed_no_more(
    usher: World, pat: Talker, monkeypatch: pytest.MonkeyPatch, meanwhile: bool
) -> None:
    """What leaves is clean by the policy of now; the words of the link stay."""
    links, none = {"links.yaml": f"hosts: [{HOST}]"}, {"links.yaml": "hosts: []"}
    rules = POLICY + "g, group:money, role:finance\n"
    usher.run(usher.apply(rules, **links))
    monkeypatch.setattr(
        usher.services.chat, "_model", ScriptedModel(f"See [the zebra page](https://{HOST}/zebra) [1].")
    )
    conversation = pat.ask(HOTELS)[0].conversation
    reads = [f"/{conversation}", "/search?q=zebra"]
    assert all(f"https://{HOST}/zebra" in pat.send("GET", ROUTE + path).text for path in reads)
    append = usher.services.ledger.append

    async def narrowing(entries: Any, *rows: Any) -> Any:
        receipt = await append(entries, *rows)
        if entries and entries[0].type == "view":
            await usher.apply(rules, **none)
        return receipt

    if meanwhile:
        monkeypatch.setattr(usher.services.ledger, "append", narrowing)
    else:
        usher.run(usher.apply(rules, **none))
    for path in reads:
        response = pat.send("GET", ROUTE + path)
        assert response.status_code == (409 if meanwhile else 200)
        assert "https:" not in response.text
        assert meanwhile or "the zebra page" in response.text
        usher.run(usher.apply(rules, **(links if meanwhile else none)))


def test_hidden_texts_are_not_even_opened(usher: World, pat: Talker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search and a read unseal what is visible only."""
    first = as_staff(pat, HOLIDAYS)
    pat.ask(BUDGET, first.conversation)
    pat.groups("staff")
    opened: list[str] = []
    contents = usher.services.ledger.contents

    async def noting(ids: list[str], work: Any) -> Any:
        opened.extend(ids)
        return await contents(ids, work)

    monkeypatch.setattr(usher.services.ledger, "contents", noting)
    pat.read(first.conversation)
    pat.get("/search?q=e")
    assert opened == [first.audit_id] * 2
