"""People and documents of one company on the stage of a whole Usher: each act is done in the product and noted in the
second model, and what the product then shows is compared with what that model says."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from tests.leak.dialogue_oracle import (
    Company,
    Document,
    Exchange,
    Label,
    Memory,
    Person,
    Talk,
    Turn,
    history,
    in_prompt,
    planted,
)
from tests.leak.dialogue_oracle import Place as Put
from tests.leak.dialogue_world import LATER, Act, DialogueWorld, Told, nothing

from usher.core.history import Asked, split
from usher.ports import ModelRequest
from usher.threads import Place

T = TypeVar("T")

TOPICS = ("apples", "bread", "candles", "drums", "eels", "flutes")
RIGHTS, PAPERS = ("rule", "link", "groups", "active"), ("new", "edit", "move", "remove", "seal", "seal")
MOST_PEOPLE, MOST_DOCUMENTS = 3, 7

Change = tuple[str, int, int, int]
_numbers = itertools.count(1)


def pick(items: Sequence[T], n: int) -> T:
    return items[n % len(items)]


@dataclass
class Judged:
    """What the model may be told on behalf of `user`, with the exposures of the history. `passages` are the documents
    that it was shown, `wrong` what it should not have been told."""

    user: str
    history: list[tuple[str, str]]
    typed: frozenset[str]
    exposures: frozenset[str]
    passages: frozenset[str] = frozenset()
    wrong: list[str] = field(default_factory=list)


class Play:
    """`user` and `talk` are whom and what the last act was about. `meanwhile` is called whenever a change is recorded
    and not yet in force, unless an answer flows."""

    def __init__(self, world: DialogueWorld, meanwhile: Act) -> None:
        self.world, self.meanwhile = world, meanwhile
        self.answering = False
        self.name = f"x{next(_numbers)}"
        self.company, self.memory = Company(), Memory()
        self.talk: Talk | None = None
        self.user = self._named("ann")
        self.feedback: dict[UUID, str] = {}
        self.roles = [f"role:{self._named(role)}" for role in ("red", "blue")]
        self.groups = [self._named(group) for group in ("all", "east", "west")]
        self.shelves = [self._named(shelf) for shelf in ("hall", "hall/desk", "vault")]
        self.marking = self._named("secret")

    def _named(self, name: str) -> str:
        return f"{self.name}{name}"

    def things(self) -> list[str]:
        return [*(f"coll:{shelf}" for shelf in self.shelves), f"mark:{self.marking}", "sys:chat"]

    async def begin(self) -> None:
        """Two people with different rights, three documents."""
        company, (red, blue), (hall, _, vault) = self.company, self.roles, self.shelves
        company.links |= {(f"group:{self.groups[0]}", f"role:{self._named('staff')}")}
        company.rules |= {(role, f"coll:{self._named('empty')}", "allow") for role in self.roles}  # so that they exist
        company.rules |= {(f"role:{self._named('staff')}", "sys:chat", "allow")}
        company.rules |= {(red, f"coll:{hall}", "allow"), (blue, f"coll:{vault}", "allow")}
        company.rules |= {(blue, f"mark:{self.marking}", "allow"), (blue, f"coll:{hall}", "allow")}
        company.links |= {(f"user:{self._named('ann')}", blue), (f"user:{self._named('ben')}", red)}
        await self.world.apply(company)
        for user in ("ann", "ben"):
            await self._put(self._named(user), self.groups[:1])
        for topic, label in zip(
            TOPICS, (Label(hall), Label(vault, frozenset({self.marking})), Label(vault)), strict=False
        ):
            self._shelve(topic, label)
        await self._ingest()

    async def _put(self, user: str, groups: Sequence[str]) -> None:
        self.company.people[user] = Person(tuple(groups))
        await self.world.put_person(user, groups)

    def _shelve(self, topic: str, label: Label) -> None:
        path = f"{self._named(topic)}-{len(self.company.documents)}.md"
        self.company.documents[path] = Document(path, topic, label, [self.word("plum")])

    async def _ingest(self) -> None:
        await self.world.ingest(self.company, self.name)

    def word(self, kind: str) -> str:
        return f"{kind}{next(_numbers)}"

    # What changes

    async def change(self, change: Change) -> None:
        """The change, and a look while it is recorded but not yet in force."""
        self.company.before = deepcopy(self.company)
        if not self.answering:
            self.world.meanwhile = self.meanwhile
        try:
            await self._change(*change)
        finally:
            self.company.before, self.world.meanwhile = None, nothing

    async def _change(self, kind: str, a: int, b: int, c: int) -> None:
        if kind in PAPERS:
            self._paper(kind, a, b, c)
            await self._ingest()
        elif kind in ("rule", "link"):
            self._rights(kind, a, b, c)
            await self.world.apply(self.company)
        else:
            await self._people(kind, a, b, c)

    def _rights(self, kind: str, a: int, b: int, c: int) -> None:
        if kind == "link":
            members = [*(f"user:{user}" for user in self.company.people), *(f"group:{g}" for g in self.groups)]
            self.company.links ^= {(pick(members, a), pick(self.roles, b))}
            return
        who, what = pick(self.roles, a), pick(self.things(), b)
        self.company.rules -= {(who, what, "allow"), (who, what, "deny")}
        if effect := pick(("allow", None, "allow", None, "deny"), c):
            self.company.rules.add((who, what, effect))

    async def _people(self, kind: str, a: int, b: int, c: int) -> None:
        user = self.user = pick(list(self.company.people), a)
        person = self.company.people[user]
        if kind == "active" and person.active:
            person.active = False
            await self.world.deactivate(user)
            return
        if kind == "active" and len(self.company.people) < MOST_PEOPLE and b % 2:
            user = self._named(f"guest{b}")
        some = [group for bit, group in enumerate(self.groups[1:]) if b >> bit & 1]
        await self._put(user, some if c == 0 else [self.groups[0], *some])

    def _paper(self, kind: str, a: int, b: int, c: int) -> None:
        documents = list(self.company.documents.values())
        shown = {path for exchange in self.talk.exchanges for path in exchange.exposures} if self.talk else set()
        document = pick([d for d in documents if d.path in shown] or documents, a)
        label = self._label(b, c)
        if kind == "new" and len(documents) < MOST_DOCUMENTS:
            self._shelve(pick(TOPICS, a), label)
        elif kind == "remove":
            document.deleted = not document.deleted and sum(not d.deleted for d in documents) > 1
        elif kind == "seal":
            document.seal(f"user:{pick(list(self.company.people), c)}")
        elif not document.deleted:
            if kind == "edit":
                document.words.append(self.word("plum"))
            if kind == "move" or c == 0:
                document.label = label

    def _label(self, b: int, c: int) -> Label:
        readers = [f"user:{pick(list(self.company.people), b)}", f"group:{pick(self.groups, b)}", pick(self.roles, b)]
        listed = frozenset({pick(readers, c)}) if b % 4 == 0 else None
        shelf = pick([*self.shelves, None], c) if listed else pick(self.shelves, c)
        return Label(shelf, frozenset({self.marking} if b % 3 == 0 else ()), listed)

    # What is asked

    def judged(self, user: str, put: Put, question: str) -> Judged:
        """From here on the model is told things on behalf of this person."""
        before = in_prompt(self.company, user, put)
        typed = planted([question]).union(*(r.exchange.typed for r in before))
        exposures = frozenset[str]().union(*(r.exposures for r in before))
        judged = Judged(user, history(self.company, user, put), typed, exposures)
        self.world.model.judge = lambda request: self._judge(judged, request)
        return judged

    def _judge(self, judged: Judged, request: ModelRequest) -> None:
        """Everything in a prompt may be read by the person now, by the labels and rights of now."""
        company, user = self.company, judged.user
        readable = [path for path in company.documents if company.reads(user, path)]
        told = planted(message["content"] for message in request.messages)
        if more := told - company.words(readable) - judged.typed:
            judged.wrong.append(f"a prompt holds {sorted(more)}")
        if not request.passages:  # a follow-up is written out
            return
        words = planted(passage.text for passage in request.passages)
        judged.passages = company.told_by(words)
        if words - company.words(judged.passages) or not company.reads_all(user, judged.passages):
            judged.wrong.append("a passage is of a text that is not there now, or not for this person")
        talk = [message["content"] for message in request.messages[1:-1]]
        if talk != [text for pair in judged.history for text in pair]:
            judged.wrong.append(f"the history is {talk}, and should be {judged.history}")

    async def ask(
        self, user: str, put: Put, place: Place, question: str, *, again: Exchange | None = None, leave: bool = False
    ) -> Told:
        """`again`: the client asks the question of that exchange once more without sending it. What that one has shown
        counts as shown by this one too."""
        judged = self.judged(user, put, question)
        if again is not None:
            judged.exposures |= again.exposures
        told = await self.world.ask(user, Asked(question if again is None else ""), place, leave=leave)
        exchange = await self.remember(judged, put, question, told)
        assert (exchange is not None) == self.company.chats(user), told
        assert exchange is None or leave or told.outcome in ("answered", "no_answer"), told
        return told

    async def ask_while(self, user: str, put: Put, place: Place, question: str, change: Change) -> None:
        """The model speaks, something changes, and the model goes on."""
        self.talk = put.talk
        judged, chatted = self.judged(user, put, question), self.company.chats(user)
        before = self._papers()
        self.world.model.act = lambda: self.change(change)
        self.answering = True
        told = await self.world.ask(user, Asked(question), place)
        await self.world.model.acted()
        self.answering = False
        changed, self.world.model.act = self.world.model.act is None, None
        exchange = await self.remember(judged, put, question, told)
        exposures = judged.exposures if exchange is None else exchange.exposures
        whole = told.outcome in ("answered", "no_answer")
        if not chatted:
            assert told.refused is not None
        elif changed and not (self.company.chats(user) and self.company.reads_all(user, exposures)):
            assert not whole, told
            assert LATER not in told.seen, "something was shown after a change that narrowed what the prompt holds"
        elif not exposures & {path for path, paper in self._papers().items() if before.get(path) != paper}:
            assert whole, told

    def _papers(self) -> dict[str, tuple[Label, str, bool]]:
        return {path: (d.label, d.words[-1], d.deleted) for path, d in self.company.documents.items()}

    async def resend(self, user: str, turns: Sequence[Turn], talk: Talk | None, question: str) -> None:
        """A client sends what it holds for the conversation so far, and a question; over HTTP if it names one."""
        put = self.memory.resent(user, turns, talk)
        pairs = [pair for turn in turns for pair in zip(("user", "assistant"), turn, strict=True)]
        messages = [{"role": role, "content": text} for role, text in [*pairs, ("user", question)] if text is not None]
        judged = self.judged(user, put, question)
        if talk is not None:
            told = await self.world.resend(user, messages, talk.id)
        else:
            told = await self.world.ask(user, split(messages), Place())
        exchange = await self.remember(judged, put, question, told)
        assert (exchange is not None) == self.company.chats(user), told
        assert exchange is None or told.left_out == put.left_out

    async def remember(self, judged: Judged, put: Put, question: str, told: Told) -> Exchange | None:
        """Note the exchange with all that its prompt held. None: there is none."""
        self.user = judged.user
        assert not judged.wrong, judged.wrong
        if told.id is None or told.conversation is None:
            return None
        whole = told.outcome in ("answered", "no_answer")
        answer = told.seen if whole else await self.world.recorded(judged.user, told)
        assert answer.startswith(told.seen), "something was shown that is not recorded"
        talk = put.talk or Talk(told.conversation, judged.user)
        assert told.conversation == talk.id
        if put.talk is None:
            self.memory.talks.append(talk)
        exchange = Exchange(
            id=told.id,
            talk=talk,
            parent=put.parent,
            question=question,
            answer=answer,
            seen=told.seen,
            exposures=judged.exposures | judged.passages,
            typed=judged.typed,
            at=next(_numbers),
        )
        talk.took(exchange)
        self.talk = talk
        return exchange

    async def delete(self, talk: Talk) -> None:
        self.user = talk.owner
        await self.world.services.conversations.delete(await self.world.grant(talk.owner), talk.id)
        self.memory.talks.remove(talk)

    async def rename(self, talk: Talk) -> None:
        self.user, self.talk = talk.owner, talk
        name = f"Of {talk.exchanges[-1].seen}"[:70].strip()
        await self.world.services.conversations.rename(await self.world.grant(talk.owner), talk.id, name)
        talk.rename(name)
