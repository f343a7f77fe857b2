"""What the tests of two people share: Alice with things of every kind, Mallory with a valid key and other rights, and
how Mallory's tries are judged: somebody else's id must get, to the byte, what an absent one gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
from litestar import Litestar
from litestar.routes import HTTPRoute, WebSocketRoute
from tests.web.chat_kit import ScriptedModel
from tests.web.world import OPERATOR, World, world

ALICE, MALLORY = "alice", "mallory"
QUESTION = "Where is the quetzal's new office?"
REASON = "The okapi clause is missing."
PLAN = "# Plan\n\nThe narwhal plan is to buy the harbour.\n"
RULES = (
    "p, role:finance, coll:finance, document.ingest, allow, always",
    "p, user:mallory, coll:handbook, document.ingest, allow, always",
    "p, user:mallory, sys:keys, key.issue, allow, always",
)
WORDS = ("quetzal", "Tromso", "okapi", "narwhal", "four million", "letters/", "alice")
"""Each stands only in what is Alice's, or in what Mallory may not read."""

Spelling = Callable[[str], str]
Sent = dict[str, Any]
SPELLINGS: Mapping[str, Spelling] = {
    "as it is": str,
    "in capitals": str.upper,
    "without dashes": lambda ident: ident.replace("-", ""),
    "in braces": lambda ident: f"{{{ident}}}",
    "as a URN": lambda ident: f"urn:uuid:{ident}",
    "cut": lambda ident: ident[:-1],
    "in wide digits": lambda ident: ident.translate({48 + n: 0xFF10 + n for n in range(10)}),
    "with a NUL after it": lambda ident: f"{ident}\0",
    "in spaces": lambda ident: f" {ident} ",
}
"""Of an id in a body, a header or a query."""
IN_A_PATH: Mapping[str, Spelling] = {
    **{name: lambda ident, spell=spell: quote(spell(ident), safe="") for name, spell in SPELLINGS.items()},
    "with a slash after it": lambda ident: f"{ident}/",
    "encoded whole": lambda ident: "".join(f"%{ord(letter):02x}" for letter in ident),
    "encoded twice": lambda ident: "".join(f"%25{ord(letter):02x}" for letter in ident),
    "by another way": lambda ident: f"{uuid4()}%2f%2e%2e%2f{ident}",
    "with a dot": lambda ident: f"%2e/{ident}",
    "with something below": lambda ident: f"{ident}/exchanges",
    "with a parameter": lambda ident: f"{ident};id={ident}",
}


OWN_THINGS = {"MINE": "document", "TALK": "conversation", "SHELF": "shelf"}


@dataclass(frozen=True)
class Try:
    """A request of Mallory's. In it `ID` (or a path's parameter) stands for an id of the kind `of`, `MINE`, `TALK` and
    `SHELF` for a document, a conversation and a collection of whoever asks. Alice herself gets `own` with her id."""

    of: str = ""
    own: int = 200
    json: Any = None
    form: Mapping[str, str] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    header: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None

    def request(self, method: str, path: str, ident: str = "", own: Mapping[str, str] = MappingProxyType({})) -> Sent:
        """The request with this id in it, by somebody with these things of their own."""
        put = {"ID": ident} | {word: own.get(kind, "") for word, kind in OWN_THINGS.items()}
        sent: Sent = {"method": method, "path": _filled(self.path or path, put)}
        if self.json is not None:
            sent["json"] = _filled(self.json, put)
        if self.form is not None:
            names = {"file": "plan.md"}
            sent["files"] = {name: (names.get(name), _filled(text, put)) for name, text in self.form.items()}
        if self.query:
            sent["params"] = _filled(self.query, put)
        if self.header:
            sent["headers"] = {name: _filled(text, put).encode() for name, text in self.header.items()}
        return sent

    def spellings(self, path: str) -> Mapping[str, Spelling]:
        return IN_A_PATH if "{" in (self.path or path) else SPELLINGS


def _filled(what: Any, put: Mapping[str, str]) -> Any:
    if isinstance(what, str):
        plain = re.sub(r"\{[a-z_]+:[a-z]+\}", "ID", what)
        return re.sub("|".join(put), lambda found: put[found[0]], plain)
    if isinstance(what, Mapping):
        return {name: _filled(value, put) for name, value in what.items()}
    return [_filled(value, put) for value in what] if isinstance(what, list) else what


@dataclass
class House:
    """A world with two people. `ids` are Alice's, `mine` Mallory's, by kind; `before` is how Alice's things were."""

    world: World
    ids: dict[str, str] = field(default_factory=dict)
    mine: dict[str, str] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)

    def send(self, who: str | None, request: Mapping[str, Any]) -> httpx.Response:
        return self.world.ask(who=who, **request)

    def leaks(self, response: httpx.Response) -> list[str]:
        """What is Alice's in something that Mallory got."""
        return self.leaks_in(response.text + str(response.headers))

    def leaks_in(self, text: str) -> list[str]:
        hexes = [UUID(ident).hex for ident in self.ids.values() if len(ident) == 36]
        return [mark for mark in (*WORDS, *self.ids.values(), *hexes) if mark in text and mark != "finance"]

    def alices(self) -> list[str]:
        """Alice's things as she sees them."""
        paths = ("/api/documents/{document}", "/api/feedback/{exchange}", "/api/conversations/{conversation}")
        paths += ("/api/conversations", "/api/documents?limit=500", "/api/me")
        answers = [self.world.ask("GET", path.format(**self.ids), ALICE) for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.text for answer in answers]


@contextmanager
def house(folder: Path, model: ScriptedModel | None = None) -> Iterator[House]:
    with world(folder, model=model) as made:
        made.run(made.apply_also(*RULES))
        made.run(made.add(MALLORY, ["staff"]))
        made.run(made.add("gone", ["staff"]))
        made.run(made.add("left", ["staff"]))
        made.run(made.services.people.revoke_key(made.key_ids["gone"], OPERATOR))
        made.run(made.services.people.deactivate("left", OPERATOR))
        lives = House(made)
        if model is not None:
            model.steps = ("The quetzal's new office is in Tromso [1].",)
        lives.ids = things(made, ALICE, "finance", PLAN)
        if model is not None:
            model.steps = ("An answer [1].",)
        lives.mine = things(made, MALLORY, "handbook", "# Mine\n\nA page of mine.\n")
        lives.before = lives.alices()
        yield lives


def things(made: World, who: str, collection: str, text: str) -> dict[str, str]:
    """One of each kind of thing that a person has; their ids."""
    form = {"collection": (None, collection), "file": ("plan.md", text.encode(), "text/markdown")}
    uploaded = made.ask("POST", "/api/documents", who, files=form)
    assert uploaded.status_code == 201
    question = QUESTION if who == ALICE else "How many days of holiday?"
    answer = made.chat(question, who).json()
    usher = answer["usher"]
    body = {"exchange": usher["audit_id"], "verdict": "down", "reason": REASON if who == ALICE else "Mine."}
    feedback = made.ask("POST", "/api/feedback", who, json=body).json()["id"]
    made.ask("POST", "/api/conversations", who, json={"title": "The quetzal files" if who == ALICE else "Mine"})
    hits = made.search(text, who, k=100).json()["hits"]
    return {
        "document": uploaded.json()["document"],
        "chunk": next(hit["chunk"] for hit in hits if hit["document"] == uploaded.json()["document"]),
        "exchange": usher["audit_id"],
        "conversation": usher["conversation_id"],
        "feedback": feedback,
        "cursor": made.ask("GET", "/api/conversations?limit=1", who).json()["next"],
        "key": made.key_ids[who],
        "shelf": collection,
    }


def seen(response: httpx.Response) -> tuple[int, str, str]:
    """All that a client can tell one answer from another by: what is new in each answer left out."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", "U", response.text)
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return response.status_code, re.sub(r'"(created|created_at)":[^,}]+', "", text), str(headers)


def routes_of(app: Litestar) -> set[tuple[str, str]]:
    """(method, path) of everything that the app serves; `WS` for a WebSocket, `ASGI` for a mounted app."""
    found: set[tuple[str, str]] = set()
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            by_method = route.route_handler_map.items()
            found |= {(method, route.path) for method, (handler, _) in by_method if handler.http_methods != {"OPTIONS"}}
        else:
            found.add(("WS" if isinstance(route, WebSocketRoute) else "ASGI", route.path))
    return found


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "assistant", "messages": [{"role": "user", "content": "And for contractors?"}], **more}
