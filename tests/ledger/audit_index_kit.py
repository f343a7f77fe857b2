"""Histories for the tests of the reviewers' index: as events in a ledger's file, and scanned one by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from usher.backends.audit_index import AuditIndexFile
from usher.core.learned import part_of
from usher.ledger.record import Entry, EventType, Who, encode, fragment, leaf_hash
from usher.ports.audit_index import What

BEGAN = 1_700_000_000_000_000
"""Microseconds of the first event; each next one is a second later."""

_LEDGER = """CREATE TABLE log (origin TEXT); CREATE TABLE tree (size INTEGER);
CREATE TABLE events (number INTEGER PRIMARY KEY, leaf BLOB, event BLOB);"""
"""What the follower reads of a ledger's file."""

Lineage = Sequence[tuple[int, int, int]]
"""What an adapter was trained on: document, version and access class then."""
DOCUMENTS = [UUID(int=n) for n in range(1, 4)]
PEOPLE = [str(UUID(int=100 + n)) for n in range(3)]


@dataclass
class History:
    """Events as the ledger has them, one after the other."""

    origin: str = "usher/test"
    events: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    exchanges: list[str] = field(default_factory=list)
    lineages: list[Lineage] = field(default_factory=list)

    def learned(self, lineage: Lineage) -> None:
        """The next adapter, trained on this, is told of before it is registered."""
        documents = [[str(DOCUMENTS[document]), version, number] for document, version, number in lineage]
        name = f"a{len(self.lineages)}@sha256:{digest_of(len(self.lineages))}"
        self.add(EventType.ADAPTER, None, None, {"act": "learned", "adapter": name, "documents": documents})
        self.lineages.append(lineage)

    def parts(self) -> dict[str, set[int]]:
        """The documents of each part of what adapters learned."""
        found: dict[str, set[int]] = {}
        for adapter, lineage in enumerate(self.lineages):
            for document, _, number in lineage:
                found.setdefault(str(part_of(digest_of(adapter), number)), set()).add(document)
        return found

    def _shown_by(self, act: Act) -> dict[str, object]:
        """What the adapter has learned, as its answer's retrieval says it: with the classes of the moment."""
        if act.adapter is None or act.adapter >= len(self.lineages):
            return {}
        trained = sorted({number for _, _, number in self.lineages[act.adapter]})
        rows = dict.fromkeys(
            (str(part_of(digest_of(act.adapter), n)), now) for n in trained for now in (n, act.now or n)
        )
        return {"documents": [{"document": part, "access_class": now} for part, now in rows]}

    def add(self, kind: EventType, audit_id: str | None, person: str | None, body: Mapping[str, object]) -> None:
        who = None if person is None else Who(person, ("role:x",), "key")
        number = len(self.events) + 1
        event = encode(number, BEGAN + number * 1_000_000, fragment(Entry(kind, audit_id, who, body)))
        self.events.append((number, leaf_hash(event), event))
        time = f"{number}"
        self.bodies.append({"number": number, "at": time, "type": kind, "audit_id": audit_id, "who": person, **body})

    def asked(self, act: Act) -> None:
        """A question, a search or a view, as the use cases record them."""
        person = PEOPLE[act.person]
        history = [self.exchanges[n % len(self.exchanges)] for n in act.earlier if self.exchanges]
        if act.kind == "view":
            shown = [{name: p[name] for name in ("document", "version", "access_class")} for p in act.passages]
            shown = [
                one | ({"chunk": p["chunk"]} if p["in_prompt"] else {})
                for one, p in zip(shown, act.passages, strict=True)
            ]
            body: dict[str, object] = {"documents": shown} if act.passages else {"exchanges": history}
            self.add(EventType.VIEW, None, person, body)
            return
        audit_id = str(UUID(int=1000 + len(self.events)))
        self.add(EventType.REQUEST, audit_id, person, {"operation": act.kind})
        effect = {"effect": "deny" if act.denied else "allow", "reason": "no_rule", "policy_version": 3}
        self.add(EventType.DECISION, audit_id, person, {**effect, "action": "chat.ask", "object": "sys:chat"})
        if not act.denied:
            passages = [{**p, "in_prompt": p["in_prompt"] and act.kind == "chat"} for p in act.passages]
            more = self._shown_by(act) if act.kind == "chat" else {}
            self.add(EventType.RETRIEVAL, audit_id, person, {"outcome": "found", "passages": passages, **more})
        if act.kind == "chat":
            self._answered(audit_id, person, act, history)

    def _answered(self, audit_id: str, person: str, act: Act, history: Sequence[str]) -> None:
        if act.denied:
            self.add(EventType.ANSWER, audit_id, person, {"outcome": "refused", "reason": "no_rule"})
            return
        placeholders: list[str | None] = [*history, None]
        by = {"name": f"a{act.adapter}", "digest": digest_of(act.adapter)} if self._shown_by(act) else None
        self.add(EventType.GENERATION, audit_id, person, {"purpose": "answer", "adapter": by, "history": placeholders})
        self.add(EventType.ANSWER, audit_id, person, {"outcome": act.outcome, "cited": [1]})
        self.exchanges.append(audit_id)

    def stored(self, folder: Path, upto: int | None = None) -> Path:
        """A `ledger.sqlite` with the first events."""
        path = folder / "ledger.sqlite"
        path.unlink(missing_ok=True)
        events = self.events[:upto]
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(f"PRAGMA synchronous = OFF; BEGIN; {_LEDGER}")
            connection.execute("INSERT INTO log VALUES (?)", (self.origin,))
            connection.execute("INSERT INTO tree VALUES (?)", (len(events),))
            connection.executemany("INSERT INTO events VALUES (?, ?, ?)", events)
            connection.commit()
        return path


@dataclass(frozen=True)
class Act:
    kind: str
    person: int
    passages: Sequence[Mapping[str, Any]]
    earlier: Sequence[int]
    denied: bool = False
    outcome: str = "answered"
    adapter: int | None = None
    now: int | None = None


def digest_of(adapter: int | None) -> str:
    return f"{adapter:064x}"


def index_of(history: History, folder: Path) -> AuditIndexFile:
    """Built to its end."""
    index = AuditIndexFile(folder / "audit-index.sqlite", history.stored(folder))
    while index.step():
        pass
    return index


def scanned(history: History, wanted: What) -> dict[int, str]:
    """Who saw it, from all events one after the other: the first event's number, and how."""
    begun: dict[str, tuple[int, str]] = {}
    exposed: dict[int, bool] = {}
    how: dict[int, str] = {}
    learned = {
        digest_of(adapter)
        for adapter, lineage in enumerate(history.lineages)
        if any(DOCUMENTS[one] == wanted.document and wanted.version in (None, version) for one, version, _ in lineage)
    }

    def is_it(passage: Mapping[str, Any]) -> bool:
        same = passage["document"] == str(wanted.document)
        version, chunk = wanted.version, wanted.chunk and str(wanted.chunk)
        return (
            same
            and version in (None, passage["version"])
            and passage.get("chunk") in (None, chunk or passage.get("chunk"))
        )

    for event in history.bodies:
        number = event["number"]
        if event["type"] == "adapter":
            continue
        if event["type"] == "request":
            begun[event["audit_id"]] = (number, event["operation"])
        node, kind = begun.get(event["audit_id"], (number, "view"))
        if (event.get("adapter") or {}).get("digest") in learned:
            exposed[node] = True
            how[node] = "direct" if how.get(node) == "direct" else "learned"
        for passage in filter(is_it, _listed(event)):
            shown = kind != "chat" or passage["in_prompt"]
            how[node] = "direct" if shown or how.get(node) == "direct" else "retrieved"
            exposed[node] = exposed.get(node, False) or shown
        for earlier in [*event.get("history", ()), *event.get("exchanges", ())]:
            if earlier is not None and exposed.get(begun[earlier][0]):
                exposed[node] = True
                how[node] = how[node] if how.get(node) in ("direct", "learned") else "inherited"
    return how


def _listed(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The passages and documents that an event shows."""
    return [] if event["type"] == "adapter" else [*event.get("passages", ()), *event.get("documents", ())]


def redacted(
    history: History, covers: Callable[[Mapping[str, Any]], bool], everything: bool = False
) -> tuple[History, set[int], set[str]]:
    """The history as if nothing had ever been about a document that is not covered, but for the numbers of events; the
    first events of the entries that may then be known of (with `everything` also those that never were about any
    document); and the exchanges among these."""
    made, about, exposed = History(history.origin), _Told({}), _Told({})
    of = {event["audit_id"]: event["number"] for event in reversed(history.bodies) if event["audit_id"]}
    for event in history.bodies:
        node = of.get(event["audit_id"], event["number"])
        search = history.bodies[node - 1].get("operation") == "search"
        for passage in _listed(event):
            about.add(node, covers(passage))
            if search or passage.get("in_prompt") is not False:
                exposed.add(node, covers(passage))
        for earlier in [*event.get("history", ()), *event.get("exchanges", ())]:
            if earlier is not None:
                about.take(node, exposed, of[earlier])
                exposed.take(node, exposed, of[earlier])
    nodes = {*of.values(), *(event["number"] for event in history.bodies if event["type"] == "view")}
    known = {node for node in nodes if about.is_known(node, everything)}
    for event in history.bodies:
        body = {name: value for name, value in event.items() if name not in ("number", "at", "type", "audit_id", "who")}
        for name in ("passages", "documents"):
            if name in body and event["type"] != "adapter":
                body[name] = [passage for passage in body[name] if covers(passage)]
        for name in ("history", "exchanges"):
            if name in body:
                body[name] = [one for one in body[name] if one is not None and of[one] in known]
        made.add(EventType(event["type"]), event["audit_id"], event["who"], body)
    return made, known, {audit_id for audit_id, node in of.items() if node in known}


@dataclass
class _Told:
    """For each entry whether it is about anything, and whether about anything that is covered."""

    covered: dict[int, bool]

    def add(self, node: int, covered: bool) -> None:
        self.covered[node] = self.covered.get(node, False) or covered

    def take(self, node: int, other: _Told, earlier: int) -> None:
        if earlier in other.covered:
            self.add(node, other.covered[earlier])

    def is_known(self, node: int, everything: bool) -> bool:
        return self.covered.get(node, everything)


def chat(*documents: int, earlier: Sequence[int] = (), person: int = 0) -> Act:
    passages = [
        {
            "document": str(DOCUMENTS[d]),
            "version": 1,
            "chunk": str(UUID(int=d)),
            "access_class": 1,
            "rank": n,
            "in_prompt": True,
        }
        for n, d in enumerate(documents, 1)
    ]
    return Act("chat", person, passages, earlier)


def told(*acts: Act) -> History:
    history = History()
    for act in acts:
        history.asked(act)
    return history
