"""`usher audit prepare-database`: the ledger's tables in PostgreSQL, for a role that adds to the record only."""

from __future__ import annotations

from typing import Annotated

import typer

from usher.cli_output import Json, dump, say
from usher.errors import UserError

_POSTGRESQL = ("postgresql://", "postgresql+psycopg://")


def prepare_database(
    owner_url: Annotated[
        str,
        typer.Option(help="The database, as a role that may make a schema. Its password is best in PGPASSWORD."),
    ],
    role: Annotated[str, typer.Option(help="The role of USHER_LEDGER_URL, which must be there already.")],
    json: Json = False,
) -> None:
    """Make the ledger's tables in PostgreSQL where they are missing, and let a server's role use them.

    It may add events and checkpoints, and neither change nor remove any. To be run before the first start and after
    each upgrade.
    """
    if not owner_url.startswith(_POSTGRESQL):
        raise UserError("--owner-url", "is of no PostgreSQL database", "give one that begins with postgresql://")
    from usher.backends.ledger_pg_prepare import prepared
    from usher.ledger.log import LedgerDamaged, LogFailed

    try:
        origin = prepared(owner_url, role)
    except (LogFailed, LedgerDamaged) as error:
        raise UserError("--owner-url", f"cannot be prepared ({error})", "correct that, and run this again") from None
    if json:
        dump({"origin": origin, "role": role})
    else:
        say(f"the ledger {origin} is there, and {role} adds to it; set USHER_LEDGER_URL to that role's URL")
