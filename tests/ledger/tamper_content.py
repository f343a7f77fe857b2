"""What somebody does to the content beside the events."""

from __future__ import annotations

import json

from tests.ledger.tamper_acts import flipped
from tests.ledger.tamper_kit import Act, Case, Rows

_ROWS = "SELECT audit_id, position, kind, conversation, pseudonym, commitment, ciphertext FROM content ORDER BY 1, 2"
Content = dict[str, list[tuple[object, ...]]]


def ciphertext(case: Case) -> None:
    rowid, data = case.chance.choice(case.run("SELECT rowid, ciphertext FROM content"))
    case.run("UPDATE content SET ciphertext = ? WHERE rowid = ?", flipped(data, case), rowid)


def commitment(case: Case) -> None:
    rowid, data = case.chance.choice(case.run("SELECT rowid, commitment FROM content"))
    case.run("UPDATE content SET commitment = ? WHERE rowid = ?", flipped(data, case), rowid)


def row_gone(case: Case) -> None:
    case.run("DELETE FROM content WHERE rowid = ?", picked(case))


def row_of_another_exchange(case: Case) -> None:
    one, other = case.chance.sample(exchanges(case), 2)
    case.run("UPDATE content SET audit_id = ?, position = 2 WHERE audit_id = ? AND position = 1", other, one)


def row_added(case: Case) -> None:
    ident = case.chance.choice(exchanges(case))
    values = "audit_id, 2, kind, conversation, pseudonym, commitment, ciphertext"
    case.run(f"INSERT INTO content SELECT {values} FROM content WHERE audit_id = ? AND position = 1", ident)  # noqa: S608  # a test's own


def rows_in_another_order(case: Case) -> None:
    ident = case.chance.choice(exchanges(case))
    for old, new in ((0, 9), (1, 0), (9, 1)):
        case.run("UPDATE content SET position = ? WHERE audit_id = ? AND position = ?", new, ident, old)


def ciphertexts_exchanged(case: Case) -> None:
    (one, first), (other, second) = case.chance.sample(case.run("SELECT rowid, ciphertext FROM content"), 2)
    case.run("UPDATE content SET ciphertext = ? WHERE rowid = ?", second, one)
    case.run("UPDATE content SET ciphertext = ? WHERE rowid = ?", first, other)


def person(case: Case) -> None:
    case.run("UPDATE content SET pseudonym = 'somebody' WHERE rowid = ?", picked(case))


CONTENT: list[Act] = [
    *(ciphertext, commitment, row_gone, row_of_another_exchange, row_added, rows_in_another_order),
    *(ciphertexts_exchanged, person),
]


def picked(case: Case) -> int:
    return int(case.chance.choice(case.run("SELECT rowid FROM content"))[0])


def exchanges(case: Case) -> list[str]:
    return [ident for (ident,) in case.run("SELECT DISTINCT audit_id FROM content ORDER BY 1")]


def content_of(case: Case) -> Content:
    found: Content = {}
    for row in case.run(_ROWS):
        found.setdefault(row[0], []).append(row)
    return found


def committing(rows: Rows, before: Content, after: Content) -> int:
    """The first event that ends an exchange whose rows are others than they were."""
    others = [ident for ident in {*before, *after} if before.get(ident) != after.get(ident)]
    ends = {event["audit_id"]: event["number"] for event in map(parsed, rows.values()) if event["type"] == "answer"}
    return min(ends[ident] for ident in others)


def parsed(row: tuple[object, bytes]) -> dict[str, object]:
    event: dict[str, object] = json.loads(row[1])
    return event
