"""What one sees of a change of the policy, and why it may not come into force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from usher.core.plan_words import Diff, Moved
from usher.errors import UserError
from usher_policy.cases import CaseResult
from usher_policy.catalog import Catalog
from usher_policy.impact import Change, Group, Person
from usher_policy.lint import Finding

MAX_WORDS: Final = 50
"""Lines of what is gained; the others are counted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change against version `base` would do, by the directory and the labels of now.

    `findings` and `failed` cases say what is wrong with the policy; then nothing else is known of it. `impact` is who
    gains and loses what, `gains` what of it takes the approval of somebody else, as words; `refusals` say why it must
    not come into force whoever approves. `moved`: another version has come into force meanwhile, so that it must be
    drafted anew. `digest` is what is approved.
    """

    base: int
    digest: str
    findings: tuple[Finding, ...] = ()
    cases: int = 0
    failed: tuple[CaseResult, ...] = ()
    diff: Diff = field(default_factory=Diff)
    impact: tuple[Group, ...] = ()
    gains: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    moved: Moved | None = None
    catalog: Catalog = field(default_factory=Catalog, repr=False, compare=False)

    @property
    def sound(self) -> bool:
        """Whether the policy passes its check: lint, documents and cases."""
        return not self.failed and all(finding.severity != "error" for finding in self.findings)

    @property
    def may_come(self) -> bool:
        """Whether it may come into force once nothing but an approval is missing."""
        return self.sound and not self.refusals and self.moved is None

    @property
    def needs_approval(self) -> bool:
        return bool(self.gains)


class Unsound(UserError):
    """The policy does not pass its check; `plan` says why."""

    def __init__(self, plan: Plan, problem: str) -> None:
        super().__init__("policy", problem, "run `usher policy check FILE` and mend what it names")
        self.plan = plan


class Refused(UserError):
    """A change that must not come into force, whoever approves it; `reasons` say why."""

    status = 409

    def __init__(self, reasons: Sequence[str]) -> None:
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        super().__init__("changeset", f"may not be made: {reasons[0]}{more}", "change it, or ask whoever may edit all")
        self.reasons = tuple(reasons)


class Outdated(UserError):
    """The change was made against a version that another one has replaced; `moved` says what that changed."""

    status = 412

    def __init__(self, base: int, moved: Moved) -> None:
        problem = f"is against version {base}, and changes are made against version {moved.version} now"
        super().__init__("changeset", problem, "look at what that version changed, and draft it anew")
        self.base, self.moved = base, moved


class NoSuchVersion(UserError):
    """There is no such version, or it never came into force."""

    status = 404

    def __init__(self) -> None:
        super().__init__("version", "is none of this policy", "give a number as the list of versions shows it")


def gains_of(groups: Sequence[Group], diff: Diff) -> list[str]:
    """What takes the approval of somebody else, a line for each group of people or document that changed."""
    gaining = (f"{_people(group.people)}: {_things(group.change)}" for group in groups if group.change.gains)
    return [*capped(gaining, "groups of people")] + [f"{name} is changed" for name in diff.documents]


def capped(lines: Iterable[str], what: str) -> Iterator[str]:
    """The first `MAX_WORDS` of these lines, and that there are more."""
    every = iter(lines)
    yield from islice(every, MAX_WORDS)
    if more := sum(1 for _ in every):
        yield f"and {more} more {what}"


def _people(people: Sequence[Person]) -> str:
    first = sorted(people, key=lambda person: person.user is not None)[:3]  # whoever may come is the most of them
    names = [person.user or f"anyone in {', '.join(sorted(person.groups))}" for person in first]
    return ", ".join(names) + (f" and {len(people) - 3} more" if len(people) > 3 else "")


def _things(change: Change) -> str:
    told = [f"document.read on {name}" for name in change.reads_gained]
    told += [f"{asked.act} on {asked.obj}" for asked in change.rights_gained]
    told += [f"{len(change.gained)} access classes"] if change.gained and not told else []
    return ", ".join(islice(told, 5)) + (f" and {len(told) - 5} more" if len(told) > 5 else "")
