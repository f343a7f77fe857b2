"""Which events fit the query of an export, as its verifier sees it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from usher.core.csv_safe import COLUMNS, cells, header, line
from usher.ledger.verify.export_events import QueryCheck, TableCheck, read_line
from usher.ledger.verify.export_files import BadExport
from usher.ledger.verify.export_manifest import FORMAT, read_manifest
from usher.ledger.verify.findings import Findings


def checked(events: list[dict[str, Any]], **query: Any) -> Findings:
    asked = {"from": None, "to": None, "types": [], "document": None, "pseudonym": None, **query}
    ends = {"count": len(events), "first": events[0]["number"], "last": events[-1]["number"]}
    body = {"format": FORMAT, "origin": "o", "query": asked, "files": {}, "checkpoint": "", "columns": None, **ends}
    findings = Findings()
    check = QueryCheck(read_manifest(json.dumps(body).encode()), findings)
    for event in events:
        check.check(read_line(json.dumps(event).encode() + b"\n"))
    check.finish()
    return findings


def event(number: int, exchange: str | None = "x", **more: Any) -> dict[str, Any]:
    return {"number": number, "time": f"t{number}", "type": "request", "audit_id": exchange, **more}


def test_an_exchange_fits_by_any_of_its_events() -> None:
    """Wherever it stands among them; another exchange, or an event of none, does not fit by it."""
    assert checked([event(1), event(2, document="doc-7"), event(3)], document="doc-7").clean
    assert checked([event(1, document="doc-7"), event(2, who="p-1")], document="doc-7", pseudonym="p-1").clean
    assert checked([event(1, document="doc-7"), event(2, "y"), event(3, "y")], document="doc-7").first_bad == 2
    assert checked([event(1, document="doc-7"), event(2, None)], document="doc-7").first_bad == 2
    assert checked([event(1, document="doc-7"), event(2)], document="doc-7", pseudonym="p-1").first_bad == 1


def test_of_other_types_an_exchange_may_be_named_by_what_is_not_there() -> None:
    """Which the verifier tells, and does not find wrong."""
    assert checked([event(1), event(2)], document="doc-7", types=["request"]).clean


@pytest.mark.parametrize("order", [(2, 1), (1, 1)])
def test_events_rise_in_number_and_in_time(order: tuple[int, int]) -> None:
    """Strictly, both of them."""
    assert not checked([event(order[0]), event(order[1])]).clean
    assert checked([event(1), {**event(2), "time": "t1"}]).first_bad == 2


@pytest.mark.parametrize(
    "line",
    [
        b'{"number":1,"time":"t"}',
        b"\n",
        b"[1]\n",
        b'{"number":true,"time":"t"}\n',
        b'{"number":0,"time":"t"}\n',
        b'{"number":1}\n',
        b'{"cut":"00","event":{"number":1,"time":"t"}}\n',
        b'{"cut":5,"event":{"number":1,"time":"t"}}\n',
        b'{"cut":"' + b"a" * 64 + b'","event":[]}\n',
        b"\xff\n",
        b"[" * 100_000 + b"\n",
    ],
    ids=range(11),
)
def test_a_line_that_is_no_event_is_refused(line: bytes) -> None:
    """Whatever it is instead."""
    with pytest.raises(BadExport):
        read_line(line)


def test_a_row_may_be_as_long_as_its_event() -> None:
    """One that lists more documents than a reader of tables takes by itself."""
    many = {"documents": [{"document": str(UUID(int=n))} for n in range(10_000)]}
    body = {"format": FORMAT, "origin": "o", "files": {}, "checkpoint": "", "columns": COLUMNS}
    body["query"] = {"from": None, "to": None, "types": [], "document": None, "pseudonym": None}
    findings = Findings()
    written = [line(header(names=False)), line(cells(event(1, **many)))]
    check = TableCheck(written, read_manifest(json.dumps(body).encode()), {}, findings)
    check.check(read_line(json.dumps(event(1, **many)).encode() + b"\n"))
    check.finish()
    assert findings.problems == []
