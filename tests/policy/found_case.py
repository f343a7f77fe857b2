"""A disagreement with Casbin as files: the smallest rules that show it, and the question as a case."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

import yaml
from tests.policy.language import Line, rules_of

from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import ALWAYS, Context
from usher_policy.decide import may
from usher_policy.lint import lint
from usher_policy.oracle import Oracle
from usher_policy.rules import Permission, Rules
from usher_policy.vocabulary import Action, Principal, fits, is_name


@dataclass(frozen=True)
class Difference:
    """One question that the snapshot answers unlike Casbin, over these rules. `how` says where, if not by `may`."""

    rules: Rules
    catalog: Catalog
    principal: Principal
    obj: str
    action: Action
    context: Context
    casbin: bool
    how: str = ""

    def shown_by(self, rules: Rules) -> bool:
        """Whether the question alone, over these rules compiled at once, shows a disagreement."""
        if not is_name(self.obj) or not fits(self.action, self.obj):
            return False
        expected = Oracle(rules, self.catalog, [self.principal]).enforce(
            self.principal, self.obj, self.action, self.context
        )
        snapshot = compile_snapshot(1, rules, self.catalog)
        return may(snapshot, self.principal, self.obj, self.action, self.context).allowed != expected


def keep(folder: Path, found: Difference) -> str:
    """Write `policy.csv` and `cases/found.yaml`, as they lie in a policy's folder; returns what to tell."""
    rules = smallest(found)
    casbin = Oracle(rules, found.catalog, [found.principal]) if found.obj else None
    expect = casbin and casbin.enforce(found.principal, found.obj, found.action, found.context)
    (folder / "cases").mkdir(parents=True, exist_ok=True)
    (folder / "policy.csv").write_text(rules.to_csv(), encoding="utf-8")
    (folder / "cases" / "found.yaml").write_text(_case(found, bool(expect)), encoding="utf-8")
    errors = [finding for finding in lint(rules.to_csv()) if finding.severity == "error"]
    strange = f"; lint rejects the rules: {errors[0].message}" if errors else ""
    where = f" ({found.how})" if found.how else ""
    return f"{found.principal} {found.action} {found.obj}{where}: Casbin says {found.casbin}; see {folder}{strange}"


def smallest(found: Difference) -> Rules:
    """The rules without each line, and without each condition, that the disagreement does not need; all of them where
    the question alone shows none."""
    lines: list[Line] = [*found.rules.permissions, *found.rules.links]
    if not found.shown_by(found.rules):
        return found.rules
    simpler = True
    while simpler:
        simpler = False
        for at in range(len(lines) - 1, -1, -1):
            for instead in ([], [replace(line, cond=ALWAYS) for line in lines[at : at + 1] if _conditional(line)]):
                fewer = [*lines[:at], *instead, *lines[at + 1 :]]
                if fewer != lines and found.shown_by(rules_of(fewer)):
                    lines, simpler = fewer, True
                    break
    return rules_of(lines)


def _conditional(line: Line) -> TypeGuard[Permission]:
    return isinstance(line, Permission) and line.cond != ALWAYS


def _case(found: Difference, expect: bool) -> str:
    """One case, in the form of `policies/sample/cases`. Reader lists stand above it: cases have none."""
    lists = sorted(found.catalog.readers.items()) if found.obj.startswith("readers:") else []
    comments = [f"# Casbin's own answer{f'; it differed in {found.how}' if found.how else ''}."]
    comments += [f"# The list {name} names {', '.join(sorted(subjects)) or 'nobody'}." for name, subjects in lists]
    case = {
        "name": f"Casbin on {found.action}",
        "user": found.principal.user,
        "groups": sorted(found.principal.groups),
        "object": found.obj,
        "action": str(found.action),
        "context": {"now": found.context.now.isoformat()}
        | ({"purpose": found.context.purpose} if found.context.purpose else {}),
        "expect": "allow" if expect else "deny",
    }
    return "\n".join([*comments, yaml.safe_dump([case], sort_keys=False, allow_unicode=True)])
