"""`usher audit who-saw`: who was shown a document, and in which answer."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say, table, warn
from usher.cli_road import ask_operator, run
from usher.errors import UserError
from usher.ports.audit_index import LEARNED
from usher.settings import read_settings

COLUMNS = ("number", "time", "how", "kind", "user", "pseudonym", "audit_id", "via")


def who_saw(
    document: Annotated[str | None, typer.Argument(help="The document's id.")] = None,
    path: Annotated[str | None, typer.Option(help="Its path in its source, instead of the id.")] = None,
    source: Annotated[str | None, typer.Option(help="The path's source, where several have such a path.")] = None,
    version: Annotated[int | None, typer.Option(help="Only passages of this version.")] = None,
    passage: Annotated[str | None, typer.Option(help="Only this passage, by its id.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="From this instant on, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Up to this instant.")] = None,
    after: Annotated[int | None, typer.Option(help="Go on after this entry's number.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    names: Annotated[bool, typer.Option("--names", help="People's names beside their pseudonyms.")] = False,
    json: Json = False,
) -> None:
    """Who was shown a document, directly, by way of an earlier answer, or by an adapter that had learned it (then that
    is named under `via`). This question is itself recorded."""
    if (document is None) == (path is None):
        raise UserError("DOCUMENT", "and --path are two ways to ask", "give one of the two")
    given = {
        "document": document,
        "path": path,
        "source": source,
        "version": version,
        "passage": passage,
        "from": since,
        "to": until,
        "after": after,
        "limit": limit,
        "names": "true" if names else None,
    }
    params = {name: str(value) for name, value in given.items() if value is not None}
    answer = run(ask_operator(read_settings(), "GET", "/operator/audit/who-saw", params=params))
    if json:
        dump(answer)
        return
    _tell(answer, names)


def _tell(answer: dict[str, Any], names: bool) -> None:
    entries = [one | {"via": one["adapter"] if one["how"] == LEARNED else one["via"]} for one in answer["entries"]]
    table(entries, [column for column in COLUMNS if names or column != "user"])
    if answer["next"] is not None:
        say(f"more: --after {answer['next']}")
    if not answer["complete"]:
        warn(f"the index has {answer['indexed']} of {answer['size']} events yet: ask again in a while")
