"""How long the reviewers' questions take at a million events: `python -m tests.bench.audit_million`.

A ledger's file with the five leaves of each exchange (eight passages, conversations of up to eight exchanges, documents
asked for by Zipf's law; one answer in ten by one of twenty adapters, each of which learned 10,000 versions of
documents), an index that the real follower builds from it, and each question put to that index: for somebody who may
know of everything, and for a reviewer of one collection in a hundred. Times are of the index alone.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from usher.adapters.listing import entries
from usher.backends.audit_index import AuditIndexFile
from usher.core.learned import part_of
from usher.ledger.record import Entry, EventType, Who, encode, fragment
from usher.ports.audit_index import Between, Wanted, What, Within

EVENTS = 1_000_000
DOCUMENTS, PEOPLE, CLASSES = 20_000, 2_000, 100
PASSAGES, OPEN_TALKS, LONGEST_TALK = 8, 500, 8
ADAPTERS, LEARNED_CLASSES, VERSIONS, BY_ADAPTER = 20, 5, 10, 0.1
"""Adapter `n` learned ten versions of each document of five classes, from class `n + 1` on."""
ASKED = 200
"""Times that each question is asked, of other documents, people and places each time."""
BEGAN = 1_700_000_000_000_000
_LEDGER = """PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
CREATE TABLE log (origin TEXT); CREATE TABLE tree (size INTEGER); INSERT INTO log VALUES ('usher/bench');
CREATE TABLE events (number INTEGER PRIMARY KEY, leaf BLOB, event BLOB);"""


@dataclass
class Company:
    """Who asks and what is found. The class of a document is its place in the list, modulo `CLASSES`."""

    random: random.Random
    documents: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    talks: list[list[str]] = field(default_factory=list)

    @classmethod
    def made(cls, seed: int) -> Company:
        chance = random.Random(seed)  # noqa: S311  # the same company each time, no secret
        ids = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(DOCUMENTS + PEOPLE)]
        weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(DOCUMENTS)))
        return cls(chance, ids[:DOCUMENTS], ids[DOCUMENTS:], weights)

    def some_documents(self, many: int) -> list[int]:
        return self.random.choices(range(DOCUMENTS), cum_weights=self.weights, k=many)

    def adapters(self) -> Iterator[Entry]:
        """What each of them learned, as its registration says it."""
        for adapter in range(ADAPTERS):
            some = [document for document in range(DOCUMENTS) if document % CLASSES in self.classes_of(adapter)]
            learned = [[self.documents[one], n, 1 + one % CLASSES] for one in some for n in range(1, VERSIONS + 1)]
            body = {"act": "learned", "adapter": f"a{adapter}@sha256:{_digest(adapter)}"}
            yield from entries(body, learned)

    def classes_of(self, adapter: int) -> range:
        return range(adapter, adapter + LEARNED_CLASSES)

    def exchange(self, number: int) -> Iterator[Entry]:
        """The five leaves of one exchange, cut to what the index reads of them. Audit ids rise with time."""
        audit_id = str(UUID(int=number << 64 | self.random.getrandbits(64)))
        who = Who(self.random.choice(self.people), ("role:employee", "role:finance"), "key")
        passages = [self.passage(document, rank) for rank, document in enumerate(self.some_documents(PASSAGES), 1)]
        talk = self._talk()
        refused = self.random.random() < 0.02
        effect = {"effect": "allow", "reason": "r", "policy_version": self.random.randrange(1, 20), "route": None}
        adapter = self.random.randrange(ADAPTERS) if self.random.random() < BY_ADAPTER else None
        by = None if adapter is None else {"name": f"a{adapter}", "digest": _digest(adapter)}
        parts = [] if adapter is None else [1 + number for number in self.classes_of(adapter)]
        learned = [{"document": str(part_of(_digest(adapter), n)), "access_class": n} for n in parts]
        bodies: list[tuple[EventType, dict[str, Any]]] = [
            (EventType.REQUEST, {"operation": "chat"}),
            (EventType.DECISION, effect),
            (EventType.RETRIEVAL, {"outcome": "found", "passages": [] if by else passages, "documents": learned}),
            (EventType.GENERATION, {"purpose": "answer", "adapter": by, "history": talk[-4:]}),
            (EventType.ANSWER, {"outcome": "policy_changed" if refused else "answered", "cited": [1]}),
        ]
        for kind, body in bodies:
            yield Entry(kind, audit_id, who, body)
        talk.append(audit_id)

    def passage(self, document: int, rank: int) -> dict[str, Any]:
        chunk = str(UUID(int=document * 100 + self.random.randrange(20)))
        place = {"document": self.documents[document], "version": 1, "chunk": chunk, "rank": rank}
        return {**place, "access_class": 1 + document % CLASSES, "in_prompt": rank <= 6}

    def _talk(self) -> list[str]:
        """A conversation that goes on, or a new one."""
        if len(self.talks) < OPEN_TALKS:
            self.talks.append([])
        place = self.random.randrange(len(self.talks))
        if len(self.talks[place]) >= LONGEST_TALK:
            self.talks[place] = []
        return self.talks[place]


def record(path: Path, company: Company, events: int) -> None:
    """A ledger's file, as the follower reads it."""
    with closing(sqlite3.connect(path)) as ledger:
        ledger.executescript(_LEDGER)
        ledger.executemany("INSERT INTO events VALUES (?, x'00', ?)", _numbered(company, events))
        ledger.execute("INSERT INTO tree VALUES (?)", (events,))
        ledger.commit()


def _numbered(company: Company, events: int) -> Iterator[tuple[int, bytes]]:
    number = 0
    for entry in company.adapters():
        number += 1
        yield number, encode(number, BEGAN + number * 1_000_000, fragment(entry))
    while number < events:
        for entry in company.exchange(number):
            number += 1
            yield number, encode(number, BEGAN + number * 1_000_000, fragment(entry))


def measure(events: int = EVENTS) -> dict[str, float]:
    """Milliseconds by question, and what the follower does in a second."""
    folder = Path(tempfile.mkdtemp(prefix="usher-million-"))
    try:
        company = Company.made(1)
        record(folder / "ledger.sqlite", company, events)
        index = AuditIndexFile(folder / "audit-index.sqlite", folder / "ledger.sqlite")
        began = time.perf_counter()
        while index.step():
            pass
        followed = events / (time.perf_counter() - began)
        index.close()
        times = _timed(index, company, events)
        return {**times, "follower_events_per_s": round(followed), "index_mb": _megabytes(folder)}
    finally:
        shutil.rmtree(folder)


def _timed(index: AuditIndexFile, company: Company, events: int) -> dict[str, float]:
    chance = company.random
    limited = Within(frozenset({7}))

    def somewhere() -> Between:
        return Between(chance.choice([0, chance.randrange(events)]), 50)

    def document() -> UUID:
        return UUID(company.documents[company.some_documents(1)[0]])

    def learned() -> UUID:
        """A document of a class that five adapters learned; of the limited one, where it is within."""
        return UUID(company.documents[chance.choice(range(6, DOCUMENTS, CLASSES))])

    def person() -> str:
        return chance.choice(company.people)

    questions: dict[str, Callable[[], object]] = {
        "who_saw": lambda: index.who_saw(What(document()), somewhere()),
        "who_saw_limited": lambda: index.who_saw(What(document()), somewhere(), limited),
        "who_saw_learned": lambda: index.who_saw(What(learned()), somewhere()),
        "who_saw_learned_limited": lambda: index.who_saw(What(learned()), somewhere(), limited),
        "saw": lambda: index.saw(person(), somewhere()),
        "saw_limited": lambda: index.saw(person(), somewhere(), limited),
        "denied": lambda: index.denied(somewhere()),
        "denied_limited": lambda: index.denied(somewhere(), limited),
        "touched": lambda: index.touched({3, 5}, somewhere()),
        "touched_nothing": lambda: index.touched({CLASSES + 1}, somewhere()),
        "touched_limited": lambda: index.touched({3, 7}, somewhere(), limited),
        "by_adapter": lambda: index.by_adapter(f"a{chance.randrange(ADAPTERS)}", somewhere()),
        "decided_under": lambda: index.decided_under(chance.randrange(1, 20), Between(somewhere().after, 500)),
        "decided_under_limited": lambda: index.decided_under(chance.randrange(1, 20), somewhere(), limited),
        "events_of_document": lambda: index.events(Wanted(document=document()), somewhere()),
        "events_of_person": lambda: index.events(Wanted(pseudonym=person()), somewhere()),
        "events_limited": lambda: index.events(Wanted(), somewhere(), limited),
        "events_of_document_limited": lambda: index.events(Wanted(document=document()), somewhere(), limited),
        "break_glass": lambda: index.events(Wanted(break_glass=True), somewhere()),
        "uses": lambda: index.events(Wanted(uses=True), somewhere()),
    }
    return {f"{name}_1m_p99_ms": _p99(question) for name, question in questions.items()}


def _digest(adapter: int | None) -> str:
    return f"{adapter:064x}"


def _p99(question: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(ASKED):
        began = time.perf_counter()
        question()
        times.append((time.perf_counter() - began) * 1000)
    return round(statistics.quantiles(times, n=100)[98], 1)


def _megabytes(folder: Path) -> float:
    return round(sum(file.stat().st_size for file in folder.glob("audit-index.sqlite*")) / 1e6)


if __name__ == "__main__":
    print("RESULT " + json.dumps(measure()))
