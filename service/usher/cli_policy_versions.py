"""`usher policy versions`, `diff`, `impact`, `export`: what was in force, and what came of a change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say, table
from usher.cli_policy_ask import Key, Server, ask
from usher.cli_policy_changes import source_of
from usher.errors import UserError

COLUMNS = ("version", "in_force", "by", "activated_at", "changeset", "digest")


def versions(
    after: Annotated[int | None, typer.Option(help="Go on after this version.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """The versions of the policy; the newest first."""
    params = {"limit": str(limit)} | ({} if after is None else {"after": str(after)})
    page = ask("GET", "/versions", key, params=params, server=server)
    if json:
        dump(page)
        return
    table(page["versions"], COLUMNS)
    if page["next"] is not None:
        say(f"more: --after {page['next']}")


def diff(
    before: Annotated[int, typer.Argument(metavar="A", min=1, help="A version.")],
    after: Annotated[int | None, typer.Argument(metavar="B", min=1, help="Another; default: that in force.")] = None,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """The rules that differ between two versions, and the documents and cases."""
    params = {"from": str(before)} | ({} if after is None else {"to": str(after)})
    found = ask("GET", "/diff", key, params=params, server=server)
    if json:
        dump(found)
        return
    import msgspec

    from usher.core.plan_words import Diff, diff_lines

    for line in diff_lines(msgspec.convert(found["diff"], Diff)):
        say(line)


def impact(
    change: Annotated[str, typer.Argument(metavar="DIR|CHANGESET", help="A policy's folder or file, or an id.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="As a comment on a change.")] = False,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Who would gain or lose what."""
    plan = _plan_of(change, key, server)
    if json:
        dump({name: plan[name] for name in ("base", "digest", "sound", "impact", "gains")})
        return
    if not plan["sound"]:
        raise UserError("policy", "does not pass its check", "run `usher policy plan` and mend what it names")
    import msgspec

    from usher.core import impact_text
    from usher.core.impact_words import ImpactWords

    words = msgspec.convert(plan["impact"], ImpactWords)
    for line in [impact_text.markdown(words)] if markdown else impact_text.lines(words):
        say(line)


def _plan_of(change: str, key: str | None, server: str | None) -> dict[str, Any]:
    if Path(change).exists():
        plan: dict[str, Any] = ask("POST", "/plan", key, source_of(Path(change)), server=server)
        return plan
    if "/" in change or change.startswith("."):
        raise UserError("policy", f"{change} is not there", "name a folder, a rule file, or the id of a changeset")
    found: dict[str, Any] = ask("GET", f"/changesets/{change}", key, server=server)["plan"]
    return found


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty or not there yet.")],
    version: Annotated[int | None, typer.Option(min=1, help="Which; default: that in force.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also over the files of a policy that lies there.")] = False,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Write a version as a folder, byte for byte as it was given."""
    number = version or ask("GET", "", key, server=server)["version"]
    found = ask("GET", f"/versions/{number}", key, server=server)
    from usher.backends.policy_files import write_source
    from usher.core.policy_source import PolicySource

    source = PolicySource(found["rules_text"], found["documents"], found["cases"])
    written = write_source(folder, source, over=force)
    if json:
        dump({"version": number, "digest": found["digest"], "files": written})
    else:
        say(f"version {number} is in {folder}: {', '.join(written)}")


def add_to(policy: typer.Typer) -> None:
    """The commands of this group."""
    for command in (versions, diff, impact, export):
        policy.command(command.__name__)(command)
