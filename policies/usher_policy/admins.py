"""Who can approve changes of policy, so that a change that leaves too few of them is seen before it is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from usher_policy.book import RuleBook, holders
from usher_policy.conditions import ALWAYS
from usher_policy.impact import Person
from usher_policy.vocabulary import Action, Effect, Principal

NEEDED: Final = 2
"""Nobody approves their own change, so that fewer cannot change the policy any more."""

_POLICY: Final = "sys:policy"


def approvers(book: RuleBook, people: Iterable[Person]) -> frozenset[str]:
    """Of these people the users who may approve a change of the whole policy, whatever the hour, the purpose of their
    key and the groups they come with.

    1. a rule that always holds allows it, to the user or to a role of theirs; a role that only a group gives is none,
       for groups come from elsewhere
    2. no rule denies it to the user, to one of their groups or to any of their roles, not even under a condition

    Give the people who are active: others approve nothing.
    """
    rules = book.on_object.get((_POLICY, Action.POLICY_APPROVE), ())
    allowed = {rule.sub for rule in rules if rule.eft == Effect.ALLOW and rule.cond == ALWAYS}
    denied = {rule.sub for rule in rules if rule.eft == Effect.DENY}
    candidates = holders(allowed, book)
    return frozenset(
        person.user
        for person in people
        if person.user in candidates and _holds(book, Principal(person.user, person.groups), allowed, denied)
    )


def _holds(book: RuleBook, who: Principal, allowed: Iterable[str], denied: Iterable[str]) -> bool:
    by_themselves = book.closure(Principal(who.user))
    return who.problem is None and not by_themselves.isdisjoint(allowed) and book.closure(who).isdisjoint(denied)


def loses_last_two(before: RuleBook, after: RuleBook, people: Iterable[Person]) -> bool:
    """Whether a change takes those who can approve from two or more to fewer, so that it must not be made."""
    known = tuple(people)
    return len(approvers(before, known)) >= NEEDED > len(approvers(after, known))
