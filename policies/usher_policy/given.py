"""Who is given a role: a gain even where it opens nothing yet, for the documents that come have lists of readers, and
those name roles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain

from usher_policy.book import RuleBook
from usher_policy.impact import Delta
from usher_policy.rules import RoleLink
from usher_policy.vocabulary import Effect, Principal


def given(before: RuleBook, after: RuleBook, links: Iterable[RoleLink]) -> Iterator[RoleLink]:
    """Of these added links those that give their member a role which the member had not. Whoever is given one, over
    however many links, is given one by one of these. A role that nothing but denials are about opens nothing to anyone
    whom a list of readers would name by it, and is none."""
    for link in links:
        if link.role not in before.closure(Principal(link.member)) and not _only_forbids(link.role, before, after):
            yield link


def _only_forbids(role: str, *books: RuleBook) -> bool:
    names = [(book, name) for book in books for name in book.closure(Principal(role))]
    effects = {rule.eft for book, name in names for rule in book.of_subject.get(name, ())}
    return effects == {Effect.DENY}


def touching(before: RuleBook, after: RuleBook, delta: Delta, roles: Collection[str]) -> Iterator[RoleLink]:
    """The changed links by which somebody gets or loses one of these roles."""
    if roles:
        for link in chain(delta.removed.links, delta.added.links):
            if any(not book.closure(Principal(link.role)).isdisjoint(roles) for book in (before, after)):
                yield link
