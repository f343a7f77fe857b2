"""Rows of the reviewers' index as what a question is answered with. Rows are by name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from usher.core.learned import names_part
from usher.ports.audit_index import INHERITED, Denial, Seen, ShownPassage


def denial(row: sqlite3.Row) -> Denial:
    return Denial(
        number=row["denial"],
        time=row["time"],
        kind=row["kind"],
        audit_id=row["audit_id"],
        pseudonym=row["pseudonym"],
        reason=row["reason"],
        action=row["action"],
        object=row["object"],
        outcome=row["outcome"],
        policy_version=row["policy_version"],
    )


def entry(
    row: sqlite3.Row,
    passages: Mapping[int, list[sqlite3.Row]],
    earlier: Mapping[int, list[sqlite3.Row]],
    asked: str | None,
) -> Seen:
    """An entry with what it showed and what it inherits from, by node; `asked` is the document that was asked for."""
    number = row["number"]
    return Seen(
        number=number,
        time=row["time"],
        kind=row["kind"],
        audit_id=row["audit_id"],
        pseudonym=row["pseudonym"],
        outcome=row["outcome"],
        policy_version=row["policy_version"],
        route=row["route"],
        model=row["model"],
        adapter=row["adapter"],
        how=row["how"],
        via=row["via"] if row["how"] == INHERITED else None,
        earlier=tuple(other["audit_id"] for other in earlier[number]),
        passages=tuple(_passage(one, asked) for one in passages[number]),
        roles=tuple(json.loads(row["roles"])),
    )


def _passage(row: sqlite3.Row, asked: str | None) -> ShownPassage:
    in_prompt = None if row["in_prompt"] is None else bool(row["in_prompt"])
    learned = names_part(row["document"])
    document = asked if learned and asked is not None else row["document"]
    place = (document, row["version"], row["chunk"], row["access_class"], row["rank"])
    return ShownPassage(*place, in_prompt, bool(row["cited"]), learned)
