"""What the tests of retention and legal holds share: rules, reviewers, runs, and the four eyes of a hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from tests.web.chat_kit import QUESTION
from tests.web.world import POLICY, World

from usher.audit.reviewers import Reviewer
from usher.backends.keyring import KeyRing
from usher.ledger.record import is_dropped
from usher.ledger.verify import Verdict, verify

HOLDS, PROPOSALS = "/api/audit/holds", "/api/audit/proposals"
RIGHTS = ("audit.hold", "audit.read", "audit.identify", "audit.review")
LEGAL = POLICY + "".join(f"p, role:legal, sys:audit, {right}, allow, always\n" for right in RIGHTS)
LEGAL += "g, user:dave, role:legal\ng, user:erin, role:legal\n"
RULES = """\
rules:
- {name: talk, type: chat, days: 30}
- {name: looked, type: search, days: 10}
- {name: money, collection: finance, days: 100}
"""
DAYS = 40
OPERATOR = Reviewer(None, "operator:uid:0")


async def set_rules(usher: World, rules: str = RULES, days: int = DAYS) -> None:
    """The policy with legal's rights and these rules; the runs believe that so many days have gone by."""
    await usher.apply(LEGAL, **{"retention.yaml": rules})
    usher.services.audit.retention._clock = lambda: datetime.now(UTC) + timedelta(days=days)


def let_go(usher: World, *, dry: bool = False) -> dict[str, Any]:
    """The report of a run, or of a preview."""

    async def walked() -> dict[str, Any]:
        runs = usher.services.audit.retention
        return [event async for event in (runs.preview(OPERATOR) if dry else runs.run(OPERATOR.actor))][-1]

    return usher.run(walked())


def gone(usher: World, exchange: str) -> bool:
    """Whether the text of an exchange was dropped: all of it or nothing."""
    states = {is_dropped(row.ciphertext) for row in usher.run(usher.services.ledger.content(exchange))}
    assert len(states) == 1
    return states.pop()


def counted(report: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(one["rule"], one["type"]): one["count"] for one in report["gone"]}


def proposed(usher: World, who: str = "dave", **body: Any) -> dict[str, Any]:
    response = usher.ask("POST", HOLDS, who, json={"reason": "The zeppelin affair.", **body})
    assert response.status_code == 201, response.text
    item: dict[str, Any] = response.json()
    return item


def approved(usher: World, item: dict[str, Any], who: str = "erin") -> dict[str, Any]:
    path = f"{PROPOSALS}/{item['id']}/approve"
    response = usher.ask("POST", path, who, json={"digest": item["digest"]})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def held(usher: World, **body: Any) -> str:
    """A hold, placed by two people: its id."""
    return str(approved(usher, proposed(usher, **body))["id"])


def released(usher: World, hold: str) -> None:
    response = usher.ask("POST", f"{HOLDS}/{hold}/release", "erin", json={"reason": "It is settled."})
    assert response.status_code == 201, response.text
    approved(usher, response.json(), "dave")


def verdict(usher: World) -> Verdict:
    return verify(usher.folder / "home" / "ledger.sqlite", ring=KeyRing.open(usher.folder / "home.keys"))


def start_over(usher: World) -> World:
    """One rule for all, no holds, and nothing over its time."""
    usher.run(set_rules(usher, "rules: [{name: all, days: 30}]"))
    free(usher)
    with usher.services.audit.holds._store._database.engine.begin() as connection:  # type: ignore[attr-defined]  # SQL's
        connection.exec_driver_sql("DELETE FROM hold")
    let_go(usher)
    return usher


def free(usher: World) -> None:
    """No hold binds any more."""
    holds = usher.services.audit.holds
    for hold in {UUID(one.id) for one in usher.run(holds.binding())}:
        change = usher.run(holds._store.release(hold, uuid4(), {}, datetime.now(UTC)))
        assert change is not None
        usher.run(holds._courier.recover())
        usher.run(holds._courier.carry([change]))


class Talk:
    """A question of bob's and what followed it, a search of his, and a question of alice's."""

    def __init__(self, usher: World) -> None:
        first = usher.chat(QUESTION).json()["usher"]
        self.talk, self.first = first["conversation_id"], first["audit_id"]
        self.document = first["citations"][0]["document"]
        again = {"messages": [{"role": "user", "content": "And the parking notice?"}], "model": "assistant"}
        headers = {"x-usher-conversation": self.talk}
        second = usher.ask("POST", "/v1/chat/completions", "bob", json=again, headers=headers)
        self.second = second.json()["usher"]["audit_id"]
        self.search = usher.search("parking notice", k=1).json()["audit_id"]
        self.other = usher.chat("What is the travel budget of the whole company?", "alice").json()["usher"]["audit_id"]

    @property
    def all(self) -> list[str]:
        return [self.first, self.second, self.search, self.other]


def kept_of(usher: World, said: Talk) -> list[bool]:
    return [not gone(usher, one) for one in said.all]


def bob(usher: World) -> str:
    return usher.run(usher.services.ledger.pseudonym("bob"))
