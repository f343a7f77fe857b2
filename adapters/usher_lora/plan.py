"""Which adapters would do: for which roles, from what, for how many people, and what they would save.

An adapter serves those who may read all that it learned, so roles that may read the same share one. Of a role counts
what it may read at any time: what waits for a condition is nothing that an adapter could forget outside of it. What
changes fast is left to retrieval, which has the facts of now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from uuid import UUID

from msgspec import Struct

from usher_policy.catalog import Catalog, restricts
from usher_policy.compile import Snapshot
from usher_policy.conditions import ALWAYS, Context
from usher_policy.decide import scope
from usher_policy.rights import READ, Asked, RightsOf, Things
from usher_policy.vocabulary import Principal

NO_COLLECTION = ""
"""Where documents stand that have a reader list and no collection."""

TOO_LITTLE = "too_little_to_learn"
NOBODY = "nobody_could_use_it"
ONLY_FAST = "all_of_it_changes_too_fast"


class Source(Struct, frozen=True):
    """A document: its tokens, and how many new versions it had in a month (of 30 days), on average."""

    document: UUID
    access_class: int
    tokens: int
    changes: float


class Limits(Struct, frozen=True):
    """A collection changes fast with `fast` or more changes a month, over its documents on average. Two groups are
    nearly identical from `similar` on: shared tokens by all tokens of both. Under `least_tokens` there is too little to
    learn. `epochs`: how often each token is trained on. `prompt_tokens`: those of the passages in one prompt."""

    fast: float = 1.0
    similar: float = 0.8
    least_tokens: int = 20_000
    epochs: int = 3
    prompt_tokens: int = 1_600


class Shelf(Struct, frozen=True):
    """The documents of one collection that somebody may read."""

    collection: str
    documents: int
    tokens: int
    changes: float


class Proposal(Struct, frozen=True):
    """One adapter. It would learn `learns` and leave `to_retrieval` alone; `people` could use it. A question of theirs
    needs `saved_per_question` fewer prompt tokens, the share of the passages that it knows by heart, which makes
    `saved_per_month` with as many questions as they asked. `doubts` say what speaks against it."""

    roles: tuple[str, ...]
    classes: tuple[int, ...]
    learns: tuple[Shelf, ...]
    to_retrieval: tuple[Shelf, ...]
    people: int
    tokens: int
    train_tokens: int
    saved_per_question: int
    saved_per_month: int
    doubts: tuple[str, ...]


class Loss(Struct, frozen=True):
    """What an adapter over an intersection would not know, of what these roles may read."""

    roles: tuple[str, ...]
    shelves: tuple[Shelf, ...]
    tokens: int


class Shared(Struct, frozen=True):
    """One adapter for two groups that are nearly identical; `similarity` is by tokens."""

    adapter: Proposal
    similarity: float
    losses: tuple[Loss, Loss]


class Plan(Struct, frozen=True):
    """`groups`: roles with identical readable classes, those with the most to save first. `nearly`: pairs of them."""

    groups: tuple[Proposal, ...]
    nearly: tuple[Shared, ...]


HEADER = (
    "roles",
    "learns (changes a month)",
    "left to retrieval (changes a month)",
    "people",
    "tokens to train",
    "saved a question",
    "saved a month",
    "but",
)


def table(plan: Plan) -> list[tuple[str, ...]]:
    """A row of text for each proposal, the shared ones after the others, as `HEADER` names its columns."""
    shared = [(one.adapter, _shared(one)) for one in plan.nearly]
    return [_row(one, note) for one, note in [*((one, "") for one in plan.groups), *shared]]


def _row(one: Proposal, note: str) -> tuple[str, ...]:
    learns, left = (_named(some, "{0} ({1:.1f})") for some in (one.learns, one.to_retrieval))
    numbers = (one.people, one.train_tokens, one.saved_per_question, one.saved_per_month)
    doubts = ", ".join(filter(None, (note, *(doubt.replace("_", " ") for doubt in one.doubts))))
    return (", ".join(one.roles), learns, left, *(f"{number:,}" for number in numbers), doubts)


def _named(shelves: Iterable[Shelf], form: str = "{0}") -> str:
    """As `form` says it: 0 is the collection, 1 how often it changes."""
    return ", ".join(form.format(shelf.collection or "(no collection)", shelf.changes) for shelf in shelves)


def _shared(one: Shared) -> str:
    lost = [f"{', '.join(loss.roles)} would miss {_named(loss.shelves)}" for loss in one.losses if loss.shelves]
    return "; ".join((f"shared, {one.similarity:.0%} alike", *lost))


def plan(
    snapshot: Snapshot,
    context: Context,
    people: Iterable[Principal],
    documents: Iterable[Source],
    questions: Mapping[str, int] | None = None,
    limits: Limits | None = None,
) -> Plan:
    """The adapters that the policy and the documents suggest. `people` are those of the directory, judged at
    `context`; `questions` counts by role those of the last month.

    1. what each role may read at any time  2. the same, the same group  3. pairs of groups that share nearly all
    """
    world = _World(snapshot, context, people, documents, questions or {}, limits or Limits())
    groups = world.groups()
    proposals = [world.proposal(roles, classes) for classes, roles in groups.items()]
    nearly = [shared for one, other in combinations(groups, 2) if (shared := world.shared(groups, one, other))]
    return Plan(
        tuple(sorted(proposals, key=lambda one: (-one.saved_per_month, -one.people * one.tokens, one.roles))),
        tuple(sorted(nearly, key=lambda one: (-one.similarity, one.adapter.roles))),
    )


def readable_by_roles(snapshot: Snapshot) -> dict[str, frozenset[int]]:
    """The access classes that each role of a policy may read whatever the time and the purpose.

    For policies that pass lint.
    """
    catalog, book = snapshot.catalog, snapshot.book
    things = Things.of(catalog, (book,))
    numbers = {asked: number for number, asked in enumerate(things.names)}
    needs = {
        number: things.bits(numbers[Asked(name, READ)] for name in names)
        for number, names in catalog.classes.items()
        if number > 0 and restricts(names)
    }
    rights = RightsOf(book, catalog, things)
    found: dict[str, frozenset[int]] = {}
    for role in sorted(name for name in book.subjects if name.startswith("role:")):
        own = rights.together([role])
        denied = 0
        for bits in own.deny.values():
            denied |= bits
        always = own.allow.get(ALWAYS, 0) & ~denied
        found[role] = frozenset(number for number, needed in needs.items() if not needed & ~always)
    return found


def collection_of(catalog: Catalog, access_class: int) -> str:
    """The collection that documents of a class stand in."""
    names = catalog.classes.get(access_class, frozenset())
    return next((name for name in sorted(names) if name.startswith("coll:")), NO_COLLECTION)


class _World:
    """What a plan is made from, each part worked out once."""

    def __init__(
        self,
        snapshot: Snapshot,
        context: Context,
        people: Iterable[Principal],
        documents: Iterable[Source],
        questions: Mapping[str, int],
        limits: Limits,
    ) -> None:
        self._snapshot, self._questions, self._limits = snapshot, questions, limits
        self._scopes: dict[tuple[int, ...], int] = defaultdict(int)
        for who in people:
            self._scopes[scope(snapshot, who, context).classes] += 1
        self._documents: dict[int, list[Source]] = defaultdict(list)
        for one in documents:
            self._documents[one.access_class].append(one)
        self._collections = {number: collection_of(snapshot.catalog, number) for number in self._documents}

    @cached_property
    def _fast(self) -> frozenset[str]:
        """The collections that change too fast to be learned."""
        whole = self._shelves(self._documents)
        return frozenset(shelf.collection for shelf in whole if shelf.changes >= self._limits.fast)

    def groups(self) -> dict[frozenset[int], tuple[str, ...]]:
        """Classes that have documents -> the roles that may read exactly these of them."""
        found: dict[frozenset[int], list[str]] = defaultdict(list)
        for role, classes in readable_by_roles(self._snapshot).items():
            if shelved := classes.intersection(self._documents):
                found[shelved].append(role)
        return {classes: tuple(roles) for classes, roles in found.items()}

    def proposal(self, roles: tuple[str, ...], classes: frozenset[int]) -> Proposal:
        learned = self._lasting(classes)
        shelves, left = self._shelves(learned), self._shelves(classes - learned)
        tokens = sum(shelf.tokens for shelf in shelves)
        all_tokens = tokens + sum(shelf.tokens for shelf in left)
        saved = self._limits.prompt_tokens * tokens // max(all_tokens, 1)
        people = sum(count for inside, count in self._scopes.items() if learned and learned.issubset(inside))
        return Proposal(
            roles=roles,
            classes=tuple(sorted(learned)),
            learns=shelves,
            to_retrieval=left,
            people=people,
            tokens=tokens,
            train_tokens=tokens * self._limits.epochs,
            saved_per_question=saved,
            saved_per_month=saved * sum(self._questions.get(role, 0) for role in roles),
            doubts=self._doubts(tokens, people, bool(left)),
        )

    def _doubts(self, tokens: int, people: int, left: bool) -> tuple[str, ...]:
        if not tokens and left:
            return (ONLY_FAST,)
        few = (TOO_LITTLE,) if tokens < self._limits.least_tokens else ()
        return few if people else (*few, NOBODY)

    def shared(
        self, groups: Mapping[frozenset[int], tuple[str, ...]], one: frozenset[int], other: frozenset[int]
    ) -> Shared | None:
        """One adapter for two groups; None if they are not alike enough."""
        first, second = self._lasting(one), self._lasting(other)
        both, either = self._tokens(first & second), self._tokens(first | second)
        if not both or both == either or both < self._limits.similar * either:
            return None
        losses = [
            Loss(groups[whole], shelves := self._shelves(own - (first & second)), sum(s.tokens for s in shelves))
            for whole, own in ((one, first), (other, second))
        ]
        adapter = self.proposal((*groups[one], *groups[other]), one & other)
        return Shared(adapter, both / either, (losses[0], losses[1]))

    def _lasting(self, classes: frozenset[int]) -> frozenset[int]:
        return frozenset(number for number in classes if self._collections[number] not in self._fast)

    def _tokens(self, classes: Iterable[int]) -> int:
        return sum(one.tokens for number in classes for one in self._documents[number])

    def _shelves(self, classes: Iterable[int]) -> tuple[Shelf, ...]:
        found: dict[str, list[Source]] = defaultdict(list)
        for number in classes:
            found[self._collections[number]] += self._documents[number]
        return tuple(_shelf(name, found[name]) for name in sorted(found))


def _shelf(name: str, documents: Sequence[Source]) -> Shelf:
    changes = sum(one.changes for one in documents) / len(documents)
    return Shelf(name, len(documents), sum(one.tokens for one in documents), changes)
