"""`usher policy check`: a policy and its cases, without any data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say

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
