"""What a client gets wrong, by mistake or on purpose: a 4xx in its surface's shape, and nothing of it comes back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from tests.web.chat_kit import PATH, QUESTION
from tests.web.world import OPERATOR, World, world

from usher.errors import UserError

MIB = 1024 * 1024
PLANTED = "xylophone-4711"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("bad")) as made:
        yield made


@pytest.fixture(params=[PATH, "/api/search"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def told(response: httpx.Response) -> dict[str, Any]:
    """The error of a response, whose shape is its surface's."""
    body: dict[str, Any] = response.json()
    if "error" in body:
        assert response.headers["content-type"] == "application/json"
        assert set(body["error"]) == {"message", "type", "code", "param"}
        return {"field": body["error"]["param"], "words": body["error"]["message"]}
    assert response.headers["content-type"] == "application/problem+json"
    assert (body["status"], body["type"]) == (response.status_code, "about:blank")
    return {"field": body.get("field"), "words": body["detail"]}


BODIES = {
    "no JSON": PLANTED.encode(),
    "cut": b'{"q": "' + PLANTED.encode(),
    "invalid UTF-8": b'{"q": "\xff\xfe", "model": "\xff"}',
    "UTF-16": json.dumps({"q": PLANTED}).encode("utf-16"),
    "half a pair": b'{"q": "\\ud800", "model": "assistant", "messages": [{"role": "user", "content": "\\ud800"}]}',
    "nested without end": b"[" * 100_000,
    "nested deeply": b'{"q": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1e999",
    "NaN": b'{"q": NaN}',
    "nothing": b"",
    "a form": b"q=x&model=assistant",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_request_is_400(usher: World, path: str, body: bytes) -> None:
    """Never a 500, and never with what was sent."""
    response = usher.ask("POST", path, content=body)
    assert response.status_code == 400
    assert told(response)["words"]
    assert PLANTED not in response.text


async def _stream(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536):
        yield b" " * 65536


def test_a_body_over_1_mib_is_413(usher: World, path: str) -> None:
    """Whether its length is announced or not; at the limit it is read."""
    for content in (b" " * (MIB + 1), _stream(2 * MIB)):
        response = usher.ask("POST", path, content=content)
        assert response.status_code == 413
        assert told(response)["words"]
    ask = {"q": QUESTION, "model": "assistant", "messages": [{"role": "user", "content": QUESTION}]}
    text = json.dumps(ask).encode()
    assert usher.ask("POST", path, content=text + b" " * (MIB - len(text))).status_code == 200


def asked(usher: World, path: str, question: str) -> httpx.Response:
    return usher.chat(question) if path == PATH else usher.search(question)


@pytest.mark.parametrize("question", ["", " ", "\n\t\u00a0", "x" * 8001, "ä" * 8001, PLANTED + "x" * 1_000_000])
def test_a_question_that_is_empty_or_too_long_is_400(usher: World, path: str, question: str) -> None:
    """With the field and the remedy."""
    response = asked(usher, path, question)
    assert response.status_code == 400
    assert told(response)["field"] == ("messages[0].content" if path == PATH else "q")
    assert PLANTED not in response.text


@pytest.mark.parametrize(
    "question",
    [
        "x" * 8000,
        "ä" * 8000,
        "\U0001f600" * 8000,
        "\0",
        "%00'\"; DROP TABLE person;--",
        "{{7*7}} ${jndi:ldap://x}",
        "\u202e?",
    ],
    ids=range(7),
)
def test_any_other_text_is_a_question(usher: World, path: str, question: str) -> None:
    """Up to 8,000 characters, whatever they are."""
    assert asked(usher, path, question).status_code == 200


@pytest.mark.parametrize("k", [0, -1, 101, 10**9, 10**30, "x", 1.5, None, True, [], {}])
def test_a_k_out_of_its_range_is_400(usher: World, k: object) -> None:
    """It must be a whole number from 1 to 100."""
    response = usher.search(QUESTION, k=k)
    assert (response.status_code, told(response)["field"]) == (400, "k")


@pytest.mark.parametrize("query", ["k=0", "k=101", "k=1000000000", "k=x", "k=1.5", "k=", "k=1%00"])
def test_the_same_holds_in_a_query(usher: World, query: str) -> None:
    """For scripts too."""
    response = usher.ask("GET", f"/api/search?q=holiday&{query}")
    assert (response.status_code, told(response)["field"]) == (400, "k")


@pytest.mark.parametrize("query", ["", "?q=", "?q=%20", "?k=5", "?Q=holiday"])
def test_a_query_without_a_question_is_400(usher: World, query: str) -> None:
    """It names `q`."""
    response = usher.ask("GET", f"/api/search{query}")
    assert (response.status_code, told(response)["field"]) == (400, "q")


def test_the_limits_of_k_are_in(usher: World) -> None:
    """1 and 100, and 10 if none is given."""
    assert len(usher.search("holiday", k=1).json()["hits"]) == 1
    assert usher.search("holiday", k=100).status_code == usher.search("holiday").status_code == 200


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "two answers": ({"n": 2}, "n"),
    "no answer": ({"n": 0}, "n"),
    "too hot": ({"temperature": 2.1}, "temperature"),
    "too cold": ({"temperature": -0.1}, "temperature"),
    "no temperature": ({"temperature": PLANTED}, "temperature"),
    "no tokens": ({"max_tokens": 0}, "max_tokens"),
    "fewer tokens": ({"max_completion_tokens": -5}, "max_completion_tokens"),
    "a model that is none": ({"model": 5}, "model"),
    "an endless model": ({"model": "x" * 201}, "model"),
    "messages that are none": ({"messages": PLANTED}, "messages"),
    "no messages": ({"messages": []}, "messages"),
    "a message that is none": ({"messages": [5]}, "messages[0]"),
    "no role": ({"messages": [{"content": "x"}]}, "messages[0].role"),
    "an unknown role": ({"messages": [{"role": PLANTED, "content": "x"}]}, "messages[0].role"),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0].content"),
    "a number as content": ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]},
        "messages[0].content[0].type",
    ),
    "no question": ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
    "an answer at the end": (
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": PLANTED}]},
        "messages[1].role",
    ),
    "2,001 messages": ({"messages": [{"role": "user", "content": "x"}] * 2001}, "messages"),
    "10,000 messages": ({"messages": [{"role": "user", "content": "x"}] * 10_000}, "messages"),
    "a stream that is none": ({"stream": PLANTED}, "stream"),
    "options that are none": ({"stream_options": 5}, "stream_options"),
}


@pytest.mark.parametrize(("fields", "field"), WRONG.values(), ids=WRONG)
def test_a_wrong_field_is_named(usher: World, fields: dict[str, Any], field: str) -> None:
    """400, before anything is recorded; the value does not come back."""
    before = len(usher.events())
    body = {"model": "assistant", "messages": [{"role": "user", "content": QUESTION}], **fields}
    response = usher.ask("POST", PATH, json=body)
    assert (response.status_code, told(response)["field"]) == (400, field)
    assert PLANTED not in response.text
    assert len(usher.events()) == before


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(usher: World, missing: str) -> None:
    """400."""
    body = {"model": "assistant", "messages": [{"role": "user", "content": QUESTION}]}
    del body[missing]
    response = usher.ask("POST", PATH, json=body)
    assert (response.status_code, told(response)["field"]) == (400, missing)


def test_2000_messages_are_read(usher: World) -> None:
    """The last one is the question."""
    messages = [{"role": "user", "content": "x"}] * 1999 + [{"role": "user", "content": QUESTION}]
    body = usher.chat("", messages=messages).json()
    assert "28 days" in body["choices"][0]["message"]["content"]
    assert body["usher"]["route"]["reasons"] == ["earlier_turns_left_out:1999"]


@pytest.mark.parametrize("ident", [PLANTED, "01a2043e-25a5-71d1-98db-b2170744b0c1", "../../x", "%00", ""])
def test_a_conversation_that_is_not_there_is_not_found(usher: World, ident: str) -> None:
    """What is no id at all gets the same answer as an absent one, and is not quoted."""
    body = {"model": "assistant", "messages": [{"role": "user", "content": QUESTION}]}
    response = usher.ask("POST", PATH, json=body, headers={"x-usher-conversation": ident})
    assert response.status_code == 404
    assert PLANTED not in response.text


NAMES = [
    "o'brien, pat",
    'the "boss"',
    "100%",
    "a%2Cb",
    "a#b;c=d",
    "пользователь",
    "alic\u0435",
    "名前",
    "a/b\\c",
    "x" * 200,
]


@pytest.mark.parametrize("name", NAMES)
def test_any_printable_name_is_a_person_and_a_group_of_its_own(usher: World, name: str) -> None:
    """A key of theirs works, `/api/me` names them, what they do is recorded, and look-alikes stay apart."""
    usher.run(usher.add(name, ["staff", name]))
    me = usher.ask("GET", "/api/me", name).json()
    assert me["scope"]["collections"] == ["handbook"]
    assert len(me["groups"]) == 2
    assert [key["user"] for key in me["keys"]] == [name]
    assert usher.search(QUESTION, name).status_code == usher.chat(QUESTION, name).status_code == 200
    assert name not in repr(usher.newest())


@pytest.mark.parametrize(
    "name", ["", " ", "a\nb", "a\0b", "a\u200bb", "\u202eecila", "e\u0301", "x" * 300, " a", "\ud800"]
)
def test_a_name_that_cannot_be_told_apart_is_refused(usher: World, name: str) -> None:
    """Line breaks, invisible and decomposed characters, 300 characters: as user and as group."""
    for user, groups in ((name, []), ("norma", [name])):
        with pytest.raises(UserError):
            usher.run(usher.services.people.add(user, groups, OPERATOR))


def test_a_group_that_looks_like_a_role_is_none(usher: World) -> None:
    """Names of a credential are users and groups only."""
    usher.run(usher.add("mallory", ["role:board", "group:board", "user:carol", "board"]))
    me = usher.ask("GET", "/api/me", "mallory").json()
    assert (me["roles"], me["scope"]["words"]) == ([], "You may read no document.")
    assert all(group.startswith("group:") for group in me["groups"])
