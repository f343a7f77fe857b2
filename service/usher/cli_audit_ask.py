"""`usher audit …`: the reviewers' questions, asked as the operator. Each is itself recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from usher.cli_output import Json, bullets, dump, say, table, warn
from usher.cli_road import ask_operator, run
from usher.errors import UserError
from usher.settings import read_settings

Since = Annotated[str | None, typer.Option("--from", help="From this instant on, ISO 8601.")]
Until = Annotated[str | None, typer.Option("--to", help="Up to this instant.")]
After = Annotated[int | None, typer.Option(help="Go on after this number.")]
Limit = Annotated[int, typer.Option(min=1, max=500)]
Names = Annotated[bool, typer.Option("--names", help="People's names beside their pseudonyms, and documents' paths.")]

SEEN = ("number", "time", "kind", "user", "pseudonym", "audit_id", "outcome", "documents")
DENIALS = ("number", "time", "kind", "user", "pseudonym", "audit_id", "reason", "action", "object")
NARROWED = ("number", "time", "kind", "user", "pseudonym", "audit_id", "asking", "passages")
USES = ("number", "time", "actor", "user", "pseudonym", "question", "asked", "reason")
EVENTS = ("number", "time", "type", "outcome", "audit_id")


def saw(
    person: Annotated[str | None, typer.Argument(help="The user.")] = None,
    pseudonym: Annotated[str | None, typer.Option(help="Their pseudonym, instead.")] = None,
    since: Since = None,
    until: Until = None,
    after: After = None,
    limit: Limit = 50,
    names: Names = False,
    json: Json = False,
) -> None:
    """What somebody was shown, in questions, searches and views."""
    if (person is None) == (pseudonym is None):
        raise UserError("PERSON", "and --pseudonym are two ways to ask", "give one of the two")
    asked = {"person": person, "pseudonym": pseudonym, "from": since, "to": until, "after": after, "limit": limit}
    _tell(_asked("saw", asked, names), SEEN, names, json)


def denied(
    since: Since = None,
    until: Until = None,
    after: After = None,
    limit: Limit = 50,
    names: Names = False,
    json: Json = False,
) -> None:
    """Everything that was denied or refused, and why."""
    asked = {"from": since, "to": until, "after": after, "limit": limit}
    _tell(_asked("denied", asked, names), DENIALS, names, json)


def by_adapter(
    adapter: Annotated[str, typer.Argument(help="Its name in the policy, or its served name with its digest.")],
    since: Since = None,
    until: Until = None,
    after: After = None,
    limit: Limit = 50,
    names: Names = False,
    json: Json = False,
) -> None:
    """Every answer of an adapter."""
    asked = {"adapter": adapter, "from": since, "to": until, "after": after, "limit": limit}
    _tell(_asked("by-adapter", asked, names), SEEN, names, json)


def touched(
    marking: Annotated[str, typer.Argument(help="Such as mark:pii.")],
    since: Since = None,
    until: Until = None,
    after: After = None,
    limit: Limit = 50,
    names: Names = False,
    json: Json = False,
) -> None:
    """Whatever found, showed or inherited a document that had a marking then."""
    asked = {"marking": marking, "from": since, "to": until, "after": after, "limit": limit}
    _tell(_asked("touched", asked, names), SEEN, names, json)


def narrowed(
    version: Annotated[int, typer.Argument(min=1, help="The policy version under which it was decided.")],
    than: Annotated[int | None, typer.Option(min=1, help="The version to hold it against; default: the next.")] = None,
    since: Since = None,
    until: Until = None,
    after: After = None,
    limit: Limit = 500,
    names: Names = False,
    json: Json = False,
) -> None:
    """What a policy version allowed that another would not. People's groups of then, and the purposes of their keys,
    are not recorded: what hangs on these is `unknown`. --limit is how many entries are looked at."""
    asked = {"version": version, "than": than, "from": since, "to": until, "after": after, "limit": limit}
    _tell(_asked("narrowed", asked, names), NARROWED, names, json)


def break_glass(
    since: Since = None, until: Until = None, after: After = None, limit: Limit = 50, json: Json = False
) -> None:
    """What one person did alone because nobody could be waited for."""
    answer = _asked("break-glass", {"from": since, "to": until, "after": after, "limit": limit}, False)
    _tell({"entries": answer["events"], **answer}, EVENTS, False, json)


def uses(
    since: Since = None,
    until: Until = None,
    after: After = None,
    limit: Limit = 50,
    names: Names = False,
    json: Json = False,
) -> None:
    """Who looked at the record, what for, and why they opened content."""
    asked = {"from": since, "to": until, "after": after, "limit": limit}
    _tell(_asked("uses", asked, names), USES, names, json)


def unseal(
    exchange: Annotated[str, typer.Argument(help="The exchange's audit id.")],
    reason: Annotated[str, typer.Option(help="Why it has to be read; kept sealed, for those who review.")],
    json: Json = False,
) -> None:
    """What one exchange said: question, answer, and what was said of it. Recorded, with the reason, before."""
    body = {"exchange": exchange, "reason": reason}
    content = run(ask_operator(read_settings(), "POST", "/operator/audit/unseal", body=body))
    if json:
        dump(content)
        return
    say(f"question: {content['question']}")
    if content["query"] is not None:
        say(f"searched for: {content['query']}")
    bullets(f"{turn['role']}: {turn['text']}" for turn in content["client_turns"])
    say(f"answer: {content['answer'] or '-'}")
    if content["feedback"] is not None:
        words = content["feedback"]["words"] or {}
        say(f"feedback: {content['feedback']['verdict']}")
        bullets(f"{name}: {text}" for name, text in words.items() if text)


def _asked(question: str, asked: dict[str, Any], names: bool) -> Any:
    given = {**asked, "names": "true" if names else None}
    params = {name: str(value) for name, value in given.items() if value is not None}
    return run(ask_operator(read_settings(), "GET", f"/operator/audit/{question}", params=params))


def _tell(answer: dict[str, Any], columns: tuple[str, ...], names: bool, json: bool) -> None:
    if json:
        dump(answer)
        return
    paths = {document: name["path"] for document, name in answer.get("documents", {}).items()}
    rows = [{column: _cell(entry, column, paths) for column in columns} for entry in answer["entries"]]
    table(rows, [column for column in columns if names or column != "user"])
    if answer["next"] is not None:
        say(f"more: --after {answer['next']}")
    if not answer["complete"]:
        warn("the index is behind the record: ask again in a while")


def _cell(entry: dict[str, Any], column: str, paths: Mapping[str, str]) -> Any:
    """Documents by their paths as far as names were asked for, and each once."""
    if column == "documents":
        return sorted({paths.get(passage["document"], passage["document"]) for passage in entry["passages"]})
    if column == "passages":
        lost = (f"{paths.get(one['document'], one['document'])} {one['verdict']}" for one in entry["passages"])
        return list(dict.fromkeys(lost))
    if column == "asked":
        return [f"{name}={value}" for name, value in entry["asked"].items()]
    return entry.get(column)


def add_to(audit: typer.Typer) -> None:
    """Each question as a command of its own name."""
    for command in (saw, denied, by_adapter, touched, narrowed, break_glass, uses, unseal):
        audit.command(command.__name__.replace("_", "-"))(command)
