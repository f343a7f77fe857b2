"""The events of the log by whom and what they are about: found in the index, read from the ledger."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from usher.backends.audit_index_ledger import Followed
from usher.backends.audit_index_reach import MANY, SCAN, about_any, at_once, covers, known, listed, shown_as
from usher.core.event_cut import ABOUT_NO_DOCUMENT, cut
from usher.ledger.record import EXCHANGE_TYPES, EventType
from usher.ports.audit_index import Between, Wanted, Within

OF_DOCUMENTS = ("document", "label")
"""Events about one document that somebody with a limited right may know of."""
OF_ENTRIES = frozenset({*EXCHANGE_TYPES, EventType.VIEW, EventType.FEEDBACK})
"""Events of exchanges and views, and about them; all others are acts of their own."""
_CANDIDATES = """
SELECT number, node, NULL AS document, NULL AS about FROM steps WHERE {steps} AND number > :after
UNION ALL SELECT number, NULL, document, node FROM acts WHERE {acts} AND number > :after ORDER BY number
"""
_FOUND_IT = (
    "SELECT node FROM shown s WHERE document IN (SELECT value FROM json_each(:ids))"
    " AND (:reach IS NULL OR access_class IN (SELECT value FROM json_each(:reach)))"
)
"""Whoever may not know of the document, or not of what it was then, does not learn who found it."""
_OF_REACH = (
    "(type IN (SELECT value FROM json_each(:of_documents)) AND access_class IN (SELECT value FROM json_each(:reach)))"
)
_OF_NONE = "(type IN (SELECT value FROM json_each(:of_none)) AND document IS NULL)"
_A_USE = "type = 'audit_read'"
_OF_SOMETHING = "(document IS NOT NULL OR node IS NOT NULL)"
_SHOWN = "SELECT node, rank, document, access_class FROM shown WHERE node IN (SELECT value FROM json_each(:nodes))"
_EARLIER = (
    "SELECT i.node, i.earlier, x.audit_id FROM inherits i JOIN entries x ON x.number = i.earlier"
    " WHERE i.node IN (SELECT value FROM json_each(:nodes))"
)

Event = Mapping[str, Any]
Answer = tuple[list[Event], int | None, set[str]]


def events(
    index: sqlite3.Connection, ledger: Followed, wanted: Wanted, between: Between, within: Within | None
) -> Answer:
    """The events, the number to go on after, and the documents by which they may be known of."""
    steps, acts, values = _conditions(index, wanted, within)
    rows = index.execute(_CANDIDATES.format(steps=steps, acts=acts), {**values, "after": between.after})
    found: list[Event] = []
    through: set[str] = set()
    scanned = 0
    while some := list(islice(rows, at_once(within))):
        scanned += len(some)
        may = None if within is None else _Known.of(index, some, within)
        through |= set() if may is None else may.through
        for event in _read(ledger, [row["number"] for row in some]):
            if between.until is not None and event["time"] >= between.until:
                return found, None, through
            if not _is_wanted(event, wanted, between) or (may is not None and not may.has(event)):
                continue
            if len(found) == between.limit:
                return found, found[-1]["number"], through
            found.append(event if may is None else may.cut(event))
        if scanned >= SCAN:
            return found, some[-1]["number"], through
    return found, None, through


def _conditions(index: sqlite3.Connection, wanted: Wanted, within: Within | None) -> tuple[str, str, dict[str, Any]]:
    """Which events of entries, which others, and the values of both conditions."""
    steps, acts = ["TRUE"], ["TRUE"]
    document = None if wanted.document is None else str(wanted.document)
    values: dict[str, Any] = {"document": document, "pseudonym": wanted.pseudonym, "reach": None}
    if within is not None:
        condition, reach = about_any(index, "reach", within.classes, "steps.node", ahead=False)
        values |= {**reach, "of_documents": listed(OF_DOCUMENTS), "of_none": listed(sorted(ABOUT_NO_DOCUMENT))}
        steps.append("TRUE" if within.everything else condition)
        acts.append(_which_acts(wanted, within))
        if document in within.hidden:
            return "FALSE", "FALSE", values
    if wanted.document is not None:
        values["ids"] = listed(shown_as(index, document, within))
        steps.append(_of_document(index, values))
        acts.append("document = :document")
    if wanted.pseudonym is not None:
        steps.append("node IN (SELECT number FROM entries WHERE pseudonym = :pseudonym)")
        acts.append(
            "number IN (SELECT number FROM acts WHERE pseudonym = :pseudonym"
            " UNION SELECT number FROM acts WHERE subject = :pseudonym)"
        )
    if wanted.break_glass:
        steps.append("FALSE")
        acts.append("break_glass")
    if wanted.uses:
        steps.append("FALSE")
        acts.append(_A_USE)
    if wanted.types:
        steps += [] if wanted.types & OF_ENTRIES else ["FALSE"]
        acts.append("type IN (SELECT value FROM json_each(:types))")
        values["types"] = listed(sorted(wanted.types))
    return " AND ".join(steps), " AND ".join(acts), values


def _which_acts(wanted: Wanted, within: Within) -> str:
    """Which events that are of no entry may be known of, if what they are about is within reach."""
    if wanted.uses:
        return "TRUE" if within.everything else _OF_SOMETHING
    return f"({_OF_REACH} OR {_OF_NONE})" if within.everything else _OF_REACH


def _of_document(index: sqlite3.Connection, values: Mapping[str, Any]) -> str:
    count = f"SELECT count(*) FROM ({_FOUND_IT} LIMIT {MANY + 1})"  # noqa: S608  # constants only
    if index.execute(count, values).fetchone()[0] > MANY:
        return f"EXISTS ({_FOUND_IT} AND s.node = steps.node)"
    return f"node IN ({_FOUND_IT})"


def _read(ledger: Followed, numbers: Sequence[int]) -> Iterator[Event]:
    for event in ledger.events(numbers):
        yield json.loads(event)


def _is_wanted(event: Event, wanted: Wanted, between: Between) -> bool:
    if between.since is not None and event["time"] < between.since:
        return False
    if wanted.types and event["type"] not in wanted.types:
        return False
    return wanted.outcome is None or event.get("outcome") == wanted.outcome


@dataclass
class _Known:
    """What may be known of some events: the `entries` by node, of which they are by number; the `documents` of the
    others, None for one that is about none, and the entries that they are `about`; `earlier` exchanges, and the ranks
    of the passages within reach by node."""

    within: Within
    node_of: Mapping[int, int]
    entries: Mapping[int, frozenset[str]]
    documents: Mapping[int, str | None]
    about: Mapping[int, int]
    earlier: frozenset[str]
    ranks: Mapping[int, set[int]]
    through: set[str]

    @classmethod
    def of(cls, index: sqlite3.Connection, rows: Sequence[sqlite3.Row], within: Within) -> _Known:
        node_of = {row["number"]: row["node"] for row in rows if row["node"] is not None}
        documents = {row["number"]: row["document"] for row in rows if row["node"] is None}
        about = {row["number"]: row["about"] for row in rows if row["about"] is not None}
        nodes = sorted({*node_of.values(), *about.values()})
        given = {"nodes": listed(nodes)}
        before = index.execute(_EARLIER, given).fetchall()
        entries = known(index, sorted({*nodes, *(row["earlier"] for row in before)}), within)
        earlier = frozenset(row["audit_id"] for row in before if row["earlier"] in entries)
        ranks: dict[int, set[int]] = {node: set() for node in nodes}
        for row in index.execute(_SHOWN, given):
            if covers(within, row["document"], row["access_class"]):
                ranks[row["node"]].add(row["rank"])
        through = set().union(*entries.values(), {one for one in documents.values() if one} - within.hidden)
        return cls(within, node_of, entries, documents, about, earlier, ranks, through)

    def has(self, event: Event) -> bool:
        number = event["number"]
        if number in self.documents:
            named = self.documents[number] not in self.within.hidden
            return named and (number not in self.about or self.about[number] in self.entries)
        return self.node_of[number] in self.entries

    def cut(self, event: Event) -> dict[str, Any]:
        ranks = self.ranks.get(self.node_of.get(event["number"], 0), set())
        return cut(event, self._covers, self.earlier, ranks)

    def _covers(self, passage: Mapping[str, Any]) -> bool:
        return covers(self.within, passage.get("document"), passage.get("access_class"))
