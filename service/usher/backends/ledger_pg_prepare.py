"""The owner's part in a ledger in PostgreSQL: its tables, and the rights of the servers' role."""

from __future__ import annotations

from contextlib import closing

from usher.backends.ledger_pg_connection import Connection, connected, failing
from usher.backends.ledger_pg_tables import prepare
from usher.ledger.log import LogFailed

_IDLE_SECONDS = 60
_MAY_CHANGE = """
SELECT bool_or(has_table_privilege(%(role)s, 'usher_ledger.' || name, right_))
FROM unnest(ARRAY['events', 'checkpoints', 'log']) AS name, unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS right_
"""


def begun(url: str) -> bool:
    """Whether something was recorded there. Raises `LogFailed`."""
    with failing(), closing(connected(url, _IDLE_SECONDS)) as connection:
        if not _one(connection, "SELECT to_regclass('usher_ledger.tree') IS NOT NULL"):
            return False
        return bool(_one(connection, "SELECT mac <> '' FROM tree"))


def prepared(owner_url: str, role: str) -> str:
    """Make the tables where they are missing, give the role its rights, and return the log's origin.

    Raises `LogFailed`, also for a role that could change the record all the same (an owner or a superuser can), and
    `LedgerDamaged` for tables of a newer version.
    """
    with failing(), closing(connected(owner_url, _IDLE_SECONDS)) as connection:
        if not _one(connection, "SELECT count(*) > 0 FROM pg_roles WHERE rolname = %(role)s", role):
            raise LogFailed("there is no such role; make it with CREATE ROLE … LOGIN")
        prepare(connection, role)
        if _one(connection, _MAY_CHANGE, role):
            raise LogFailed("this role could change the record, as its owner or a superuser; name another one")
        return str(_one(connection, "SELECT origin FROM log", role))


def _one(connection: Connection, query: str, role: str = "") -> object:
    row = connection.execute(query, {"role": role}).fetchone()
    return row and row[0]
