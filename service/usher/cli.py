"""The command line. Exit codes: 0 done, 1 refused or a check failed, 2 bad usage."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from usher import (
    cli_adapter,
    cli_adapter_data,
    cli_adapter_retrieval,
    cli_adapter_serve,
    cli_adapter_train,
    cli_audit,
    cli_audit_ask,
    cli_audit_case,
    cli_audit_database,
    cli_audit_erase,
    cli_audit_export,
    cli_audit_hold,
    cli_audit_proof,
    cli_audit_proposals,
    cli_audit_replay,
    cli_audit_report,
    cli_audit_verify,
    cli_documents,
    cli_people,
    cli_policy,
    cli_policy_changes,
    cli_policy_versions,
    cli_policy_views,
    cli_route,
    cli_store,
    cli_system,
    cli_who_saw,
)
from usher.cli_output import dump, warn
from usher.errors import DatabaseUnavailable, DataFolderBusy, UserError

REFUSED = 1
BAD_USAGE = 2

app = typer.Typer(
    name="usher",
    help="The backend of an enterprise chatbot that knows who is asking.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(cli_system.init)
app.command()(cli_system.serve)
app.command()(cli_system.doctor)
app.command()(cli_store.store)
app.command()(cli_documents.ingest)
app.command()(cli_documents.ask)
app.command()(cli_documents.search)
app.add_typer(cli_people.person, name="person")
app.add_typer(cli_route.route, name="route")
app.add_typer(cli_people.key, name="key")
cli_policy_changes.add_to(cli_policy.policy)
cli_policy_versions.add_to(cli_policy.policy)
cli_policy_views.add_to(cli_policy.policy)
app.add_typer(cli_policy.policy, name="policy")
cli_audit.audit.command("verify")(cli_audit_verify.verify)
cli_audit.audit.command("prepare-database")(cli_audit_database.prepare_database)
cli_audit.audit.command("proof")(cli_audit_proof.proof)
cli_audit.audit.command("consistency")(cli_audit_proof.consistency)
cli_audit.audit.command("check-proof")(cli_audit_proof.check_proof)
cli_audit.audit.command("who-saw")(cli_who_saw.who_saw)
cli_audit_ask.add_to(cli_audit.audit)
cli_audit.audit.command("export")(cli_audit_export.export)
cli_audit.audit.command("report")(cli_audit_report.report)
cli_audit.audit.command("replay")(cli_audit_replay.replay)
cli_audit.audit.add_typer(cli_audit_case.case, name="case")
cli_audit_hold.add_to(cli_audit.audit)
cli_audit_erase.add_to(cli_audit.audit)
cli_audit_proposals.add_to(cli_audit.audit)
app.add_typer(cli_audit.audit, name="audit")
for adapter_part in (cli_adapter_data, cli_adapter_train, cli_adapter_retrieval, cli_adapter, cli_adapter_serve):
    adapter_part.add_to(cli_adapter.adapter)
app.add_typer(cli_adapter.adapter, name="adapter")


@app.callback()
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True)] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"usher {installed('usher')}")
        raise typer.Exit


def main() -> None:
    """The program `usher`."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        code = _told(error)
        if code is None:
            raise
        sys.exit(code)


def _told(error: Exception) -> int | None:
    """Print an error that has words for the user; the exit code, or None for one that has none."""
    from usher.cli_road import Refused

    if isinstance(error, Refused):
        return _tell(str(error), error.problem, REFUSED)
    if isinstance(error, UserError):
        told = {"field": error.field, "problem": error.problem, "remedy": error.remedy}
        return _tell(str(error), told, REFUSED if isinstance(error, DataFolderBusy) else BAD_USAGE)
    if isinstance(error, _errors_of_opening()):
        problem = f"{_part(error)}{error}"
        return _tell(problem, {"problem": problem}, REFUSED)
    return _told_of_database(error)


def _errors_of_opening() -> tuple[type[Exception], ...]:
    """What opening the data folder raises besides `UserError`; imported only once something has gone wrong."""
    from usher.backends.embed_onnx import EmbedderUnavailable
    from usher.backends.index_identity import IndexRefused
    from usher.backends.keyring import KeyRingError
    from usher.backends.sql import NewerData
    from usher.ledger.log import LedgerDamaged, LedgerUnavailable, LogFailed
    from usher.ports import StoreUnavailable

    ledger = (LedgerDamaged, LedgerUnavailable, LogFailed)
    parts = (DatabaseUnavailable, EmbedderUnavailable, StoreUnavailable)
    return (*parts, IndexRefused, KeyRingError, NewerData, *ledger)


def _part(error: Exception) -> str:
    from usher.ledger.log import LogFailed

    return "ledger: " if isinstance(error, LogFailed) else ""


def _told_of_database(error: Exception) -> int | None:
    from sqlalchemy.exc import DBAPIError

    if not isinstance(error, DBAPIError):
        return None
    problem = f"a database cannot be opened ({type(error.orig).__name__})"
    remedy = "run `usher doctor` and `usher audit verify`"
    return _tell(f"{problem}: {remedy}", {"problem": problem, "remedy": remedy}, REFUSED)


def _tell(message: str, as_json: Mapping[str, object], code: int) -> int:
    if "--json" in sys.argv:
        dump({"error": as_json})
    else:
        warn(f"usher: {message}")
    return code
