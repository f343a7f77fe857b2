"""Cases of a policy: questions with the answers that its authors expect, kept beside it as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from usher_policy.compile import Snapshot
from usher_policy.conditions import Context
from usher_policy.decide import Decision, may
from usher_policy.vocabulary import Action, Effect, Principal, fits, is_name, objects_of

DEFAULT_NOW: Final = datetime(2026, 1, 7, 12, 0, tzinfo=UTC)
"""The instant of a case that names none: a Wednesday noon."""

_KEYS: Final = frozenset({"user", "groups", "object", "action", "context", "expect", "name"})


E = TypeVar("E", Action, Effect)


@dataclass(frozen=True, slots=True)
class Case:
    """One question and the expected answer; names are typed (`user:alice`)."""

    user: str
    groups: frozenset[str]
    object: str
    action: Action
    context: Context
    expect: Effect
    name: str = ""

    @property
    def problem(self) -> str | None:
        """Why this is no question to a policy, or None: the answer would be a denial whatever the rules say."""
        if not is_name(self.user, frozenset({"user"})):
            return "user must be a user: name as rules write it, such as user:alice"
        if not all(is_name(group, frozenset({"group"})) for group in self.groups):
            return "groups must be group: names as rules write them, such as group:staff"
        if not is_name(self.object) or not fits(self.action, self.object):
            return f"object must be what {self.action} is asked of: a name of {', '.join(objects_of(self.action))}"
        return None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case and what the policy answers."""

    case: Case
    decision: Decision

    @property
    def passed(self) -> bool:
        """Whether the answer is the expected one, to a question that has one."""
        return self.case.problem is None and self.decision.allowed == (self.case.expect == Effect.ALLOW)


def run_cases(snapshot: Snapshot, cases: Iterable[Case]) -> list[CaseResult]:
    """Each case's answer, in order."""
    return [
        CaseResult(case, may(snapshot, Principal(case.user, case.groups), case.object, case.action, case.context))
        for case in cases
    ]


def read_case(value: Mapping[str, object], name: str) -> Case:
    """A case from parsed YAML. `name` stands where the case has none.

    Raises ValueError, naming the field and the remedy, for an unknown or missing key, a value of a wrong form, or a
    question that no rule could be about.
    """
    unknown = sorted(set(value) - _KEYS)
    if unknown:
        raise ValueError(f"{name}: {unknown[0]!r} is unknown; a case has {', '.join(sorted(_KEYS))}")
    case = Case(
        user=_text(value, "user", name),
        groups=_groups(value.get("groups", []), name),
        object=_text(value, "object", name),
        action=_member(Action, value, "action", name),
        context=_context(value.get("context") or {}, name),
        expect=_member(Effect, value, "expect", name),
        name=str(value.get("name", name)),
    )
    if case.problem is not None:
        raise ValueError(f"{name}: {case.problem}")
    return case


def _text(value: Mapping[str, object], key: str, name: str) -> str:
    found = value.get(key)
    if not isinstance(found, str):
        raise ValueError(f"{name}: {key} must be a text; write {key}: …")
    return found


def _member(kind: type[E], value: Mapping[str, object], key: str, name: str) -> E:
    try:
        return kind(_text(value, key, name))
    except ValueError:
        raise ValueError(f"{name}: {key} must be one of {', '.join(kind)}") from None


def _groups(value: object, name: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(group, str) for group in value):
        raise ValueError(f"{name}: groups must be a list of group: names; leave it out for none")
    return frozenset(value)


def _context(value: object, name: str) -> Context:
    if not isinstance(value, Mapping) or not set(value) <= {"now", "purpose"}:
        raise ValueError(f"{name}: context has now and purpose, and nothing else")
    now, purpose = value.get("now", DEFAULT_NOW), value.get("purpose")
    if isinstance(now, str):
        try:
            now = datetime.fromisoformat(now)
        except ValueError:
            now = None
    if not isinstance(now, datetime) or now.tzinfo is None:
        raise ValueError(f"{name}: context.now must be a time with its zone, such as 2026-01-07T12:00:00Z")
    if purpose is not None and not isinstance(purpose, str):
        raise ValueError(f"{name}: context.purpose must be a text; leave it out for none")
    return Context(now.astimezone(UTC), purpose)
