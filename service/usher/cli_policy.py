"""`usher policy …`: check a policy, make it the one in force, explain a decision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from usher.cli_output import Json, bullets, dump, say
from usher.cli_road import ask_operator, run
from usher.settings import read_settings

policy = typer.Typer(help="Who may what.", no_args_is_help=True)

Source = Annotated[Path, typer.Argument(help="The rule file, or the folder with policy.csv.")]


@policy.command("check")
def check(source: Source, json: Json = False) -> None:
    """Lint a policy and run its cases. Touches no data folder."""
    from usher.backends.policy_files import read_source
    from usher.policy_admin import check as check_source

    report = check_source(read_source(source))
    failed = [case for case in report.cases if not case.passed]
    if json:
        import msgspec

        findings = msgspec.to_builtins(report.findings)
        dump({"ok": report.ok, "findings": findings, "cases": len(report.cases), "failed": [_case(c) for c in failed]})
    else:
        for finding in report.findings:
            say(f"{finding.severity}, line {finding.line}: {finding.message}; {finding.remedy}")
        for case in failed:
            say("case {name}: {user} {action} {object} was expected to be {expect}, and is not".format(**_case(case)))
        say(f"{len(report.findings)} findings; {len(report.cases) - len(failed)} of {len(report.cases)} cases pass")
    raise typer.Exit(0 if report.ok else 1)


def _case(result: Any) -> dict[str, str]:
    case = result.case
    return {
        "name": case.name,
        "user": case.user,
        "object": case.object,
        "action": case.action.value,
        "expect": case.expect.value,
    }


@policy.command("apply")
def apply(source: Source, json: Json = False) -> None:
    """Make a policy the next version, in force at everybody's next barrier."""
    from usher.backends.policy_files import read_source

    applied = run(ask_operator(read_settings(), "POST", "/operator/policy/apply", body=read_source(source)))
    if json:
        dump(applied)
        return
    say(f"policy version {applied['version']} is in force, digest {applied['digest']}")
    bullets(f"warning: {warning}" for warning in applied["warnings"])


@policy.command("explain")
def explain(
    user: Annotated[str, typer.Argument(help="The person.")],
    object: Annotated[str, typer.Argument(help="What it is about, such as coll:finance.")],
    action: Annotated[str, typer.Argument(help="The action.")] = "document.read",
    json: Json = False,
) -> None:
    """One decision as it would fall now, and the rules that took part."""
    body = {"user": user, "object": object, "action": action}
    told = run(ask_operator(read_settings(), "POST", "/operator/policy/explain", body=body))
    if json:
        dump(told)
        return
    say(f"{told['user']} {action} {object}: {'allowed' if told['allowed'] else 'denied'} ({told['reason']})")
    bullets(f"{name.replace('_', ' ')}: {_words(told[name])}" for name in ("groups", "roles", "policy_version"))
    bullets(f"rule: {rule}" for rule in told["rules"])


def _words(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
