"""What reviewers are told of answers that an adapter gave: by whom, of what, and no further than their right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.web.adapter_kit import BUDGET, BY_ADAPTER, HANDBOOK, MERGER, USE, SpeakingModel, publish
from tests.web.audit_kit import REVIEWERS, answered, asked, document_of
from tests.web.world import POLICY, World, world

from usher.backends.keyring import KeyRing
from usher.core.adapters import Registered
from usher.ledger.verify.run import verify

QUESTION = "How large is the travel budget of the whole company?"
BOARD = "p, role:board, adapter:board, adapter.use, allow, always\n"
ROUTING = BY_ADAPTER + "  - {name: board, route: adapter, adapters: [board]}\n"


class Story:
    """Two answers of adapters: one of finance's, one of what the board reads too."""

    def __init__(self, usher: World) -> None:
        self.money: Registered = usher.run(publish(usher, BUDGET))
        self.board: Registered = usher.run(publish(usher, HANDBOOK, MERGER, name="board"))
        routing = {"routing.yaml": ROUTING.replace("route: adapter, adapters: [money]", MONEY)}
        usher.run(usher.apply(f"{POLICY}{USE}\n{BOARD}{REVIEWERS}", **routing))
        self.by_money = answered(usher, QUESTION, "alice")["audit_id"]
        self.by_board = answered(usher, QUESTION, "carol")["audit_id"]


MONEY = "route: adapter, role: finance, adapters: [money]"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(Path(tmp_path_factory.mktemp("adapters")), model=SpeakingModel()) as made:
        made.run(made.apply(POLICY + REVIEWERS))
        for name in ("olga", "frank", "grace", "heidi"):
            made.run(made.add(name))
        yield made


@pytest.fixture(scope="module")
def story(usher: World) -> Story:
    return Story(usher)


def found(usher: World, who: str, adapter: str) -> list[str]:
    return [entry["audit_id"] for entry in asked(usher, "by-adapter", who, adapter=adapter)["entries"]]


def test_the_answers_of_an_adapter_are_found_by_its_name_and_by_its_digest(usher: World, story: Story) -> None:
    """By the name that policy has, all that ever had it; by the served name, exactly one."""
    assert found(usher, "olga", "money") == found(usher, "olga", story.money.name) == [story.by_money]
    assert found(usher, "olga", "board") == [story.by_board]
    assert found(usher, "olga", "mone") == []
    assert found(usher, "olga", story.money.name[:-1]) == []


def test_who_saw_a_document_names_the_answers_of_adapters_that_learned_it(usher: World, story: Story) -> None:
    """By the adapter's name; a right on one collection is told of no answer that rests on another too."""

    def saw(who: str, path: str) -> list[tuple[str, str, str]]:
        entries = asked(usher, "who-saw", who, document=document_of(usher, path))["entries"]
        return [(entry["audit_id"], entry["how"], entry["adapter"]) for entry in entries]

    assert saw("olga", BUDGET) == saw("frank", BUDGET) == [(story.by_money, "learned", story.money.name)]
    assert saw("olga", MERGER) == saw("olga", HANDBOOK) == [(story.by_board, "learned", story.board.name)]
    assert saw("frank", MERGER) == saw("frank", HANDBOOK) == []
    assert saw("grace", MERGER) == []


def test_a_right_that_ends_at_a_collection_ends_at_what_an_adapter_learned(usher: World, story: Story) -> None:
    """Also where no passage was shown: what it learned is what was shown."""
    assert (found(usher, "frank", "money"), found(usher, "frank", "board")) == ([story.by_money], [])
    events = asked(usher, "events", "frank")["events"]
    assert story.by_board not in {event["audit_id"] for event in events}
    told = asked(usher, "events", "grace", type="retrieval")["events"]
    learned = [event["documents"] for event in told if "documents" in event]
    assert len(learned) == 2
    assert learned[1] != next(e for e in usher.events(story.by_board) if e["type"] == "retrieval")["documents"]


def test_what_only_a_wider_right_reaches_is_not_unsealed(usher: World, story: Story) -> None:
    """An answer may say all that the adapter knows."""

    def unsealed(who: str, audit_id: str) -> int:
        body = {"exchange": audit_id, "reason": "a test"}
        return usher.ask("POST", "/api/audit/unseal", who, json=body).status_code

    assert (unsealed("olga", story.by_money), unsealed("olga", story.by_board)) == (200, 200)
    assert (unsealed("frank", story.by_money), unsealed("frank", story.by_board)) == (200, 404)


def test_it_is_decided_again_as_any_other(usher: World, story: Story) -> None:
    """By what the adapter learned, then and now; and the log holds together."""
    verdict = verify(usher.folder / "home" / "ledger.sqlite", ring=KeyRing.open(usher.folder / "home.keys"))
    assert verdict.ok, verdict
    again = asked(usher, f"replay/{story.by_money}", "olga")
    assert (again["agreement"], again["problems"]) == ("agrees", [])
    assert [(one["then"]["readable"], one["now"]["readable"]) for one in again["passages"]] == [(True, True)]
    usher.run(usher.apply(POLICY.replace("p, role:finance, coll:finance", "p, role:finance, coll:other") + REVIEWERS))
    again = asked(usher, f"replay/{story.by_money}", "olga")
    assert [(one["then"]["readable"], one["now"]["readable"]) for one in again["passages"]] == [(True, False)]
