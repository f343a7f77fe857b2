"""`usher policy plan`, `apply`, `edit`, `approve` …: changes of the policy that take more than one person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from usher.cli_output import Json, bullets, dump, say, table
from usher.cli_policy_ask import Changeset, Comment, Key, Own, Server, ask, tell
from usher.cli_road import key_of
from usher.errors import UserError

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder with policy.csv, or a rule file.")]
Minutes = Annotated[int | None, typer.Option(min=1, max=1440, help="With --break-glass: how long. Default: 60.")]
COLUMNS = ("id", "state", "base", "version", "by", "approved_by", "created_at", "digest", "comment")


def plan(
    folder: Folder,
    markdown: Annotated[bool, typer.Option("--markdown", help="As a comment on a change.")] = False,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """What a policy would change: findings, failed cases, rules, who gains or loses what. Changes nothing. Exit code
    1 if it may not be activated as it is."""
    found = ask("POST", "/plan", key, source_of(folder), server=server)
    show_plan(found, json=json, markdown=markdown)
    raise typer.Exit(0 if found["may_come"] else 1)


def apply(
    folder: Folder,
    comment: Comment = "",
    break_glass: Annotated[bool, typer.Option("--break-glass", help="Alone, for a time, with an alarm.")] = False,
    reason: Annotated[str | None, typer.Option(help="With --break-glass: why nobody can be waited for.")] = None,
    minutes: Minutes = None,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Make a policy the one in force, if nobody gains anything by it or somebody else has approved exactly this. Else
    it waits for that, its id is printed, and the exit code is 1."""
    if break_glass is not (reason is not None) or (minutes is not None and not break_glass):
        raise UserError(
            "--break-glass", "goes with --reason, and --minutes with both", "give them together or not at all"
        )
    body = source_of(folder)
    if (number := _same(body, key, server)) is not None:
        _nothing(number, json)
        return
    if reason is not None:
        done = _alone(body, reason, minutes or 60, key, server)
    else:
        more = {"comment": comment} if key is not None else {}
        done = ask("POST", "/apply", key, body | more, server=server)
    _told(done, key, server, json)


def edit(
    add: Annotated[list[str] | None, typer.Option(help="A line to add; may be given several times.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A line to remove; may be given several times.")] = None,
    of: Annotated[str | None, typer.Option(help="The draft to go on from; it is withdrawn.")] = None,
    comment: Comment = "",
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Draft single lines to add to the policy in force, or to remove from it."""
    base = ask("GET", "", key, server=server)["base"]
    body = {"add": add or [], "remove": remove or [], "supersedes": of, "comment": comment}
    _drafted(ask("POST", "/edits", key, body, base=base, server=server), key, server, json)


def rollback(
    version: Annotated[int, typer.Argument(min=1, help="The version to go back to.")],
    comment: Comment = "",
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Make an earlier version's policy the one in force again, as a new version: at once if nobody gains by it,
    else as a draft that waits for somebody else (exit code 1)."""
    drafted = ask("POST", "/rollback", key, {"version": version, "comment": comment}, server=server)
    found = ask("GET", f"/changesets/{drafted['id']}", key, server=server)
    if found["plan"]["may_come"] and not found["plan"]["needs_approval"]:
        body = {"digest": drafted["digest"]}
        drafted = ask("POST", f"/changesets/{drafted['id']}/activate", key, body, server=server)
    _told(drafted, key, server, json)


def show(changeset: Changeset, key: Key = None, server: Server = None, json: Json = False) -> None:
    """A changeset, with its plan as of now."""
    _drafted(ask("GET", f"/changesets/{changeset}", key, server=server)["changeset"], key, server, json)


def changesets(
    after: Annotated[str | None, typer.Option(help="Go on after this changeset.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """What was drafted, approved, activated or done alone; the newest first."""
    params = {"limit": str(limit)} | ({} if after is None else {"after": after})
    page = ask("GET", "/changesets", key, params=params, server=server)
    if json:
        dump(page)
        return
    table(page["changesets"], COLUMNS)
    if page["next"] is not None:
        say(f"more: --after {page['next']}")


def approve(
    changeset: Changeset,
    digest: Annotated[str, typer.Option(help="The digest that stands beside it: what you have looked at.")],
    key: Own = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Approve what somebody else has drafted: exactly what has this digest."""
    _decided("approve", changeset, key_of(key), server, json, {"digest": digest})


def refuse(changeset: Changeset, key: Own = None, server: Server = None, json: Json = False) -> None:
    """Refuse what somebody else has drafted: it is over."""
    _decided("refuse", changeset, key_of(key), server, json)


def withdraw(changeset: Changeset, key: Key = None, server: Server = None, json: Json = False) -> None:
    """Withdraw what you have drafted: it is over."""
    _decided("withdraw", changeset, key, server, json)


def activate(
    changeset: Changeset,
    digest: Annotated[str | None, typer.Option(help="Only what has this digest.")] = None,
    key: Key = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """Make a changeset the version in force, at everybody's next barrier."""
    if digest is None:
        digest = ask("GET", f"/changesets/{changeset}", key, server=server)["changeset"]["digest"]
    _decided("activate", changeset, key, server, json, {"digest": digest})


def close_review(changeset: Changeset, key: Own = None, server: Server = None, json: Json = False) -> None:
    """Close the review of what somebody else has done alone, once its time is over."""
    _decided("review", changeset, key_of(key), server, json)


def source_of(folder: Path) -> dict[str, Any]:
    """A policy's files as they lie there. Raises `UserError`."""
    from usher.backends.policy_files import read_source

    source = read_source(folder)
    return {"rules_text": source.rules_text, "documents": dict(source.documents), "cases": dict(source.cases)}


def show_plan(plan: dict[str, Any], *, json: bool, markdown: bool = False) -> None:
    """A plan, in one of its three forms."""
    if json:
        dump(plan)
        return
    import msgspec

    from usher.core import plan_words

    words = msgspec.convert(plan, plan_words.PlanWords)
    if markdown:
        say(plan_words.markdown(words))
        return
    for line in plan_words.lines(words):
        say(line)


def _alone(body: dict[str, Any], reason: str, minutes: int, key: str | None, server: str | None) -> dict[str, Any]:
    given = {"reason": reason, "minutes": minutes}
    if key is None:
        alone: dict[str, Any] = ask("POST", "/apply", None, body | given)
        return alone
    base = ask("GET", "", key, server=server)["base"]
    drafted = ask("POST", "/changesets", key, body | {"comment": reason}, base=base, server=server)
    path = f"/changesets/{drafted['id']}/break-glass"
    done: dict[str, Any] = ask("POST", path, key, given | {"digest": drafted["digest"]}, server=server)
    return done


def _decided(
    act: str, changeset: str, key: str | None, server: str | None, json: bool, body: dict[str, Any] | None = None
) -> None:
    shown = ask("POST", f"/changesets/{changeset}/{act}", key, body, server=server)
    if json:
        dump(shown)
    elif act == "activate":
        _in_force(shown)
    else:
        tell(shown, needs_approval=False)


def _drafted(shown: dict[str, Any], key: str | None, server: str | None, json: bool) -> None:
    """A changeset and its plan."""
    found = ask("GET", f"/changesets/{shown['id']}", key, server=server)
    if json:
        dump(found)
        return
    show_plan(found["plan"], json=False)
    tell(found["changeset"], found["plan"]["needs_approval"])


def _told(done: dict[str, Any], key: str | None, server: str | None, json: bool) -> None:
    """What came of an attempt to bring something into force."""
    waits = done["version"] is None
    if json:
        dump(done)
    elif waits:
        _drafted(done, key, server, json=False)
    else:
        _in_force(done)
    raise typer.Exit(1 if waits else 0)


def _in_force(done: dict[str, Any]) -> None:
    say(f"policy version {done['version']} is in force")
    if done.get("state") == "unreviewed":
        tell(done, needs_approval=False)
    bullets(f"warning: {warning}" for warning in done.get("warnings", ()))


def _same(body: dict[str, Any], key: str | None, server: str | None) -> int | None:
    """The number of the version in force if it is this policy, byte for byte; None for another, or none for good."""
    now = ask("GET", "", key, server=server)
    if now["version"] != now["base"] or not now["version"]:
        return None
    stored = ask("GET", f"/versions/{now['version']}", key, server=server)
    return now["version"] if all(stored[part] == body[part] for part in body) else None


def _nothing(version: int, json: bool) -> None:
    if json:
        dump({"version": version, "policy_version": version, "nothing_to_do": True})
    else:
        say(f"nothing to do: policy version {version} is this policy")


def add_to(policy: typer.Typer) -> None:
    """The commands of this group."""
    for command in (plan, apply, edit, rollback, show, changesets, approve, refuse, withdraw, activate):
        policy.command(command.__name__)(command)
    policy.command("close-review")(close_review)
