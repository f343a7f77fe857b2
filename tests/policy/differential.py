"""The snapshot against Casbin on random stories, as a program: `python -m tests.policy.differential DECISIONS SEED`.

It prints how many decisions were compared. On a disagreement it ends with 1, and names the folder in which the
smallest rules that show it lie, with the question as a case.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.policy.found_case import Difference, keep
from tests.policy.language import Story, rules_of, stories
from tests.policy.worlds import CONTEXTS

from usher_policy.book import holders
from usher_policy.catalog import Catalog
from usher_policy.compile import Snapshot, compile_snapshot
from usher_policy.decide import may, roles_of, scope
from usher_policy.oracle import Oracle
from usher_policy.rules import Rules
from usher_policy.vocabulary import Action, Principal

NOBODY = (Principal("role:r0"), Principal("user:a,b"), Principal("user:alice", frozenset({"role:r0"})))
"""No credential stands for these: they are denied everything."""
NOWHERE = (("coll:a,b", Action.DOCUMENT_READ), (f"readers:{64 * '0'}", Action.DOCUMENT_READ))
ROUND = 64
"""Stories between two looks at the count."""
PER_STORY = 250
"""About so many decisions are compared in one."""


@dataclass
class Tally:
    """Decisions that Casbin was asked for, how many were yes, and what was concluded from them."""

    decisions: int = 0
    allowed: int = 0
    documents: int = 0
    readable: int = 0
    roles: int = 0
    recompiled: int = 0


class Disagreement(AssertionError):
    """The snapshot and Casbin differ; once it is kept, the message names the folder with rules and case."""

    def __init__(self, difference: Difference, told: str = "") -> None:
        super().__init__(told)
        self.difference = difference


def compared(folder: Path, decisions: int, number: int, shrink: bool = True) -> Tally:
    """Compare at least so many decisions. Raises `Disagreement` at the smallest story that shows one."""
    tally, rounds = Tally(), 0
    while tally.decisions < decisions:

        @seed(number * 1_000_003 + rounds)
        @settings(
            max_examples=min(ROUND, 1 + (decisions - tally.decisions) // PER_STORY),
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(stories())
        def agrees(story: Story) -> None:
            difference = next(differences(story, tally), None)
            if difference is not None:
                raise Disagreement(difference)

        try:
            agrees()
        except Disagreement as found:
            raise Disagreement(found.difference, keep(folder, found.difference)) from None
        rounds += 1
    return tally


def differences(story: Story, tally: Tally) -> Iterator[Difference]:
    """Each answer in which incremental, full and Casbin's do not agree, at the beginning and at the end of a story."""
    before, after = story.catalogs
    first = compile_snapshot(1, rules_of(story.first), before)
    yield from _against_casbin(story, first, rules_of(story.first), tally)
    changed = first.with_catalog(after)
    for version, (removed, added) in enumerate(story.changes, 2):
        changed = changed.changed(version, "", rules_of(removed), rules_of(added))
    last = rules_of(story.last)
    yield from _against_casbin(story, changed, last, tally)
    full = compile_snapshot(9, last, after)
    yield from _against_full(story, changed, full, tally)
    _same_book(changed, full, story)
    _both(first, full, story)


def _against_casbin(story: Story, snapshot: Snapshot, rules: Rules, tally: Tally) -> Iterator[Difference]:
    oracle = Oracle(rules, snapshot.catalog, story.principals)
    known = [question for question in story.questions if _known(question[0], snapshot.catalog)]
    for principal in story.principals:
        yield from _roles(oracle, snapshot, rules, principal, tally)
        for context in story.contexts:
            truth: dict[str, bool] = {}
            for obj, action in known:
                expected = oracle.enforce(principal, obj, action, context)
                tally.decisions += 1
                tally.allowed += expected
                if action == Action.DOCUMENT_READ:
                    truth[obj] = expected
                if may(snapshot, principal, obj, action, context).allowed != expected:
                    yield Difference(rules, snapshot.catalog, principal, obj, action, context, expected)
            found = scope(snapshot, principal, context).classes
            for number, names in snapshot.catalog.classes.items():
                owned = number != 0 and any(not name.startswith("mark:") for name in names)
                expected = owned and all(truth.get(name, False) for name in names)
                tally.documents += 1
                tally.readable += expected
                if (number in found) != expected:
                    name = next((name for name in sorted(names) if truth.get(name) == expected), "")
                    how = f"the scope's access class {number}: {sorted(names)}"
                    yield Difference(
                        rules, snapshot.catalog, principal, name, Action.DOCUMENT_READ, context, expected, how
                    )


def _known(obj: str, catalog: Catalog) -> bool:
    """Casbin cannot know that a reader list is not there; the snapshot denies it, whatever rules say."""
    return not obj.startswith("readers:") or obj in catalog.readers


def _roles(
    oracle: Oracle, snapshot: Snapshot, rules: Rules, principal: Principal, tally: Tally
) -> Iterator[Difference]:
    has = set(roles_of(snapshot, principal))
    linked = oracle._enforcer.get_named_role_manager("g").has_link
    for role in sorted({link.role for link in rules.links}):
        tally.roles += 1
        expected = linked(principal.user, role)
        if (role in has) != expected:
            how = f"having the role {role}"
            yield Difference(rules, snapshot.catalog, principal, "", Action.POLICY_READ, CONTEXTS[0], expected, how)


def _against_full(story: Story, changed: Snapshot, full: Snapshot, tally: Tally) -> Iterator[Difference]:
    """What was compiled step by step answers as what was compiled at once, to the rules named and the instant until
    which it holds; for whoever is nobody, too, and with the two labels' objects."""
    for principal in (*story.principals, *NOBODY):
        for context in story.contexts:
            for obj, action in (
                *story.questions,
                ("coll:a,b", Action.DOCUMENT_READ),
                (f"readers:{64 * '0'}", Action.DOCUMENT_READ),
            ):
                tally.recompiled += 1
                one, other = (may(snapshot, principal, obj, action, context) for snapshot in (changed, full))
                same = (one.allowed, sorted(one.rules), one.valid_until)
                strange = principal in NOBODY and one.allowed
                if strange or same != (other.allowed, sorted(other.rules), other.valid_until):
                    how = "after the changes, not when compiled at once"
                    yield Difference(full.rules, full.catalog, principal, obj, action, context, other.allowed, how)
            some, others = (scope(snapshot, principal, context) for snapshot in (changed, full))
            if (some.classes, some.rules, some.valid_until) != (others.classes, others.rules, others.valid_until):
                how = "the scope after the changes, not when compiled at once"
                yield Difference(full.rules, full.catalog, principal, "", Action.DOCUMENT_READ, context, True, how)


def _same_book(changed: Snapshot, full: Snapshot, story: Story) -> None:
    """The same rules are told of both, and whoever has a role is among its holders."""
    told = [
        (sorted(one.rules.to_csv().splitlines()), one.book.subjects, one.book.conditions) for one in (changed, full)
    ]
    assert told[0] == told[1], "the books differ in what they tell of their rules"
    for principal in story.principals:
        for role in roles_of(full, principal):
            assert holders([role], full.book) & {principal.user, *principal.groups}, f"{principal} holds {role}"


def _both(before: Snapshot, after: Snapshot, story: Story) -> None:
    """While a change is on its way, what both allow is what each allows."""
    for principal in story.principals:
        for context in story.contexts:
            scopes = [scope(snapshot, principal, context) for snapshot in (after, before)]
            narrowed = scopes[0].intersect(scopes[1])
            assert set(narrowed.classes) == set(scopes[0].classes) & set(scopes[1].classes)
            assert (narrowed.policy_version, narrowed.label_version) == (1, 1)


def main(decisions: str, number: str) -> int:
    folder = Path(tempfile.mkdtemp(prefix="usher-disagreement-"))
    try:
        print(json.dumps(asdict(compared(folder, int(decisions), int(number), shrink=False))))
    except AssertionError as found:  # a disagreement, or what was worked out from answers
        print(f"found: {found}")
        return 1
    folder.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
