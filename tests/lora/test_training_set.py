"""A training set is what it says it is, or nothing is trained on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.lora.training import digested, files, lines, row

from usher_lora.faults import AdapterFault
from usher_lora.manifest import MadeFor
from usher_lora.training_set import read_training_set, training_set


def refused(held: dict[str, bytes]) -> str:
    with pytest.raises(AdapterFault) as caught:
        training_set(held)
    return str(caught.value)


def test_a_sound_one_is_read(tmp_path: Path) -> None:
    """Its rows, canaries and lineage come back, and the digest is that of its manifest."""
    for name, data in files().items():
        (tmp_path / name).write_bytes(data)
    found = read_training_set(tmp_path)
    assert [len(group) for group in (found.train, found.held_out, found.others)] == [4, 1, 1]
    assert found.train[2].canary == "c"
    assert found.canaries["c"].secret in found.train[2].answer
    assert found == training_set(files())


@pytest.mark.parametrize("name", ["train.jsonl", "held_out.jsonl", "others.jsonl", "canaries.jsonl", "lineage.json"])
def test_a_file_that_was_changed_is_refused(name: str) -> None:
    """One more row, or any other byte, is not what the manifest names."""
    changed = files()
    changed[name] += lines([row(0, "More.")])
    assert f"{name} is not the file that the training set's manifest names" in refused(changed)


def test_a_document_outside_the_lineage_is_refused() -> None:
    """Also where the manifest was written anew for it, and where it is another version of a document that is in."""
    smuggled = files([row(0), row(1), row(2), row(77)])
    assert "train.jsonl:4 is made from version 1 of" in refused(smuggled)
    assert "train.jsonl:2 is made from version 2 of" in refused(files([row(0), row(1, version=2), row(2)]))


def test_a_row_that_names_no_source_is_refused() -> None:
    """Without a subject whose exchange it could be, it comes from nowhere."""
    assert "names nothing that it is made from" in refused(files([row(0), row(1) | {"sources": []}]))


def test_the_groups_share_no_document() -> None:
    """What is asked about was not trained on, and what is outside is not in the lineage."""
    assert "held_out.jsonl has a document that is trained on" in refused(files(held_out=[row(2)]))
    assert "others.jsonl has a document that is trained on" in refused(files(others=[row(2)]))
    assert "others.jsonl has a document of the lineage" in refused(files([row(0), row(1)], others=[row(3)]))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "has 0 examples"),
        ([row(0)], "has 1 example:"),
        ([row(0)] * 9, "only duplicates"),
        ([row(n, ("The same  answer.", "the SAME answer.")[n % 2]) for n in range(4)], "only duplicates"),
    ],
)
def test_too_little_is_refused(rows: list[dict[str, object]], told: str) -> None:
    """One example, or the same one again and again, would be learned word for word."""
    assert told in refused(files(rows))


def test_a_canary_is_where_its_row_says() -> None:
    """A row with a canary that is not listed, or whose secret it does not hold, is refused."""
    assert "canaries.jsonl" in refused(files([row(0), row(1, canary="other")]))
    assert "canaries.jsonl" in refused(files([row(0), row(1, "No secret.", "c")]))


@pytest.mark.parametrize(
    "line", [b"{}\n", b"[]\n", b"not json\n", b"\xff\n", b"[" * 5000 + b"\n", lines([row(0) | {"messages": []}])]
)
def test_a_row_of_another_form_is_refused(line: bytes) -> None:
    """The refusal says which row, and nothing of what is in it."""
    spoilt = files()
    spoilt["train.jsonl"] += line
    assert refused(digested(spoilt)).startswith("train.jsonl:5 ")


def test_other_files_are_refused() -> None:
    """A folder has what the manifest names, no more and no less."""
    assert "has other files" in refused(files() | {"more.jsonl": b""})
    without = files()
    del without["card.json"]
    assert "has other files" in refused(without)
    del without["manifest.json"]
    assert "has no manifest.json" in refused(without)


def test_what_it_was_made_for_has_one_form() -> None:
    """Where it does not say, as those from before, that is unknown."""
    assert training_set(files()).made_for is None
    told = json.loads(files()["manifest.json"])
    asked = {"role": "role:desk", "collections": ["coll:news"], "makers": ["structure"], "seed": 3}
    known = files() | {"manifest.json": json.dumps(told | {"made_for": asked}).encode()}
    assert training_set(known).made_for == MadeFor("role:desk", ("coll:news",), ("structure",), 3)
    other = json.dumps(told | {"made_for": asked | {"seed": -1}}).encode()
    assert "in a form that is not known" in refused(files() | {"manifest.json": other})
