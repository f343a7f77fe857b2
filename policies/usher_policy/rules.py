"""A policy's rules as values, and the rule file they are read from.

A rule file is UTF-8 text in Casbin's CSV; empty lines and lines that begin with `#` are skipped:

    # subject, object, action, effect, condition
    p, role:finance, coll:finance, document.read, allow, always
    p, group:contractors, mark:pii, document.read, deny, always
    p, role:auditor, sys:audit, audit.read, allow, time:days=mon-fri;from=09:00;to=17:00;zone=Europe/Berlin
    # member, role: a user, a group or a role is given a role
    g, user:alice, role:finance

- Subjects are `user:`, `group:` or `role:` names. Which actions go with which object says `vocabulary.objects_of`.
- A right on `coll:finance` covers `coll:finance/payroll`: there are no patterns, and no `g2` lines. So does a right to
  edit rules on `role:hr` that on `role:hr/payroll`; who *is* what say the links alone.
- Effects are `allow` and `deny`; one deny outweighs every allow. Conditions are those of `conditions`.
- There is no quoting: in names `, " ' # % ( ) [ ] * ? ; \\` and what does not show are percent-encoded in upper-case
  hex (`group:a%2Cb`), and nothing else is; a space inside a name may stand. Names have at most 200 characters.
- Roles inherit by at most nine links in a row; from a group by eight, for the link from the user to it counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from usher_policy.lines import rows
from usher_policy.lint import Finding, lint
from usher_policy.vocabulary import Action, Effect


@dataclass(frozen=True, slots=True)
class Permission:
    """One `p` line: `sub` may (or must not) do `act` to `obj` while `cond` holds. Equal rules differ in `line` only."""

    sub: str
    obj: str
    act: Action
    eft: Effect
    cond: str
    line: int = field(default=0, compare=False)

    @property
    def canonical(self) -> str:
        """The one written form of the rule, as a line without its end."""
        return f"p, {self.sub}, {self.obj}, {self.act}, {self.eft}, {self.cond}"

    @property
    def id(self) -> str:
        """A short stable name: the first 12 hex digits of the canonical line's SHA-256."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class RoleLink:
    """One `g` line: `member` (a user, group or role) has `role`."""

    member: str
    role: str
    line: int = field(default=0, compare=False)

    @property
    def canonical(self) -> str:
        """The one written form of the link, as a line without its end."""
        return f"g, {self.member}, {self.role}"


@dataclass(frozen=True)
class Rules:
    """All rules of one policy version, in the order of their file. Their order means nothing."""

    permissions: tuple[Permission, ...] = ()
    links: tuple[RoleLink, ...] = ()

    def to_csv(self) -> str:
        """The rules as a canonical rule file: sorted, without comments. `parse_rules` reads it back."""
        lines = sorted({p.canonical for p in self.permissions} | {g.canonical for g in self.links})
        return "".join(f"{line}\n" for line in lines)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical rule file, in hex: equal for equal sets of rules."""
        return hashlib.sha256(self.to_csv().encode()).hexdigest()


class RuleFileError(ValueError):
    """A rule file that lint rejects; `findings` has every error found, each with its line and remedy."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        first = self.findings[0]
        more = f" (and {len(self.findings) - 1} more)" if len(self.findings) > 1 else ""
        super().__init__(f"line {first.line}: {first.message}; {first.remedy}{more}")


def parse_rules(text: str) -> Rules:
    """The rules of a rule file. Raises RuleFileError where `lint` finds an error; its warnings do not stop it."""
    errors = [finding for finding in lint(text) if finding.severity == "error"]
    if errors:
        raise RuleFileError(errors)
    return read_rules(text)


def read_rules(text: str) -> Rules:
    """The rules of a file that has passed lint. Raises ValueError for one whose lines cannot be read at all."""
    permissions: list[Permission] = []
    links: list[RoleLink] = []
    for row in rows(text):
        if row.kind == "g":
            member, role = row.values
            links.append(RoleLink(member, role, row.line))
        else:
            sub, obj, act, eft, cond = row.values
            permissions.append(Permission(sub, obj, Action(act), Effect(eft), cond, row.line))
    return Rules(tuple(permissions), tuple(links))
