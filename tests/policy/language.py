"""The whole rule language as random stories: rules that come and go in any order, over labels that grow or shrink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import strategies as st
from tests.policy.worlds import CONDITIONS, CONTEXTS

from usher_policy.catalog import Catalog, readers_digest
from usher_policy.conditions import Context
from usher_policy.rules import Permission, RoleLink, Rules
from usher_policy.vocabulary import RESERVED, SYSTEM_OBJECTS, Action, Effect, Principal, fits, typed

Line = Permission | RoleLink
STRANGE = [*sorted(RESERVED), "\n", "\u0440", "e\u0301", "\u200b", " "]
"""What names are made of beside letters: every reserved character, and what does not show or looks like another."""


@dataclass(frozen=True)
class Names:
    """The names of one story; those with a strange character in them are told from those without."""

    users: Sequence[str]
    groups: Sequence[str]
    roles: Sequence[str]
    collections: Sequence[str]
    marks: Sequence[str]
    adapters: Sequence[str]

    @classmethod
    def of(cls, strange: str) -> Names:
        odd, paths = f"a{strange}b", ["a", "a/b", "a/b/c", "ab", "a/bc", f"a/x{strange}", f"a/x{strange}/y"]
        return cls(
            users=["user:alice", "user:bob", typed("user", odd), typed("user", "ab")],
            groups=["group:staff", "group:guest", typed("group", odd)],
            roles=[*(f"role:r{level}" for level in range(11)), typed("role", odd)],
            collections=[typed("coll", path) for path in paths],
            marks=["mark:pii", typed("mark", odd)],
            adapters=["adapter:support", typed("adapter", odd)],
        )

    def objects(self, lists: Sequence[str]) -> list[str]:
        return [*self.collections, *self.marks, *lists, *self.adapters, *sorted(SYSTEM_OBJECTS), *self.roles[:2]]


@dataclass(frozen=True)
class Story:
    """Rules at first, changes of them (lines removed, lines added), the labels before and after, and who asks what."""

    first: tuple[Line, ...]
    changes: tuple[tuple[tuple[Line, ...], tuple[Line, ...]], ...]
    catalogs: tuple[Catalog, Catalog]
    principals: tuple[Principal, ...]
    contexts: tuple[Context, ...]
    questions: tuple[tuple[str, Action], ...]

    @property
    def last(self) -> tuple[Line, ...]:
        """The rules after all changes. A removed line takes all that are equal to it along."""
        lines = list(self.first)
        for removed, added in self.changes:
            lines = [line for line in lines if line not in removed] + list(added)
        return tuple(lines)


def rules_of(lines: Sequence[Line]) -> Rules:
    permissions = tuple(line for line in lines if isinstance(line, Permission))
    return Rules(permissions, tuple(line for line in lines if isinstance(line, RoleLink)))


def _permissions(names: Names, lists: list[str]) -> st.SearchStrategy[Permission]:
    subjects = st.one_of(
        *map(st.sampled_from, (names.roles[:3], names.roles[:4], names.roles[7:], names.groups, names.users))
    )
    read = [(obj, Action.DOCUMENT_READ) for obj in (*names.collections[:3] * 2, *names.collections, *names.marks * 2)]
    read += [(name, Action.DOCUMENT_READ) for name in lists]
    rest = [(obj, action) for action in Action for obj in names.objects(lists) if fits(action, obj)]
    targets = st.one_of(st.sampled_from(read), st.sampled_from(read), st.sampled_from(rest))
    effects = st.sampled_from([Effect.ALLOW] * 5 + [Effect.DENY])
    return st.builds(
        lambda sub, target, eft, cond: Permission(sub, *target, eft, cond),
        subjects,
        targets,
        effects,
        st.sampled_from(CONDITIONS),
    )


def _links(names: Names) -> st.SearchStrategy[list[RoleLink]]:
    roles = names.roles
    into = st.builds(RoleLink, st.sampled_from([*names.users, *names.groups]), st.sampled_from([*roles[:3], roles[-1]]))
    between = st.builds(RoleLink, st.sampled_from(roles), st.sampled_from(roles))  # circles and all
    chain = st.sampled_from([3, 8, 9, 10, 11]).map(
        lambda end: [RoleLink(a, b) for a, b in pairwise([*roles[:end], roles[-1]])]
    )
    return st.tuples(st.lists(into, min_size=5, max_size=12), st.one_of(st.lists(between, max_size=6), chain)).map(
        lambda two: two[0] + two[1]
    )


@st.composite
def _catalogs(draw: st.DrawFn, names: Names, readers: dict[str, frozenset[str]]) -> tuple[Catalog, Catalog]:
    """Two label versions: the second has more, the same, or other classes; a reader list may come with the second."""
    requirements = st.sampled_from([*names.collections, *names.marks, *readers, "coll:not,canonical"])
    classes = draw(st.lists(st.frozensets(requirements, max_size=3), min_size=4, max_size=10, unique=True))
    kept = draw(st.integers(0, len(classes)))
    late = draw(st.booleans())
    first = dict(enumerate(classes[:kept]))
    second = dict(enumerate(classes if draw(st.booleans()) else classes[::-1]))
    return Catalog(1, first, {} if late else readers), Catalog(2, second, readers)


@st.composite
def _contexts(draw: st.DrawFn) -> tuple[Context, ...]:
    """Two purposes at two instants, or one purpose at both; seldom a time without its zone, which holds for nobody."""
    one, other = draw(st.permutations(CONTEXTS))[:2]
    other = replace(other, purpose=draw(st.sampled_from([one.purpose, other.purpose])))
    if draw(st.integers(0, 9)) == 0:
        other = replace(other, now=other.now.replace(tzinfo=None))
    return one, other


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Nested roles to beyond the depth limit and in circles, several groups, denies on everything, conditions, nested
    collections, reader lists, markings, one strange character in names of every kind, equal rules, lines toggled."""
    names = Names.of(draw(st.sampled_from(STRANGE)))
    everybody = [*names.users, *names.groups, *names.roles]
    listed = draw(st.lists(st.sets(st.sampled_from(everybody), max_size=3), min_size=1, max_size=3))
    readers = {readers_digest(subjects): frozenset(subjects) for subjects in listed}
    lines: list[Line] = [
        *draw(st.lists(_permissions(names, list(readers)), min_size=10, max_size=30)),
        *draw(_links(names)),
    ]
    lines = draw(st.permutations(lines))
    start = draw(st.integers(len(lines) // 2, len(lines)))
    toggled = draw(st.lists(st.sets(st.sampled_from(lines), max_size=6), max_size=4))
    changes, now = [], list(lines[:start])
    for some in (set(lines[start:]), *toggled):
        removed = tuple(line for line in dict.fromkeys(lines) if line in some and line in now)
        added = tuple(line for line in dict.fromkeys(lines) if line in some and line not in now)
        now = [line for line in now if line not in removed] + list(added)
        changes.append((removed, added))
    memberships = st.lists(st.frozensets(st.sampled_from(names.groups), max_size=3), min_size=4, max_size=4)
    principals = tuple(Principal(user, groups) for user, groups in zip(names.users, draw(memberships), strict=True))
    rest = [(obj, action) for action in Action for obj in names.objects([]) if fits(action, obj)]
    read = [(name, Action.DOCUMENT_READ) for name in (*names.collections, *names.marks, *readers)]
    named = [(line.obj, line.act) for line in lines if isinstance(line, Permission)]
    questions = dict.fromkeys([*read, *named, *draw(st.lists(st.sampled_from(rest), max_size=3))])
    return Story(
        first=tuple(lines[:start]),
        changes=tuple(changes),
        catalogs=draw(_catalogs(names, readers)),
        principals=principals,
        contexts=draw(_contexts()),
        questions=tuple(questions),
    )
