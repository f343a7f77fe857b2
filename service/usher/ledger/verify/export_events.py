"""What the events of an export must be for its query; and its table, which must say what they say."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from usher.ledger.record import leaf_hash
from usher.ledger.verify.export_files import LONGEST_LINE, BadExport
from usher.ledger.verify.export_manifest import Manifest
from usher.ledger.verify.findings import Findings

USER = "user"
_HEX = re.compile(r"[0-9a-f]{64}")
# As the writer's rule says it: a formula's first character, at the beginning or behind a separator.
_OPENS = set("=+-@\uff1d\uff0b\uff0d\uff20")
_BREAKS = set("\t\r\n")
_SEPARATES = set(";,|") | _BREAKS
_PASSED_OVER = set("\"'`\u200b\u00ad\ufeff")


@dataclass(frozen=True, slots=True)
class Line:
    """One event of an export: its leaf hash (computed, or only said where it was `cut`), and what it says."""

    number: int
    leaf: bytes
    text: str
    event: Mapping[str, Any]
    cut: bool


def read_line(data: bytes) -> Line:
    """Raises `BadExport`."""
    raw = data.removesuffix(b"\n")
    try:
        said = json.loads(raw)
        cut = isinstance(said, dict) and set(said) == {"cut", "event"}
        event = said["event"] if cut else said
        leaf = _hash(said["cut"]) if cut else leaf_hash(raw)
        number = event["number"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadExport("a line is no event") from None
    fits = isinstance(event, dict) and type(number) is int and number > 0 and isinstance(event.get("time"), str)
    if not fits or not data.endswith(b"\n"):
        raise BadExport("a line is no event")
    return Line(number, leaf, raw.decode(), event, cut)


def _hash(text: str) -> bytes:
    """Raises `TypeError` or `ValueError` for what is no hash in hexadecimal."""
    if not _HEX.fullmatch(text):
        raise ValueError("hash: not 64 hex digits")
    return bytes.fromhex(text)


class QueryCheck:
    """Each event has its place in the order and fits the query; `finish` says so of whole exchanges, and of all."""

    def __init__(self, manifest: Manifest, findings: Findings) -> None:
        self._manifest, self._query, self._findings = manifest, manifest.query, findings
        self._names = [n for n in (self._query["document"], self._query["pseudonym"]) if n is not None]
        self._missing: dict[str, tuple[int, set[str]]] = {}
        self.count, self.cut = 0, 0
        self.first: int | None = None
        self.last: int | None = None
        self._time = ""

    def check(self, line: Line) -> None:
        number, time = line.number, line.event["time"]
        if (self.last is not None and number <= self.last) or time <= self._time:
            self._findings.add("it is out of order", number)
        since, until = self._query["from"], self._query["to"]
        if (since is not None and time < since) or (until is not None and time >= until):
            self._findings.add("its time is not in the span that was asked for", number)
        if self._query["types"] and line.event.get("type") not in self._query["types"]:
            self._findings.add("it is of a type that was not asked for", number)
        if line.cut and self._manifest.body.get("cut") is not True:
            self._findings.add("it was cut, which the manifest does not say", number)
        self._named(line)
        self.count, self.first, self.last = self.count + 1, self.first or number, number
        self.cut, self._time = self.cut + line.cut, time

    def _named(self, line: Line) -> None:
        missing = {name for name in self._names if name not in line.text}
        exchange = line.event.get("audit_id")
        if not isinstance(exchange, str):
            if missing:
                self._findings.add("it names nothing of what was asked for", line.number)
            return
        before = self._missing.get(exchange, (line.number, set(self._names)))
        self._missing[exchange] = (before[0], before[1] & missing)

    def unnamed(self) -> list[int]:
        """The first events of exchanges of which none names what was asked for."""
        return sorted(number for number, missing in self._missing.values() if missing)

    def finish(self) -> None:
        if not self._query["types"]:
            for number in self.unnamed()[:10]:
                self._findings.add("its exchange names nothing of what was asked for", number)
        said = tuple(self._manifest.body.get(name) for name in ("count", "first", "last"))
        if said != (self.count, self.first, self.last):
            self._findings.add("the number of its events, the first or the last is not what the manifest says")


class TableCheck:
    """The table has one row for each event, in their order, made of what the event says and nothing else."""

    def __init__(self, lines: Iterable[str], manifest: Manifest, people: Mapping[str, Any], findings: Findings) -> None:
        csv.field_size_limit(LONGEST_LINE)  # for the whole process: an event may list more than the usual limit
        self._rows, self._columns = csv.reader(lines, strict=True), manifest.columns or {}
        self._people, self._findings = people, findings
        self._given_up = False
        if self._next() != list(self._columns):
            self._wrong("the table's first row is not the names of the columns")

    def check(self, line: Line) -> None:
        if not self._given_up and self._next() != self._row(line.event):
            self._wrong(f"the table's row of event {line.number} is not what the event says")

    def finish(self) -> None:
        if not self._given_up and self._next() is not None:
            self._wrong("the table has rows of no event")

    def _next(self) -> list[str] | None:
        try:
            return next(self._rows, None)
        except (csv.Error, UnicodeDecodeError):
            return ["", "it is no table"]

    def _wrong(self, problem: str) -> None:
        self._findings.add(problem)
        self._given_up = True

    def _row(self, event: Mapping[str, Any]) -> list[str]:
        row = []
        for name, pointers in self._columns.items():
            found = [text for pointer in pointers for text in _texts(event, pointer.split("/")[1:])]
            if name == USER and not pointers:
                found = [str(self._people.get(next(_texts(event, ["who", "pseudonym"]), ""), ""))]
            row.append(_harmless(" ".join(dict.fromkeys(found))))
        return row


def _texts(value: Any, keys: Sequence[str]) -> Iterator[str]:
    """What a JSON pointer leads to, `*` being each element, as texts."""
    if not keys:
        if value is not None:
            yield value if isinstance(value, str) else json.dumps(value)
    elif isinstance(value, list) and keys[0] == "*":
        for element in value:
            yield from _texts(element, keys[1:])
    elif isinstance(value, dict) and keys[0] in value:
        yield from _texts(value[keys[0]], keys[1:])


def _harmless(text: str) -> str:
    """A text as a cell: with a `'` wherever a spreadsheet could see a formula begin."""
    if text.isalnum() or not (_OPENS & set(text) or _BREAKS & set(text)):
        return text
    made = []
    for place in range(len(text) + 1):
        if (place == 0 or text[place - 1] in _SEPARATES) and _begins_formula(text, place):
            made.append("'")
        made.append(text[place : place + 1])
    return "".join(made)


def _begins_formula(text: str, place: int) -> bool:
    if text[place : place + 1] in _BREAKS:
        return True
    while place < len(text) and (text[place] in _PASSED_OVER or text[place].isspace()):
        place += 1
    return place < len(text) and text[place] in _OPENS
