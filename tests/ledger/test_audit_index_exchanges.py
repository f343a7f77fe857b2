"""Single exchanges from the reviewers' index: with what they showed, and what they inherited at any distance."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from usher.backends.audit_index_exchanges import exchanges, latest
from usher.backends.audit_index_store import store
from usher.backends.audit_index_tables import SCHEMA
from usher.ledger.shown import Begun, Inherits, Outcome, Row, Shown


def test_what_stood_in_no_prompt_is_inherited_by_nobody() -> None:
    """Two steps up, and only what those prompts held; of itself also what was only found."""
    rows: list[Row] = [Begun(n, "chat", f"x{n}", "t", "p-1", (), 1) for n in (1, 2, 3)]
    rows += [Shown(f"x{n}", 10 + n, p, f"d{n}{p}", 1, None, 1, p, p == 1) for n in (1, 2, 3) for p in (1, 2)]
    rows += [Inherits("x2", "x1"), Inherits("x3", "x2")]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as index:
        index.row_factory = sqlite3.Row
        index.executescript(SCHEMA)
        store(index, rows, ("origin", 13, b""))
        found = exchanges(index, ["x3", "x1", "gone"])
    assert [exchange.audit_id for exchange in found] == ["x1", "x3"]
    assert [(s.document, s.how, s.via, s.number) for s in found[1].shown] == [
        ("d31", "direct", None, 13),
        ("d32", "retrieved", None, 13),
        ("d11", "inherited", "x1", 11),
        ("d21", "inherited", "x2", 12),
    ]


def test_the_latest_are_those_that_have_ended() -> None:
    """The newest first, no view, and none that is still being answered."""
    rows: list[Row] = [Begun(n, "chat", f"x{n}", "t", "p-1", (), 1) for n in (1, 2, 3, 4)]
    rows += [Begun(5, "view", None, "t", "p-1", (), 1), *(Outcome(f"x{n}", "answered") for n in (1, 2, 3))]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as index:
        index.row_factory = sqlite3.Row
        index.executescript(SCHEMA)
        store(index, rows, ("origin", 13, b""))
        assert [latest(index, most) for most in (0, 2, 9)] == [[], ["x3", "x2"], ["x3", "x2", "x1"]]
