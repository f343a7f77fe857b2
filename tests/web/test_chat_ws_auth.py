"""Who may open `/ws/chat`: a key in the first frame or a one-use ticket, from known pages only."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.web.chat_kit import QUESTION, ScriptedModel
from tests.web.world import OPERATOR, World, world
from tests.web.ws_kit import Client, Closed, chatting, connected

from usher.tickets import SECONDS
from usher.web import chat_ws

PAGE = "https://chat.example.com"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("ws"), model=ScriptedModel("Yes.")) as made:
        yield made


@pytest.fixture
def listed(usher: World) -> Iterator[Callable[..., None]]:
    """Call it with the origins that the settings shall list."""
    before = usher.services.settings

    def put(*origins: str) -> None:
        object.__setattr__(usher.services, "settings", before.model_copy(update={"origins": origins}))

    yield put
    object.__setattr__(usher.services, "settings", before)


def refused(usher: World, first: str | None = None, query: str = "") -> tuple[list[dict[str, Any]], int, str]:
    """What a socket is told that sends this first, and how it is closed."""

    async def work() -> Client:
        async with connected(usher, query) as client:
            if first is not None:
                client.text(first)
            await client.over()
        return client

    client = usher.run(work())
    return client.got, client.closed or 0, client.reason


def auth(key: str) -> str:
    return json.dumps({"type": "auth", "key": key})


async def admits(usher: World, query: str = "", **headers: str) -> bool:
    async with connected(usher, query, **headers) as client:
        try:
            return (await client.next())["type"] == "ready"
        except Closed:
            return False


def bad_keys(usher: World) -> dict[str, str]:
    """Every kind of bad first frame."""

    async def make() -> tuple[str, str]:
        key = await usher.services.people.create_key("bob", None, None, OPERATOR)
        await usher.services.people.revoke_key(key.id, OPERATOR)
        gone = await usher.add("ida", ["staff"])
        await usher.services.people.deactivate("ida", OPERATOR)
        return key.key, gone

    good, (revoked, gone) = usher.keys["bob"], usher.run(make())
    return {
        "empty": auth(""),
        "unknown": auth(f"usher-{'0' * 16}-{'A' * 43}"),
        "another secret": auth(good[:-43] + "A" * 43),
        "with more behind": auth(f"{good} x"),
        "very long": auth("x" * 5000),
        "revoked": auth(revoked),
        "of somebody deactivated": auth(gone),
        "with another field": json.dumps({"type": "auth", "key": good, "user": "alice"}),
        "no text": json.dumps({"type": "auth", "key": [good]}),
        "a question": json.dumps({"type": "ask", "id": "q", "question": QUESTION}),
        "a bearer": f"Bearer {good}",
        "no JSON": "hello",
    }


def test_every_bad_first_frame_gets_the_same_answer(usher: World) -> None:
    """Unknown, revoked, of somebody deactivated, or no key at all: one error and one close."""
    answers = {name: refused(usher, first) for name, first in bad_keys(usher).items()}
    (error,), code, _ = answers["unknown"]
    assert (error["code"], code) == ("unauthorized", 4401)
    assert answers == dict.fromkeys(answers, answers["unknown"])


def test_an_expired_key_gets_it_too(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its instant on."""
    later = datetime.now(UTC) + timedelta(days=1)
    key = usher.run(usher.services.people.create_key("bob", later, None, OPERATOR)).key
    monkeypatch.setattr(usher.services.authority, "_clock", lambda: later)
    assert refused(usher, auth(key)) == refused(usher, auth("x"))


def test_a_silent_socket_is_closed_in_time(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one with a bad key."""
    monkeypatch.setattr(chat_ws, "AUTH_SECONDS", 0.01)
    assert refused(usher) == refused(usher, auth("x"))


def test_a_header_proves_nothing(usher: World) -> None:
    """A page of anybody's could make a browser send one that it keeps."""

    async def work() -> None:
        async with connected(usher, **usher.bearer("bob")) as client:
            client.ask()
            assert await client.over() == 4401

    usher.run(work())


def test_who_may_not_ask_is_told_so(usher: World) -> None:
    """A valid key without `chat.ask` opens nothing."""
    told, code, _ = refused(usher, auth(usher.keys["erin"]))
    assert (told[-1]["code"], code) == ("chat_not_allowed", 4403)
    assert [frame["type"] for frame in told] == ["error"]


def ticket(usher: World, who: str = "bob") -> str:
    made = usher.ask("POST", "/api/ws-ticket", who)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    assert made.json()["expires_in"] == SECONDS == 30
    return str(made.json()["ticket"])


def test_a_ticket_opens_one_socket(usher: World) -> None:
    """Its holder's, without another frame; a second time it is none."""
    query = f"ticket={ticket(usher, 'alice')}"

    async def work() -> None:
        async with connected(usher, query) as client:
            assert (await client.next())["type"] == "ready"
            client.ask()
            await client.end()
        me = await usher.services.ledger.pseudonym("alice")
        assert usher.newest()[0]["who"]["pseudonym"] == me

    usher.run(work())
    assert refused(usher, query=query) == refused(usher, auth("x"))


def test_of_two_that_use_a_ticket_at_once_one_gets_in(usher: World) -> None:
    """Whichever is first."""
    query = f"ticket={ticket(usher)}"

    async def race() -> list[bool]:
        return await asyncio.gather(*(admits(usher, query) for _ in range(5)))

    assert sum(usher.run(race())) == 1


def test_a_ticket_ends_with_its_time(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes from the database when another is made."""
    query = f"ticket={ticket(usher)}"
    later = datetime.now(UTC) + timedelta(seconds=SECONDS)
    monkeypatch.setattr(usher.services.tickets, "_clock", lambda: later)
    ticket(usher)
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM ws_ticket").fetchone() == (1,)
    assert refused(usher, query=query) == refused(usher, auth("x"))
    early = f"ticket={ticket(usher)}"
    monkeypatch.setattr(usher.services.tickets, "_clock", lambda: later + timedelta(seconds=SECONDS))
    assert refused(usher, query=early) == refused(usher, auth("x"))


def test_a_ticket_is_no_more_than_its_key(usher: World) -> None:
    """Judged anew when it is used: a key that was revoked meanwhile, or a person deactivated, ends it."""
    usher.run(usher.add("jo", ["staff"]))
    usher.run(usher.add("kim", ["staff"]))
    of_jo, of_kim = ticket(usher, "jo"), ticket(usher, "kim")
    usher.run(usher.services.people.revoke_key(usher.key_ids["jo"], OPERATOR))
    usher.run(usher.services.people.deactivate("kim", OPERATOR))
    for used in (of_jo, of_kim):
        assert refused(usher, query=f"ticket={used}") == refused(usher, auth("x"))


@pytest.mark.parametrize("query", ["ticket=", "ticket=x", "ticket=" + "A" * 43, "ticket=a&ticket=b", "ticket=%00"])
def test_what_is_no_ticket_gets_the_answer_of_a_bad_key(usher: World, query: str) -> None:
    """Also where a good key follows: an address with a ticket wants no other proof."""
    assert refused(usher, query=query) == refused(usher, auth("x"))
    assert refused(usher, auth(usher.keys["bob"]), query) == refused(usher, auth("x"))


def test_a_ticket_is_stored_as_a_digest(usher: World) -> None:
    """The database opens nobody's socket."""
    made = ticket(usher).encode()
    files = [file.read_bytes() for file in (usher.folder / "home").glob("usher.sqlite*")]
    assert not any(made in data for data in files)


def test_a_ticket_needs_a_key(usher: World) -> None:
    """A ticket makes no ticket."""
    assert usher.ask("POST", "/api/ws-ticket", None).status_code == 401
    headers = {"authorization": f"Bearer {ticket(usher)}"}
    assert usher.ask("POST", "/api/ws-ticket", None, headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        (None, True),
        (PAGE, True),
        ("https://evil.example.com", False),
        ("https://chat.example.com.evil.com", False),
        ("http://chat.example.com", False),
        ("https://chat.example.com:444", False),
        ("http://usher", False),
        ("null", False),
        ("", False),
    ],
)
def test_only_pages_of_listed_origins_connect(
    usher: World, listed: Callable[..., None], origin: str | None, admitted: bool
) -> None:
    """Others are refused before anything is accepted; what is no browser sends no origin."""
    listed("https://other.example.com", PAGE)

    async def accepted() -> bool:
        headers = {} if origin is None else {"origin": origin}
        async with connected(usher, **headers) as client:
            return client.accepted

    assert usher.run(accepted()) is admitted


def test_without_listed_origins_no_page_connects(usher: World, listed: Callable[..., None]) -> None:
    """The default."""
    listed()

    async def accepted() -> bool:
        async with connected(usher, origin=PAGE) as client:
            return client.accepted

    assert not usher.run(accepted())


def test_the_log_has_no_key_ticket_or_question(usher: World, capfd: pytest.CaptureFixture[str]) -> None:
    """It has the person's pseudonym."""
    made = ticket(usher)

    async def work() -> None:
        assert await admits(usher, f"ticket={made}")
        async with chatting(usher) as client:
            client.ask(question="What of the zanzibar question?")
            await client.end()
            client.text("zanzibar")
            await client.over()

    usher.run(work())
    refused(usher, auth("zanzibar"))
    logged = "".join(capfd.readouterr())
    assert "authentication_failed" in logged
    assert not [secret for secret in (made, usher.keys["bob"], "zanzibar") if secret in logged]
