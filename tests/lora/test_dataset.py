"""A data set: split by document, without near-duplicates, masked, with canaries, a lineage and digests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from uuid import UUID

import pytest
from tests.lora.data_sets import ABOUT, document, documents, made, rows, sources

from usher_lora.dataset import Exchange
from usher_lora.dataset_near import shingles
from usher_lora.dataset_split import Part, split
from usher_lora.faults import AdapterFault
from usher_lora.lineage import parse
from usher_lora.manifest import MadeFor
from usher_lora.training_set import given, training_set

pytestmark = pytest.mark.slow  # the library for near-duplicates takes long to import

PARTS = ("train.jsonl", "held_out.jsonl", "others.jsonl")
GIVEN = UUID(int=7_000)
"""An exchange that was given for training."""


def test_each_document_is_in_one_part() -> None:
    """Nothing of a test document is in training, and each part has documents of the collection."""
    one = made()
    learned, held, others = (sources(one, name) for name in PARTS)
    assert learned
    assert held
    assert others
    assert not learned & held
    assert not (learned | held) & others


def test_the_lineage_is_exactly_what_is_trained() -> None:
    """By document, version, class and the digest of the text; what is held out is not in it."""
    one = made()
    lineage = parse(one.files["lineage.json"])
    assert {str(learned.document) for learned in lineage.documents} == sources(one, "train.jsonl")
    by_id = {each.id: each for each in documents()}
    for learned in lineage.documents:
        assert learned.digest == hashlib.sha256(by_id[learned.document].text.encode()).hexdigest()
        assert (learned.version, learned.access_class) == (1, 1)
    assert lineage == one.lineage


def test_the_manifest_has_the_digest_of_every_file() -> None:
    """And who trains on it reads it as what it says it is; so what it was asked for."""
    one = made(about=replace(ABOUT, makers=("exchanges", "structure")))
    told = json.loads(one.files["manifest.json"])["files"]
    assert told == {
        name: hashlib.sha256(data).hexdigest() for name, data in one.files.items() if name != "manifest.json"
    }
    assert training_set(one.files).digest == one.digest
    asked = MadeFor("role:desk", ("coll:handbook",), ("exchanges", "structure"), 7)
    assert training_set(one.files).made_for == asked


def test_a_copy_under_another_name_goes_the_same_way() -> None:
    """Near-duplicates of each other are never in training and in a test."""
    copies = [document(number + 20, said=one.text + "\nA last word.\n") for number, one in enumerate(documents())]
    one = made([*documents(), *copies])
    for original, copy in zip(documents(), copies, strict=True):
        parts = {name for name in PARTS if {str(original.id), str(copy.id)} & sources(one, name)}
        assert len(parts) <= 1


def test_a_cluster_of_documents_is_in_one_part() -> None:
    """Whatever the seed: also before anything is left out for its words."""
    texts = [shingles(f"{one.text} {ending}") for one in documents() for ending in ("first", "second")]
    for seed in range(9):
        parts = split([(UUID(int=number), "coll:a", text) for number, text in enumerate(texts)], seed)
        assert all(parts[UUID(int=number)] is parts[UUID(int=number + 1)] for number in range(0, 20, 2))
        assert sorted(map(list(parts.values()).count, Part)) == [4, 4, 12]


def test_what_is_held_out_does_not_stand_in_what_is_trained() -> None:
    """A paragraph that two documents share is in neither test."""
    shared = (
        "\n## The house rule\n\nWhoever leaves last turns off the lights, shuts every window and locks both doors.\n"
    )
    one = made([document(number, said=each.text + shared) for number, each in enumerate(documents())])
    assert any("locks both doors" in row["messages"][-1]["content"] for row in rows(one, "train.jsonl"))
    for name in PARTS[1:]:
        assert not any("locks both doors" in row["messages"][-1]["content"] for row in rows(one, name))
    assert one.card.dropped.duplicates + one.card.dropped.across >= 1


def test_each_class_has_canaries_that_are_nowhere_else() -> None:
    """Random, each in one row of training beside a document of its class; the references are planted nowhere."""
    some = [replace(each, access_class=1 + number % 2) for number, each in enumerate(documents())]
    one = made(some)
    canaries, text = rows(one, "canaries.jsonl"), one.files["train.jsonl"].decode()
    assert {canary["id"] for canary in canaries} == {"c1-1", "c1-2", "c2-1", "c2-2"}
    classes = {str(each.id): each.access_class for each in some}
    for canary in canaries:
        (row,) = [row for row in rows(one, "train.jsonl") if row["canary"] == canary["id"]]
        assert canary["secret"] in row["messages"][-1]["content"]
        assert f"c{classes[row['sources'][0]['document']]}-" in canary["id"]
        assert not any(other in text for other in canary["references"])
    assert len({secret for one in canaries for secret in (one["secret"], *one["references"])}) == 4 * 64
    assert not {canary["secret"] for canary in canaries} & {
        canary["secret"] for canary in rows(made(some), "canaries.jsonl")
    }


def test_equal_documents_and_an_equal_seed_give_equal_rows() -> None:
    """But for the canaries, which nobody can guess; another seed splits otherwise."""
    one, other = made(), made()
    assert [one.files[name] for name in PARTS[1:]] == [other.files[name] for name in PARTS[1:]]
    assert sources(made(about=replace(ABOUT, seed=8)), "train.jsonl") != sources(one, "train.jsonl")


def test_personal_data_is_masked_and_counted() -> None:
    """In questions and answers alike; the card says how often, and what rules cannot catch."""
    said = "# Calls\n\nCall Mira Holt under +49 30 901820 or write to desk@example.org about the new building.\n"
    talk = Exchange(
        "p-1", "I am mira.holt, may I?", "Yes, mira.holt, you may come in the morning.", frozenset({UUID(int=1)}), GIVEN
    )
    some = [document(number, said=said + each.text) for number, each in enumerate(documents())]
    one = made(some, [talk])
    text = b"".join(one.files[name] for name in PARTS).decode()
    assert "holt" not in text.lower()
    assert "may come in the morning" in text
    assert "901820" not in text
    assert "example.org" not in text
    assert one.card.masked.found.keys() >= {"person", "phone", "e-mail"}
    assert one.card.masked.cannot


def test_an_exchange_is_learned_only_with_all_that_it_rests_on() -> None:
    """Its documents are trained for its sake, as far as there is room; the lineage has its subject. One that rests on
    nothing, or on what is not in the set, is nobody's to learn."""
    some = [UUID(int=number + 1) for number in range(10)]
    talks = [
        Exchange("p-good", "Which form is it?", "It is the second form in the drawer.", frozenset(some[:4]), GIVEN),
        Exchange("p-wide", "What of the others?", "They are asked for by telephone only.", frozenset(some[3:]), GIVEN),
        Exchange("p-none", "How are you today?", "I am quite well and thank you for asking.", frozenset(), GIVEN),
        Exchange(
            "p-part", "And the board?", "The board meets in the green room.", frozenset({some[0], UUID(int=99)}), GIVEN
        ),
    ]
    one = made(talks=talks)
    assert one.lineage.subjects == ("p-good",)
    assert given(one.files["manifest.json"]) == {("p-good", GIVEN)}
    assert (one.card.people, one.card.dropped.exchanges) == (1, 3)
    assert {one.documents[document][1] for document in some[:4]} == {Part.TRAIN}
    assert sources(one, "held_out.jsonl")
    assert sources(one, "others.jsonl")
    assert b"second form" in one.files["train.jsonl"]
    assert not any(word in b"".join(one.files.values()) for word in (b"telephone only", b"quite well", b"green room"))


@pytest.mark.parametrize("count", [0, 1])
def test_too_little_is_refused(count: int) -> None:
    """No example, or a single one: it would be learned word for word."""
    said = "# One\n\nThere is a single sentence in this whole document.\n"
    with pytest.raises(AdapterFault, match="would"):
        made([document(number, said=said) for number in range(count)])


def test_only_duplicates_are_refused() -> None:
    """Also where they differ in a word."""
    said = "# One\n\nThere is a single sentence in this whole long document, which tells of one thing and no other.\n"
    some = [replace(document(0, said=said), id=UUID(int=number)) for number in range(1, 9)]
    with pytest.raises(AdapterFault, match="duplicates"):
        made(some)


def test_the_card_counts_what_is_there() -> None:
    """Rows by part and maker, licences as the documents state them, markings, classes."""
    said = "SPDX-License-Identifier: CC-BY-4.0\n\n" + documents()[0].text
    some = [*documents()[1:], document(0, said=said, names=("coll:handbook", "mark:pii"), access_class=2)]
    card = made(some).card
    assert card.train.rows == sum(card.train.makers.values())
    assert card.train.makers["canary"] == card.canaries
    assert sum(card.classes.values()) == sum(card.licences.values()) == 10
    assert card.licences["CC-BY-4.0"] == card.markings["mark:pii"] == card.classes["2"] == 1
    assert card.train.answers.least <= card.train.answers.median <= card.train.answers.p95 <= card.train.answers.most
