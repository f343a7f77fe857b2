"""What is wrong with a rule file: every finding with its line and the remedy.

An error is what Casbin would ignore, misread or choke on, or what cannot mean what it says; a warning is what a
reviewer should look at. Reading stops after `MAX_FINDINGS` errors, so that nonsense of any size is answered soon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from usher_policy.conditions import ConditionError, parse_condition
from usher_policy.lines import Row, rows
from usher_policy.links import Link, link_findings
from usher_policy.lookalike import alphabets, skeleton
from usher_policy.vocabulary import SUBJECT_KINDS, Action, Effect, fits, objects_of, split_name

MAX_FINDINGS: Final = 100
MAX_RULES = 1_000_000
"""Rules in one file; at this many lint takes about twenty seconds."""
MAX_LINE: Final = 4096
"""Longest line, in characters: five names of full length fit."""

_ARITY: Final = {"p": ("subject", "object", "action", "effect", "condition"), "g": ("member", "role")}
_OBJECT_KINDS: Final = frozenset({"coll", "readers", "mark", "adapter", "sys", "role"})
_MATCHING: Final = re.compile(r"(key|regex|glob|ip|time)(match|get)[0-9]?|\beval\s*\(", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong in a rule file. `line` counts from 1."""

    line: int
    message: str
    remedy: str
    severity: Literal["error", "warning"] = "error"


@dataclass(slots=True)
class _File:
    """What has been seen of a file so far."""

    names: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    looks: dict[str, str] = field(default_factory=dict)
    rules: dict[tuple[str, tuple[str, ...]], int] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)


def lint(text: str) -> list[Finding]:
    """All findings, in the order of their lines; at most `MAX_FINDINGS` errors, then one that says so."""
    errors: list[Finding] = []
    warnings: list[Finding] = []
    for finding in _findings(text):
        if finding.severity == "warning":
            if len(warnings) < MAX_FINDINGS:
                warnings.append(finding)
        elif len(errors) < MAX_FINDINGS:
            errors.append(finding)
        else:
            stop = f"reading stopped here, after {MAX_FINDINGS} errors"
            errors.append(Finding(finding.line, stop, "mend those above and check again"))
            break
    if len(warnings) == MAX_FINDINGS:
        last = warnings[-1].line
        warnings.append(
            Finding(last, f"only the first {MAX_FINDINGS} warnings are shown", "mend them first", "warning")
        )
    return sorted([*errors, *warnings], key=lambda finding: finding.line)


def _findings(text: str) -> Iterator[Finding]:
    seen = _File()
    for count, row in enumerate(rows(text)):
        if count == MAX_RULES:
            yield Finding(row.line, f"the file has more than {MAX_RULES:,} rules", "give rights to groups and roles")
            break
        problems = list(_row(row, seen))
        yield from problems
        if not any(problem.severity == "error" for problem in problems):
            yield from _remember(row, seen)
    for line, message, remedy in link_findings(seen.links):
        yield Finding(line, message, remedy)


def _remember(row: Row, seen: _File) -> Iterator[Finding]:
    first = seen.rules.setdefault((row.kind, row.values), row.line)
    if first != row.line:
        yield Finding(
            row.line, f"the same rule as line {first}", "delete one: a removal would leave the other in force"
        )
    elif row.kind == "g":
        member, role = row.values
        seen.links.append(Link(member, role, row.line))


def _row(row: Row, seen: _File) -> Iterator[Finding]:
    if row.kind == "g2":
        yield Finding(row.line, "g2 lines are derived from collection paths", "delete the line")
    elif row.kind not in _ARITY:
        message = f"a line of kind {row.kind[:20]!r} would be ignored without a word"
        yield Finding(row.line, message, "begin it with p, with g, or with # for a comment, in a file without BOM")
    elif sum(map(len, row.values)) > MAX_LINE:
        yield Finding(row.line, f"the line is longer than {MAX_LINE} characters", "names have at most 200 characters")
    elif len(row.values) != len(_ARITY[row.kind]):
        fields = ", ".join(_ARITY[row.kind])
        message = f"a {row.kind} line has {len(_ARITY[row.kind])} values, this one {len(row.values)}"
        yield Finding(row.line, message, f"write {row.kind}, {fields}; a comma inside a name is %2C")
    elif any("#" in value for value in row.values):
        remedy = "put the comment on a line of its own; in a name write %23"
        yield Finding(row.line, "a # inside a line begins no comment", remedy)
    elif row.kind == "p":
        yield from _permission(row, seen)
    else:
        yield from _link(row, seen)


def _permission(row: Row, seen: _File) -> Iterator[Finding]:
    sub, obj, act, eft, cond = row.values
    yield from _name(row.line, "subject", sub, SUBJECT_KINDS, seen)
    yield from _name(row.line, "object", obj, _OBJECT_KINDS, seen)
    yield from _action(row.line, act, obj)
    if eft not in list(Effect):
        yield Finding(row.line, f"effect {eft[:20]!r} would be ignored, also a deny", "write allow or deny")
    try:
        parse_condition(cond)
    except ConditionError as error:
        yield Finding(row.line, "the condition cannot be read", str(error))


def _action(line: int, act: str, obj: str) -> Iterator[Finding]:
    if act not in list(Action):
        yield Finding(line, f"action {act[:40]!r} is unknown", f"write one of {', '.join(Action)}")
    elif not fits(Action(act), obj):
        message = f"action {act} does not belong to {obj[:80]!r}"
        yield Finding(line, message, f"give it on {' or '.join(objects_of(Action(act)))}")


def _link(row: Row, seen: _File) -> Iterator[Finding]:
    member, role = row.values
    yield from _name(row.line, "member", member, SUBJECT_KINDS, seen)
    if member.startswith("role:") and role.startswith(("user:", "group:")):
        yield Finding(row.line, "the link points the wrong way", f"write g, {role[:80]}, {member[:80]}")
    elif role.startswith(("user:", "group:")):
        message = "only roles can be given; who is in a group says the identity provider"
        yield Finding(row.line, message, "link the member to a role: name")
    else:
        yield from _name(row.line, "role", role, frozenset({"role"}), seen)


def _name(line: int, place: str, name: str, kinds: frozenset[str], seen: _File) -> Iterator[Finding]:
    if name not in seen.names:
        seen.names[name] = _problem(name)
        if seen.names[name] is None:
            yield from _look(line, name, seen)
    problem = seen.names[name]
    if problem is not None:
        yield Finding(line, f"{place}: {problem[0]}", problem[1])
    elif name.partition(":")[0] not in kinds:
        wanted = ", ".join(f"{kind}:" for kind in sorted(kinds))
        yield Finding(line, f"{place}: {name[:80]!r} is of the wrong kind", f"a {place} is one of {wanted}")


def _problem(name: str) -> tuple[str, str] | None:
    """What is wrong with one name, and the remedy."""
    try:
        _, raw = split_name(name)
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        return message, remedy
    if _MATCHING.search(raw):
        return f"{name[:80]!r} names a matching function", "rename it: matching functions are unsafe on names"
    found = alphabets(raw)
    if len(found) > 1:
        return (
            f"{name[:80]!r} mixes letters of {' and '.join(sorted(map(str.title, found)))}",
            "write it in one alphabet",
        )
    return None


def _look(line: int, name: str, seen: _File) -> Iterator[Finding]:
    twin = seen.looks.setdefault(skeleton(name), name)
    if twin == name:
        return
    message = f"{name[:80]!r} looks like {twin[:80]!r}"
    if alphabets(name.partition(":")[2]) == alphabets(twin.partition(":")[2]):
        yield Finding(line, message, "make sure that both are meant", "warning")
    else:
        yield Finding(line, f"{message} in another alphabet", "rename one of them")
