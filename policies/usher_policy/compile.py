"""A policy version compiled for speed: which rules concern whom, and which access classes they cover.

The meaning is Casbin's own, for exactly the model in `model.conf`; `oracle.py` asks Casbin itself. What a set of
subjects may do is worked out once per set (of those subjects that any rule or reader list names) and remembered, in
bounded memory, for as long as rules and catalog stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from usher_policy.book import RuleBook
from usher_policy.catalog import Catalog, restricts
from usher_policy.conditions import ALWAYS, Context, Held, evaluate
from usher_policy.rules import Permission, Rules
from usher_policy.vocabulary import Action, Effect, Principal, ancestors, is_name

_REMEMBERED: Final = 16_384
"""Entries of each memory; a full one is emptied, since an entry is worked out again in about a millisecond."""

K = TypeVar("K")
V = TypeVar("V")


def _remember(memory: dict[K, V], key: K, value: V, most: int = _REMEMBERED) -> V:
    if len(memory) >= most:
        memory.clear()
    memory[key] = value
    return value


@dataclass(frozen=True, slots=True)
class Shelves:
    """A catalog by what it is looked up by: who is on which reader list, and which requirements a name covers."""

    catalog: Catalog
    classes: tuple[tuple[int, frozenset[str]], ...] = ()
    """Sorted by id; only those that somebody could ever read."""
    covered: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """An object's name -> itself and the requirements below it that occur in a class."""
    lists_naming: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, catalog: Catalog) -> Shelves:
        return cls(Catalog()).extended(catalog)

    def updated(self, catalog: Catalog) -> Shelves:
        """The shelves of `catalog`: these same ones if nothing but its label version changed."""
        old = self.catalog
        if old.classes == catalog.classes and old.readers == catalog.readers:
            return self
        if old.classes.items() <= catalog.classes.items() and old.readers.items() <= catalog.readers.items():
            return self.extended(catalog)
        return Shelves.of(catalog)

    def extended(self, catalog: Catalog) -> Shelves:
        """The shelves of a catalog that has all of this one's classes and lists; only the new ones are worked on."""
        readers = [name for name in catalog.readers if name not in self.catalog.readers]
        # An old class may have waited for a reader list that is known only now, so it is looked at again.
        waiting = set(catalog.classes) - {number for number, _ in self.classes}
        added = [
            (number, catalog.classes[number])
            for number in waiting
            if _readable(number, catalog.classes[number], catalog)
        ]
        covered: dict[str, set[str]] = defaultdict(set)
        for name in {name for _, names in added for name in names}:
            for above in (name, *ancestors(name)):
                covered[above].add(name)
        naming: dict[str, set[str]] = defaultdict(set)
        for name in readers:
            for subject in catalog.readers[name]:
                naming[subject].add(name)
        classes = tuple(sorted([*self.classes, *added]))
        return Shelves(catalog, classes, _united(self.covered, covered), _united(self.lists_naming, naming))


def _readable(number: int, names: frozenset[str], catalog: Catalog) -> bool:
    """Whether a class could be read at all: not class 0, somebody's, and every requirement known and well formed."""
    known = all(is_name(name) and (name in catalog.readers or not name.startswith("readers:")) for name in names)
    return number > 0 and restricts(names) and known


def _united(old: Mapping[str, frozenset[str]], new: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {**old, **{key: old.get(key, frozenset()) | values for key, values in new.items()}}


@dataclass(frozen=True, slots=True)
class Reading:
    """A `document.read` rule of somebody: what it covers, and the bits of the conditions that it waits for."""

    rule: Permission
    covers: frozenset[str]
    waits_for: int


@dataclass(frozen=True, slots=True)
class View:
    """What somebody may read while certain conditions hold."""

    classes: tuple[int, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What rules and reader lists say of one set of subjects."""

    subjects: frozenset[str]
    lists: frozenset[str]
    readings: tuple[Reading, ...]
    conditions: tuple[tuple[str, Effect], ...]
    views: dict[int, View] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Matched:
    """The rules that concern one set of subjects, one object and one action. `problem`: why the question is void."""

    allow: tuple[Permission, ...] = ()
    deny: tuple[Permission, ...] = ()
    listed: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Memory:
    people: dict[Principal, Standing | None] = field(default_factory=dict)
    standings: dict[frozenset[str], Standing] = field(default_factory=dict)
    matched: dict[tuple[Standing, str, str], Matched] = field(default_factory=dict)
    held: dict[tuple[str, Effect, str | None], tuple[Context, Held]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One policy version over one label version; a value, but for what it remembers. Ask it through `decide`."""

    version: int
    digest: str
    """That of the rules, as `Rules.digest` has it."""
    catalog: Catalog
    book: RuleBook
    shelves: Shelves
    _memory: _Memory = field(default_factory=_Memory, repr=False, compare=False)

    @property
    def rules(self) -> Rules:
        """All rules, in no order; made anew at each call."""
        return self.book.rules

    def changed(self, version: int, digest: str, removed: Rules, added: Rules) -> Snapshot:
        """Another version over the same catalog, of this one's rules without some and with others; `digest` is that of
        all its rules, which was known when it was proposed."""
        return Snapshot(version, digest, self.catalog, self.book.changed(removed, added), self.shelves)

    def with_catalog(self, catalog: Catalog) -> Snapshot:
        """The same rules over another catalog: rules are not compiled again, and added classes cost only themselves."""
        shelves = self.shelves.updated(catalog)
        memory = self._memory if shelves is self.shelves else _Memory()
        return Snapshot(self.version, self.digest, catalog, self.book, shelves, memory)

    def standing(self, principal: Principal) -> Standing | None:
        """What is known of a principal; None where it is malformed, and so denied everything."""
        people = self._memory.people
        if principal in people:
            return people[principal]
        return _remember(people, principal, None if principal.problem else self._stand(principal))

    def _stand(self, principal: Principal) -> Standing:
        closure = self.book.closure(principal)
        subjects = frozenset(s for s in closure if s in self.book.of_subject or s in self.shelves.lists_naming)
        known = self._memory.standings.get(subjects)
        return known or _remember(self._memory.standings, subjects, _standing(self.book, self.shelves, subjects))

    def matched(self, standing: Standing, obj: str, action: str) -> Matched:
        """The rules on `obj`, and on the collections above it, that name one of the subjects."""
        key = (standing, obj, action)
        known = self._memory.matched.get(key)
        return known or _remember(self._memory.matched, key, _match(self.book, self.shelves, standing, obj, action))

    def view(self, standing: Standing, held: int) -> View:
        """What is readable while the conditions whose bits are in `held` hold."""
        known = standing.views.get(held)
        return known or _remember(standing.views, held, _view(self.shelves, standing, held), most=64)

    def held(self, rule: tuple[str, Effect], context: Context) -> Held:
        """The value of a condition, remembered until it can change."""
        if context.now.tzinfo is None:
            return evaluate(*rule, context)
        known = self._memory.held.get((*rule, context.purpose))
        if known is not None:
            since, value = known
            if since.now <= context.now and (value.valid_until is None or context.now < value.valid_until):
                return value
        value = evaluate(*rule, context)
        _remember(self._memory.held, (*rule, context.purpose), (context, value))
        return value


def _standing(book: RuleBook, shelves: Shelves, subjects: frozenset[str]) -> Standing:
    lists = frozenset[str]().union(*(shelves.lists_naming.get(subject, ()) for subject in subjects))
    rules = [
        rule
        for subject in subjects
        for rule in book.of_subject.get(subject, ())
        if rule.act == Action.DOCUMENT_READ and rule.obj in shelves.covered
    ]
    conditions = tuple(sorted({(rule.cond, rule.eft) for rule in rules if rule.cond != ALWAYS}))
    bits = {condition: 1 << place for place, condition in enumerate(conditions)}
    readings = [Reading(rule, shelves.covered[rule.obj], bits.get((rule.cond, rule.eft), 0)) for rule in rules]
    return Standing(subjects, lists, tuple(readings), conditions)


def _match(book: RuleBook, shelves: Shelves, standing: Standing, obj: str, action: str) -> Matched:
    problem = _void(shelves, obj, action)
    if problem is not None:
        return Matched(problem=problem)
    rules = [
        rule
        for name in (obj, *ancestors(obj))
        for rule in book.on_object.get((name, action), ())
        if rule.sub in standing.subjects
    ]
    listed = action == Action.DOCUMENT_READ and obj in standing.lists
    return Matched(_of_effect(rules, Effect.ALLOW), _of_effect(rules, Effect.DENY), listed)


def _of_effect(rules: Iterable[Permission], effect: Effect) -> tuple[Permission, ...]:
    return tuple(rule for rule in rules if rule.eft == effect)


def _void(shelves: Shelves, obj: str, action: str) -> str | None:
    if action not in _ACTIONS:
        return "the action is unknown"
    if not is_name(obj):
        return "the object is not a typed name in canonical form"
    if obj.startswith("readers:") and obj not in shelves.catalog.readers:
        return "the reader list is unknown"
    return None


_ACTIONS: Final = frozenset(str(action) for action in Action)


def _view(shelves: Shelves, standing: Standing, held: int) -> View:
    active = [reading for reading in standing.readings if reading.waits_for & held == reading.waits_for]
    allowed = _covered(active, Effect.ALLOW) | standing.lists
    readable = allowed - _covered(active, Effect.DENY)
    classes = tuple(number for number, names in shelves.classes if names <= readable)
    return View(classes, tuple(sorted({reading.rule.id for reading in active})))


def _covered(readings: Iterable[Reading], effect: Effect) -> frozenset[str]:
    return frozenset[str]().union(*(reading.covers for reading in readings if reading.rule.eft == effect))


def compile_snapshot(version: int, rules: Rules, catalog: Catalog) -> Snapshot:
    """The snapshot of a policy version. `rules` need not have passed lint: the answers are Casbin's all the same."""
    return Snapshot(version, rules.digest, catalog, RuleBook.of(rules), Shelves.of(catalog))
