"""Taking the text out of stored content rows, so that the old bytes are in no file of SQLite's any more."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, update

from usher.backends.ledger_tables import subjects
from usher.ledger.record import remains

_ONE = "WHERE audit_id = ? AND position = ?"


def drop(connection: Connection, rows: Sequence[tuple[str, int]]) -> None:
    """Keep of these rows' ciphertexts only what `remains` of them. Freed bytes are zeroed (`secure_delete`)."""
    run = connection.exec_driver_sql
    for row in rows:
        found = run(f"SELECT ciphertext FROM content {_ONE}", row).first()  # noqa: S608  # a constant
        if found is not None:
            run(f"UPDATE content SET ciphertext = ? {_ONE}", (remains(found[0]), *row))  # noqa: S608  # a constant


def rewrap(connection: Connection, keys: Sequence[tuple[str, bytes]]) -> None:
    """Store these subjects' keys, wrapped anew; an empty key takes the sealed name and the look-up away too."""
    this = update(subjects).where(subjects.c.pseudonym == bindparam("whose"))
    kept = [{"whose": pseudonym, "wrapped_key": key} for pseudonym, key in keys if key]
    if kept:
        connection.execute(this.values(wrapped_key=bindparam("wrapped_key")), kept)
    for pseudonym, key in keys:
        if not key:
            gone = {"lookup": pseudonym.encode(), "wrapped_key": b"", "sealed_name": b""}
            connection.execute(this.values(**gone), {"whose": pseudonym})


def emptied(connection: Connection) -> bool:
    """Move the write-ahead log, which has the old pages, into the file, and cut it to nothing. False while somebody
    reads an older state: nobody is waited for."""
    run = connection.exec_driver_sql
    patience = run("PRAGMA busy_timeout").scalar_one()
    run("PRAGMA busy_timeout = 0")
    try:
        busy, _, _ = run("PRAGMA wal_checkpoint(TRUNCATE)").one()
    finally:
        run(f"PRAGMA busy_timeout = {patience:d}")
        connection.rollback()
    return not busy
