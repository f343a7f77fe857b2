"""One question about everybody, every question about one person, and many about many: the access matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import count
from typing import Final

from usher_policy.book import RuleBook, holders
from usher_policy.compile import Snapshot, Standing
from usher_policy.conditions import Context
from usher_policy.decide import Decision, may
from usher_policy.impact import Person
from usher_policy.rights import READ, Asked, Rights, RightsOf, Things
from usher_policy.rules import Rules
from usher_policy.vocabulary import Action, Effect, Principal, ancestors

MAX_CELLS: Final = 5_000_000
"""The largest matrix, in cells; it is some tens of megabytes."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Somebody who may, or for a person that is only a group, whoever comes with it and no other; and the decision."""

    person: Person
    decision: Decision


def who(
    snapshot: Snapshot, people: Iterable[Person], obj: str, action: Action, context: Context
) -> tuple[Allowed, ...]:
    """Those of these people who may do that now, in their order. Each answer is `may`'s own, asked once for all those
    with the same roles. Give the people who are active, and `impact.anyone_in` for groups."""
    small = _about(snapshot, obj, action)
    candidates = holders([*small.book.of_subject, *small.shelves.lists_naming], small.book)
    kinds = _Kinds(small)
    known: dict[_Kind, Decision] = {}
    found: list[Allowed] = []
    for person in people:
        if candidates.isdisjoint((person.user, *person.groups)):
            continue
        kind = kinds.of(person)
        decision, principal = known.get(kind), kinds.principal(person)
        if (decision is not None and not decision.allowed) or principal.problem is not None:
            continue
        if decision is None:
            decision = known[kind] = may(small, principal, obj, action, context)
        if decision.allowed:
            found.append(Allowed(person, decision))
    return tuple(found)


def _about(snapshot: Snapshot, obj: str, action: Action) -> Snapshot:
    """A snapshot that answers this one question as the whole one does. It has a memory of its own: what is asked about
    everybody must not push out what is in use."""
    places = (obj, *ancestors(obj))
    rules = tuple(rule for name in places for rule in snapshot.book.on_object.get((name, action), ()))
    book = replace(RuleBook.of(Rules(rules)), parents=snapshot.book.parents)
    readers = snapshot.catalog.readers.get(obj, ())
    shelves = replace(snapshot.shelves, lists_naming=dict.fromkeys(readers, frozenset({obj})))
    return Snapshot(snapshot.version, snapshot.digest, snapshot.catalog, book, shelves)


@dataclass(frozen=True, slots=True)
class Right:
    """What rules or a reader list say of one object and action to somebody. It stands for all that lies in the object,
    but for what has a right here of its own."""

    asked: Asked
    decision: Decision


def what(snapshot: Snapshot, principal: Principal, context: Context) -> tuple[Right, ...]:
    """Everything that rules and reader lists say to one principal, allowed now or not; nothing else is allowed. Sorted
    by action and object; none for a malformed principal."""
    standing = snapshot.standing(principal)
    if standing is None:
        return ()
    rules = (rule for name in standing.subjects for rule in snapshot.book.of_subject.get(name, ()))
    named = {Asked(rule.obj, rule.act) for rule in rules} | {Asked(name, READ) for name in standing.lists}
    return tuple(
        Right(asked, may(snapshot, principal, asked.obj, Action(asked.act), context))
        for asked in sorted(named, key=lambda asked: (asked.act, asked.obj))
    )


def matrix(
    snapshot: Snapshot, people: Sequence[Person], context: Context, asked: Sequence[Asked] | None = None
) -> Iterator[tuple[str, ...]]:
    """The access matrix as rows of a table: first the names of the columns, then one row for each person, with `yes`
    where `may` allows it now and nothing where it does not. The columns are what is `asked`; by default, all that
    rules or documents name. For a policy that passes lint.

    Raises ValueError for more than `MAX_CELLS`.
    """
    things = Things.of(snapshot.catalog, [snapshot.book]) if asked is None else Things.about(asked)
    if len(people) * len(things.names) > MAX_CELLS:
        raise ValueError(f"more than {MAX_CELLS:,} cells; ask for fewer people or fewer objects")
    return _rows(snapshot, people, context, things)


def _rows(snapshot: Snapshot, people: Iterable[Person], context: Context, things: Things) -> Iterator[tuple[str, ...]]:
    yield ("user", "groups", *(f"{act} {obj}" for obj, act in things.names))
    kinds = _Kinds(snapshot)
    rights = RightsOf(snapshot.book, snapshot.catalog, things)
    answerable = kinds.answerable(things)
    known: dict[_Kind, int] = {}
    for person in people:
        kind = kinds.of(person)
        if kind not in known:
            held = rights.together(rights.entries(person.user or "", person.groups))
            known[kind] = answerable & _now(snapshot, held, context)
        bits = 0 if kinds.principal(person).problem else known[kind]
        cells = ("yes" if bits >> number & 1 else "" for number in range(len(things.names)))
        yield (person.user or "", " ".join(sorted(person.groups)), *cells)


def _now(snapshot: Snapshot, rights: Rights, context: Context) -> int:
    """What is permitted by the conditions that hold now."""

    def holding(sets: Mapping[str, int], effect: Effect) -> int:
        return reduce(int.__or__, (b for cond, b in sets.items() if snapshot.held((cond, effect), context).holds), 0)

    return holding(rights.allow, Effect.ALLOW) & ~holding(rights.deny, Effect.DENY)


_Kind = tuple[frozenset[str], frozenset[str], frozenset[str]]


class _Kinds:
    """People by what the policy can tell apart: those of one kind get the same answer to every question."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._book, self._lists = snapshot.book, snapshot.shelves.lists_naming
        self._nobody = next(name for name in map("user:anyone-{}".format, count()) if self._unknown(name))

    def of(self, person: Person) -> _Kind:
        """The names that a rule or a list has of their own, the roles given to the user, and those to the groups."""
        names = () if person.user is None else (person.user,)
        parents = self._book.parents
        return (
            frozenset(name for name in (*names, *person.groups) if self._bears(name)),
            frozenset(role for name in names for role in parents.get(name, ())),
            frozenset(role for name in person.groups for role in parents.get(name, ())),
        )

    def principal(self, person: Person) -> Principal:
        """Who would ask; for a group alone, a user that the policy does not name."""
        return Principal(person.user or self._nobody, person.groups)

    def answerable(self, things: Things) -> int:
        """What is not denied to everybody for what it is, such as a list of readers that no document has any more."""
        nobody = Standing(frozenset(), frozenset(), (), ())
        asked = enumerate(things.names)
        return things.bits(n for n, (obj, act) in asked if self._snapshot.matched(nobody, obj, act).problem is None)

    def _bears(self, name: str) -> bool:
        return name in self._book.of_subject or name in self._lists

    def _unknown(self, name: str) -> bool:
        return not self._bears(name) and name not in self._book.parents
