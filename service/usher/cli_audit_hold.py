"""`usher audit hold`, `release`: propose it, as the person whose key it is; and `holds`, `retention`."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated, Any

import typer

from usher.cli_audit_proposals import Key, Own, Reason, ask, tell
from usher.cli_output import Json, dump, progress, say, table
from usher.cli_road import Refused, headers, key_of, refused, road, run
from usher.settings import Settings, read_settings

COLUMNS = ("id", "on", "target", "since", "until", "placed_at", "released_at", "reason")
GONE = ("rule", "type", "count", "oldest", "newest")


def hold(
    on: Annotated[str, typer.Argument(help="person, conversation, exchange, document or collection.")],
    reason: Reason,
    target: Annotated[str | None, typer.Argument(help="Its id or name; a person's pseudonym.")] = None,
    user: Annotated[str | None, typer.Option(help="A person by name, instead; takes audit.identify.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="Only what happened from this instant on.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Only what happened before this instant.")] = None,
    key: Own = None,
    json: Json = False,
) -> None:
    """Propose a legal hold. It binds once somebody else has approved it."""
    body = {"on": on, "reason": reason, "target": target, "user": user, "since": since, "until": until}
    tell(ask("POST", "/holds", key_of(key), body), json)


def release(
    hold: Annotated[str, typer.Argument(help="The hold's id.")], reason: Reason, key: Own = None, json: Json = False
) -> None:
    """Propose to release a hold. It binds until somebody else has approved that."""
    tell(ask("POST", f"/holds/{hold}/release", key_of(key), {"reason": reason}), json)


def holds(
    after: Annotated[str | None, typer.Option(help="Go on after this hold.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    key: Key = None,
    json: Json = False,
) -> None:
    """Legal holds, the newest first, released ones too. This reading is itself recorded."""
    given = {"after": after, "limit": str(limit)}
    params = {name: value for name, value in given.items() if value is not None}
    page = ask("GET", "/holds", key, params=params)
    if json:
        dump(page)
        return
    table(page["holds"], COLUMNS)
    if page["next"] is not None:
        say(f"more: --after {page['next']}")


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go; that is recorded.")] = False,
    json: Json = False,
) -> None:
    """Let go what is over its time by the rules of retention.yaml, and not on hold. Each step is recorded; a run that
    was cut off is gone on with by the next. The server does it once a day by itself."""
    report = run(_walked(read_settings(), dry_run, bar=not json))
    if json:
        dump(report)
        return
    table(report["gone"], GONE)
    verb = "would go" if dry_run else "went"
    total = sum(gone["count"] for gone in report["gone"])
    say(f"{total} {verb} of {report['looked_at']} over the shortest time; {report['held']} kept by a hold")


async def _walked(settings: Settings, dry_run: bool, *, bar: bool) -> dict[str, Any]:
    """The run's report, its progress shown. Raises `Refused`."""
    params = {"dry_run": "true" if dry_run else "false"}
    async with (
        road(settings) as client,
        client.stream("POST", "/operator/audit/retention", params=params, headers=headers(None)) as response,
    ):
        if response.is_error:
            raise refused(await response.aread())
        with progress("events", wanted=bar) as advance:
            async for line in response.aiter_lines():
                event = jsonlib.loads(line)
                if event["event"] == "error":
                    told = {name: text for name, text in event.items() if name != "event"}
                    raise Refused({"detail": told.get("problem", "failed")} | told)
                if event["event"] == "report":
                    return {name: value for name, value in event.items() if name != "event"}
                advance(event["done"], event["total"])
    raise Refused({"detail": "the server ended before the report; run the command again, it goes on where it was"})


def add_to(audit: typer.Typer) -> None:
    """The commands of this group."""
    audit.command("hold")(hold)
    audit.command("release")(release)
    audit.command("holds")(holds)
    audit.command("retention")(retention)
