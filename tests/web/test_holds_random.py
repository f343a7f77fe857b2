"""Random histories of questions, rules, holds, releases and runs: only what is over its time and not held goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID, uuid4

import pytest
from tests.web.holds_kit import free, gone, let_go, set_rules, verdict
from tests.web.world import World, world

from usher.backends.sql_names import SqlNames
from usher.core.exposures import pack
from usher.core.holds import Hold, On
from usher.ledger.record import CHAT, SEARCH, Entry, EventType, Kind, Who, uuid7
from usher.ports import ExchangeRow

ROLES = {"alice": ("role:employee", "role:finance"), "bob": ("role:employee",)}
SHELVES = {"handbook/hotels.md": "handbook", "finance/budget.md": "finance", "letters/alice.md": None}


@dataclass
class Asked:
    audit_id: str
    who: str
    pseudonym: str
    operation: str
    conversation: str
    papers: dict[str, str | None]
    """Documents, some by way of an earlier exchange only, and the collections that they are in."""
    at: datetime


@dataclass
class Rule:
    days: int
    type: str | None
    collection: str | None
    role: str | None

    def text(self, name: str) -> str:
        parts = {"type": self.type, "collection": self.collection, "role": self.role}
        return f"- {{name: {name}, days: {self.days}" + "".join(f", {k}: '{v}'" for k, v in parts.items() if v) + "}"

    def about(self, asked: Asked, shelf: str | None) -> bool:
        right = self.type in (None, asked.operation) and (self.role is None or self.role in ROLES[asked.who])
        return right and self.collection in (None, shelf)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("random")) as made:
        yield made


async def ask(usher: World, random: Random, papers: dict[str, str]) -> Asked:
    """A question and its answer, as they are recorded."""
    ledger, who, ident = usher.services.ledger, random.choice(sorted(ROLES)), uuid7()
    subject, operation = await ledger.subject(who), random.choice([CHAT, SEARCH])
    talks = [str(UUID(int=5)), str(UUID(int=6))] if who == "bob" else [str(UUID(int=7))]
    conversation = random.choice(talks) if operation == CHAT else ident
    shown = {papers[path]: SHELVES[path] for path in SHELVES if random.random() < 0.4}
    by, talk = Who(subject.pseudonym, ROLES[who], "key"), subject.conversation(conversation)
    request = {"operation": operation} | ({"conversation": conversation} if operation == CHAT else {})
    found = shown if operation == SEARCH else [paper for paper in shown if random.random() < 0.5]
    entries = [
        Entry(EventType.REQUEST, ident, by, request),
        Entry(EventType.DECISION, ident, by, {"effect": "allow", "reason": "rule"}),
        Entry(EventType.RETRIEVAL, ident, by, {"outcome": "found", "passages": [{"document": d} for d in found]}),
    ]
    if operation == CHAT:
        row = ExchangeRow(UUID(ident), UUID(conversation), None, datetime.now(UTC), pack(map(UUID, shown)), b"q" * 32)
        assert await usher.services.conversations._index.begin(who, row, None)
        entries.append(Entry(EventType.ANSWER, ident, by, {"outcome": "answered"}))
    await ledger.append(entries, [talk.seal(ident, 0, Kind.QUESTION, "What?")])
    at = next(event["time"] for event in usher.events(ident))
    return Asked(ident, who, subject.pseudonym, operation, conversation, shown, datetime.fromisoformat(at))


def some_hold(random: Random, asked: Asked) -> Hold:
    on = random.choice([*On, On.DOCUMENT, On.DOCUMENT, On.COLLECTION])
    papers = sorted(asked.papers) or [str(uuid4())]
    shelves = sorted(shelf for shelf in asked.papers.values() if shelf) or ["board"]
    target = {
        On.PERSON: asked.pseudonym,
        On.CONVERSATION: asked.conversation,
        On.EXCHANGE: asked.audit_id,
        On.DOCUMENT: random.choice(papers),
        On.COLLECTION: f"coll:{random.choice(shelves)}",
    }[on]
    since = random.choice([None, None, asked.at, asked.at + timedelta(microseconds=1)])
    until = random.choice([None, None, asked.at + timedelta(microseconds=2)])
    return Hold(str(uuid4()), on, target, since, until)


def covers(hold: Hold, asked: Asked) -> bool:
    """By the words of the promise, without the code that is tested."""
    if not (hold.since or asked.at) <= asked.at < (hold.until or datetime.max.replace(tzinfo=asked.at.tzinfo)):
        return False
    shelves = {f"coll:{shelf}" for shelf in asked.papers.values() if shelf}
    return hold.target in {asked.pseudonym, asked.conversation, asked.audit_id, *asked.papers, *shelves}


def over(rules: list[Rule], asked: Asked, days: int) -> bool:
    longest = []
    for shelf in set(asked.papers.values()) or {None}:
        longest.append(max((rule.days for rule in rules if rule.about(asked, shelf)), default=10**6))
    return max(longest) <= days


@pytest.mark.parametrize("seed", range(4))
def test_nothing_goes_that_is_held_or_not_over_its_time(house: World, seed: int) -> None:
    """And all goes that neither is, run by run; the record is whole after each history."""
    random, holds = Random(seed), house.services.audit.holds  # noqa: S311  # a history, no secret
    everything = house.run(_asked(house, random))
    binding: list[Hold] = []
    left = set()
    for days in (20, 40, 60):
        rules = [
            Rule(
                random.choice([10, 30, 50]),
                random.choice([None, None, CHAT, SEARCH]),
                random.choice([None, None, "handbook", "finance"]),
                random.choice([None, None, "role:finance"]),
            )
            for _ in range(random.randint(0, 2))
        ]
        rules.append(Rule(10, None, None, None))
        text = "rules:\n" + "\n".join(rule.text(f"r{n}") for n, rule in enumerate(rules))
        house.run(set_rules(house, text, days))
        for _ in range(random.randint(1, 2)):
            binding.append(some_hold(random, random.choice(everything)))
            said = house.run(holds._event(binding[-1]))
            house.run(holds._store.place(binding[-1], said, everything[0].at))
        if binding and random.random() < 0.4:
            let = binding.pop(random.randrange(len(binding)))
            change = house.run(holds._store.release(UUID(let.id), uuid4(), {}, everything[0].at))
            assert change is not None
            house.run(holds._courier.recover())
            house.run(holds._courier.carry([change]))
        let_go(house)
        left |= {x.audit_id for x in everything if over(rules, x, days) and not any(covers(h, x) for h in binding)}
        assert {x.audit_id for x in everything if gone(house, x.audit_id)} == left
    assert verdict(house).problems == ()
    free(house)


async def _asked(usher: World, random: Random) -> list[Asked]:
    names = SqlNames(usher.services.audit.holds._store._database)  # type: ignore[attr-defined]  # SQL's
    papers = {path: str((await names.at(path, None))[0]) for path in SHELVES}
    return [await ask(usher, random, papers) for _ in range(12)]
