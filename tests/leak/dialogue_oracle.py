"""Who may have what on screen or in a prompt: a second model of it, in plain words, for the product to be held against.

It shares no code with the product. Rights are asked rule by rule, conversations are lists, and what an exchange has
shown is told by the planted words that its prompt held.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")

NOT_SHOWN = "An earlier part of this conversation is not shown: it was made of documents that you may not read now."
_PLANTED = re.compile(r"\b(?:plum|fake)\d+\b")


def planted(texts: Iterable[str]) -> frozenset[str]:
    """The planted words in any of the texts: `plum...` from documents, `fake...` that clients invent."""
    return frozenset(word for text in texts for word in _PLANTED.findall(text))


def same_words(text: str) -> str:
    """What is left of a text that a client may have laid out anew."""
    return "".join(re.sub(r"\[[^\]]*\]", "", unicodedata.normalize("NFC", text)).split())


@dataclass(frozen=True)
class Label:
    """`readers` are typed names; None: no reader list."""

    collection: str | None
    markings: frozenset[str] = frozenset()
    readers: frozenset[str] | None = None


@dataclass
class Document:
    """`words` are all that it ever held; the last one is in its text of now. A deleted one keeps its label. `sealed` is
    the label that it had before it was sealed."""

    path: str
    topic: str
    label: Label
    words: list[str]
    deleted: bool = False
    sealed: Label | None = None

    def seal(self, reader: str) -> None:
        """To one reader, or back to the label that it had."""
        if self.deleted:
            return
        if self.sealed is None:
            self.label, self.sealed = Label(None, readers=frozenset({reader})), self.label
        else:
            self.label, self.sealed = self.sealed, None

    @property
    def text(self) -> str:
        return f"The rule on {self.topic} says {self.words[-1]}.\n"


@dataclass
class Person:
    groups: tuple[str, ...]
    active: bool = True


@dataclass
class Company:
    """`rules` are (subject, object, effect), `links` (member, role). `before` is the company as it was, while a change
    is under way: then both must allow."""

    people: dict[str, Person] = field(default_factory=dict)
    rules: set[tuple[str, str, str]] = field(default_factory=set)
    links: set[tuple[str, str]] = field(default_factory=set)
    documents: dict[str, Document] = field(default_factory=dict)
    before: Company | None = None

    def policy(self) -> str:
        permissions = (
            f"p, {who}, {what}, {'chat.ask' if what == 'sys:chat' else 'document.read'}, {effect}, always"
            for who, what, effect in sorted(self.rules)
        )
        return "\n".join([*permissions, *(f"g, {member}, {role}" for member, role in sorted(self.links)), ""])

    def shelving(self) -> tuple[str, str]:
        """The rules and the access list of the documents that are in, as `usher ingest` takes them."""
        rules, lists = [], []
        for document in self.documents.values():
            label = document.label
            rules.append({"glob": document.path, "collection": label.collection, "markings": sorted(label.markings)})
            if label.readers is not None:
                lists.append({"path": document.path, "readers": sorted(label.readers)})
        return json.dumps(rules), "".join(json.dumps(line) + "\n" for line in lists)

    def is_(self, user: str) -> set[str]:
        """All that a person is: named, grouped, and by role."""
        names = {f"user:{user}", *(f"group:{group}" for group in self.people[user].groups)}
        while more := {role for member, role in self.links if member in names} - names:
            names |= more
        return names

    def may(self, user: str, thing: str) -> bool:
        """Somebody active whom a rule allows and none denies, on the thing or on a collection that it lies in."""
        names, above = self.is_(user), {thing}
        while "/" in thing:
            thing = thing.rpartition("/")[0]
            above.add(thing)
        effects = {effect for who, what, effect in self.rules if who in names and what in above}
        return self.people[user].active and effects == {"allow"}

    def chats(self, user: str) -> bool:
        return self.may(user, "sys:chat") and (self.before is None or self.before.chats(user))

    def reads(self, user: str, path: str) -> bool:
        """By the label of now; for a deleted document the last one. Every requirement counts."""
        if self.before is not None and path in self.before.documents and not self.before.reads(user, path):
            return False
        label = self.documents[path].label
        needed = [f"mark:{marking}" for marking in label.markings]
        if label.collection is not None:
            needed.append(f"coll:{label.collection}")
        listed = label.readers is None or (self.people[user].active and bool(label.readers & self.is_(user)))
        return listed and all(self.may(user, thing) for thing in needed)

    def reads_all(self, user: str, paths: Iterable[str]) -> bool:
        return all(self.reads(user, path) for path in paths)

    def words(self, paths: Iterable[str]) -> frozenset[str]:
        return frozenset(word for path in paths for word in self.documents[path].words)

    def told_by(self, words: Iterable[str]) -> frozenset[str]:
        """The documents whose text of now holds one of the words."""
        wanted = set(words)
        return frozenset(d.path for d in self.documents.values() if not d.deleted and d.words[-1] in wanted)


@dataclass(eq=False)
class Exchange:
    """`exposures` are paths. `answer` is as recorded, `seen` what its person saw of it, `typed` the planted words that
    came from the person's own hand, here or in what its prompt held. `at` grows with each exchange of anybody."""

    id: UUID
    talk: Talk
    parent: Exchange | None
    question: str
    answer: str
    seen: str
    exposures: frozenset[str]
    typed: frozenset[str]
    at: int

    def path(self) -> list[Exchange]:
        return [*(self.parent.path() if self.parent else ()), self]


@dataclass(eq=False)
class Talk:
    """A conversation. Its title is the one that it was given, else of its first question, and tells of whatever
    `told_of` says. `used` is when it was last."""

    id: UUID
    owner: str
    named: str | None = None
    told_of: frozenset[str] = frozenset()
    used: int = 0
    exchanges: list[Exchange] = field(default_factory=list)

    def took(self, exchange: Exchange) -> None:
        if self.named is None and not self.exchanges:
            self.told_of = exchange.exposures
        self.exchanges.append(exchange)
        self.used = exchange.at

    def rename(self, name: str) -> None:
        self.named = name
        self.told_of = frozenset[str]().union(*(exchange.exposures for exchange in self.exchanges))

    def is_titled(self, title: str) -> bool:
        """Whether this is its name, or the beginning of its first question."""
        return title == self.named if self.named else self.exchanges[0].question.startswith(title.rstrip("…"))


@dataclass(frozen=True)
class Recalled:
    """An earlier exchange where a prompt may hold it, while all of these exposures may be read."""

    exchange: Exchange
    exposures: frozenset[str]


@dataclass(frozen=True)
class Place:
    """Where a question goes: a conversation (None: a new one), after an exchange, with what came before."""

    talk: Talk | None
    parent: Exchange | None = None
    before: tuple[Recalled, ...] = ()
    left_out: int = 0


def placed(talk: Talk | None, parent: Exchange | None, left_out: int = 0) -> Place:
    path = parent.path() if parent else ()
    return Place(talk, parent, tuple(Recalled(e, e.exposures) for e in path), left_out)


Turn = tuple[str | None, str]
"""What a client sends again: a question (None: without one), and the answer to it."""


class Memory:
    """Everybody's conversations that are not deleted."""

    def __init__(self) -> None:
        self.talks: list[Talk] = []

    def of(self, user: str) -> list[Talk]:
        return [talk for talk in self.talks if talk.owner == user]

    def exchanges(self, user: str) -> list[Exchange]:
        return [exchange for talk in self.of(user) for exchange in talk.exchanges]

    def resent(self, user: str, turns: Sequence[Turn], talk: Talk | None) -> Place:
        """The place that these turns name: the person's own answers among them, all others left out."""
        mine = sorted(self.exchanges(user), key=lambda e: e.at)
        found: list[Recalled] = []
        left_out = 0
        for question, answer in turns:
            same = [e for e in mine if e.seen and same_words(e.seen) == same_words(answer)]
            if not same:
                left_out += 1 if question is None else 2
                continue
            meant = [e for e in same if same_words(e.question) == same_words(question or "")] or same
            found.append(Recalled(meant[-1], frozenset[str]().union(*(e.exposures for e in same))))
        inside = [recalled.exchange for recalled in found if talk in (None, recalled.exchange.talk)]
        if not found and talk is not None:
            return placed(talk, talk.exchanges[-1], left_out)
        if not inside:
            return Place(talk, None, tuple(found), left_out)
        return Place(inside[-1].talk, inside[-1], tuple(found), left_out)


def collapsed(items: Iterable[T | None]) -> Iterator[T | None]:
    """One None for each run of them."""
    last: object = items
    for item in items:
        if item is not None or last is not None:
            yield item
        last = item


def in_prompt(company: Company, user: str, place: Place) -> list[Recalled]:
    """What came before that a prompt for this person may hold now."""
    return [r for r in place.before if r.exchange.seen and company.reads_all(user, r.exposures)]


def history(company: Company, user: str, place: Place) -> list[tuple[str, str]]:
    """The (question, answer) pairs of a prompt, oldest first."""
    kept = {id(r) for r in in_prompt(company, user, place)}
    answered = (r for r in place.before if r.exchange.seen)
    said = collapsed(r.exchange if id(r) in kept else None for r in answered)
    return [
        (NOT_SHOWN, NOT_SHOWN) if e is None else (e.question, re.sub(r"[ \t]*\[1\]", "", e.answer).strip())
        for e in said
    ]


def on_screen(company: Company, talk: Talk) -> list[Exchange | None]:
    """The exchanges of a conversation as its person sees them; None is a placeholder."""
    visible = (e if company.reads_all(talk.owner, e.exposures) else None for e in talk.exchanges)
    return list(collapsed(visible))


def parent_on_screen(company: Company, exchange: Exchange) -> UUID | None:
    """The nearest one before it, on its branch, that is visible."""
    at = exchange.parent
    while at is not None and not company.reads_all(exchange.talk.owner, at.exposures):
        at = at.parent
    return None if at is None else at.id
