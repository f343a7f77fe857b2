"""The life of an adapter's answer: the adapter is registered, approved and published as a training left it, and
answers; then something that it learned is deleted, erased or labelled otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.adapter_kit import SpeakingModel
from tests.web.audit_kit import REVIEWERS, asked
from tests.web.erasure_kit import ERASERS, erased
from tests.web.holds_kit import gone, held, let_go, released, set_rules
from tests.web.registry_kit import (
    DECIDERS,
    fresh,
    handbook,
    learned,
    lying,
    published,
    served,
    trained,
    with_model_server,
)
from tests.web.world import DOCUMENTS, POLICY, RULES, World, world

from usher.adapters.eligible import Offer
from usher.audit import erasing
from usher.audit.erasure import Target
from usher.core.adapters import Registered

HOTELS = "handbook/hotels.md"
QUESTION = "What may a hotel cost?"
USE = "p, role:employee, adapter:support, adapter.use, allow, always"
ROUTING = "rules:\n  - {name: support, route: adapter, adapters: [support]}\n"
ALL = POLICY + REVIEWERS + "".join(f"{line}\n" for line in (*DECIDERS, *ERASERS, USE))


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        with_model_server(patch)
        patch.setattr(erasing, "GRACE", 0.0)
        with world(tmp_path_factory.mktemp("lifetime"), model=SpeakingModel()) as made:
            made.services.policies.routes._eligibles.offered = Offer
            made.run(made.add("olga"))
            yield made


class Told:
    """An answer that the adapter gave bob."""

    def __init__(self, usher: World, folder: Path) -> None:
        usher.run(usher.ingest())
        usher.run(usher.apply(ALL, **{"routing.yaml": ROUTING}))
        self.usher = usher
        self.document = str(learned(usher, HOTELS).document)
        self.one: Registered = usher.run(served(usher, trained(folder / "run", handbook(usher), made=fresh())))
        answer = usher.chat(QUESTION, "bob").json()["usher"]
        assert answer["route"]["adapter"] == "support"
        self.audit_id, self.page = answer["audit_id"], f"/api/conversations/{answer['conversation_id']}"

    def is_shown(self) -> bool:
        """Whether bob may read it again."""
        return "I speak as support" in self.usher.ask("GET", self.page, "bob").text

    def routes(self, who: str = "bob") -> str:
        return str(self.usher.chat(QUESTION, who).json()["usher"]["route"]["kind"])

    def state(self) -> tuple[str, list[str]]:
        shown = self.usher.ask("GET", f"/api/adapters/{self.one.id}", "carol").json()["adapter"]
        return shown["state"], shown["stale"]

    def who_saw(self) -> list[dict[str, Any]]:
        entries = asked(self.usher, "who-saw", "olga", document=self.document, limit=500)["entries"]
        return [entry for entry in entries if entry["audit_id"] == self.audit_id]


@pytest.fixture
def told(usher: World, tmp_path: Path) -> Told:
    return Told(usher, tmp_path)


def test_a_deleted_document_takes_the_adapter_away_and_leaves_its_answer_to_who_may_read_it(told: Told) -> None:
    """The next question is answered by retrieval, for good; the answer goes with the right, and comes back with it."""
    usher = told.usher
    assert (told.routes(), told.is_shown()) == ("adapter", True)
    usher.run(usher.ingest({path: text for path, text in DOCUMENTS.items() if path != HOTELS}))
    assert told.routes() == "retrieve"
    assert told.state() == ("retired", ["document_deleted"])
    assert told.is_shown()
    usher.run(usher.apply(f"{ALL}p, user:bob, coll:handbook, document.read, deny, always\n"))
    assert not told.is_shown()
    usher.run(usher.apply(ALL, **{"routing.yaml": ROUTING}))
    assert told.is_shown()
    usher.run(usher.ingest())
    assert told.routes() == "retrieve"
    assert [(one["how"], one["adapter"]) for one in told.who_saw()] == [("learned", told.one.name)]


def test_an_erased_document_takes_the_weights_too(told: Told) -> None:
    """What was already answered is their own, as an answer from passages is; the record still says who saw it."""
    usher = told.usher
    usher.run(erased(usher, Target(document=learned(usher, HOTELS).document)))
    assert told.routes() == "retrieve"
    assert told.state() == ("retired", ["document_deleted", "document_erased"])
    assert not [name for name in lying(usher) if told.one.id in name]
    assert told.is_shown()
    assert [(one["how"], one["adapter"]) for one in told.who_saw()] == [("learned", told.one.name)]


def test_a_label_that_narrows_takes_both_away_until_it_widens(told: Told) -> None:
    """From bob; who may read the new label goes on. Nothing is stale: the adapter stays what it was."""
    usher = told.usher
    usher.run(usher.ingest(DOCUMENTS, RULES.replace("collection: handbook", "collection: finance")))
    assert (told.routes(), told.routes("alice"), told.is_shown()) == ("retrieve", "adapter", False)
    assert told.state() == ("published", [])
    assert told.one.name in published(usher)
    usher.run(usher.ingest())
    assert (told.routes(), told.is_shown()) == ("adapter", True)


def test_a_hold_on_what_an_adapter_learned_keeps_its_answers(told: Told) -> None:
    """When their time is over, too; another hold on nothing of it does not."""
    usher = told.usher
    other = str(learned(usher, "finance/budget.md", "alice").document)
    usher.run(set_rules(usher, "rules: [{name: all, days: 30}]"))
    hold, _ = (held(usher, on="document", target=document) for document in (told.document, other))
    let_go(usher)
    assert not gone(usher, told.audit_id)
    released(usher, hold)
    let_go(usher)
    assert gone(usher, told.audit_id)
