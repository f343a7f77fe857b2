"""A training's folder is whole or goes on, and what it says of itself is true, or nothing is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.lora.adapters import Array, arrays, config, tensor, weights
from tests.lora.made import learned
from tests.lora.training import RECIPE, files, row

from usher_lora.base_files import base_digest
from usher_lora.canonical import encode, sha256
from usher_lora.evaluate import sound
from usher_lora.faults import AdapterFault
from usher_lora.lineage import ParentKind, canonical, lineage
from usher_lora.manifest import CONFIG, FileDigest, MadeFor, Manifest, parse
from usher_lora.recipe import Recipe, parse_recipe
from usher_lora.run_folder import RunFolder, base_shapes, inherited, mark_whole
from usher_lora.training_set import TrainingSet, training_set

DATA = training_set(files())
QUERY = "model.layers.0.self_attn.q_proj"
BASE = {"config.json": b"{}", "model.safetensors": weights({f"{QUERY}.weight": arrays()[tensor(QUERY, "A")]})}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe whose base lies beside it."""
    (tmp_path / "base").mkdir()
    for name, data in BASE.items():
        (tmp_path / "base" / name).write_bytes(data)
    return parse_recipe(RECIPE.replace("model: tiny", "model: tiny-llama"), tmp_path)


def adapter() -> dict[str, bytes]:
    changes = {"rank_pattern": {}, "target_modules": ["k_proj", "q_proj"]}
    held: dict[str, Array] = arrays()
    name = tensor("model.layers.1.self_attn.q_proj", "A")
    like = tensor(QUERY, "A")
    held |= {name: held[like], name.replace("_A", "_B"): held[like.replace("_A", "_B")]}
    return {"adapter_config.json": config(**changes), "adapter_model.safetensors": weights(held)}


def begun(recipe: Recipe, data: TrainingSet = DATA) -> RunFolder:
    return RunFolder.begin(recipe, data.digest, base_digest(recipe.base.path))


def finished(recipe: Recipe, data: TrainingSet = DATA) -> Path:
    begun(recipe).finish(recipe, data, adapter(), {"recipe.yaml": b"x"})
    return recipe.output


def test_a_finished_folder_says_what_the_adapter_is(recipe: Recipe) -> None:
    """Two files to serve and no more; beside them what the registry reads; nothing of how it was made."""
    folder = finished(recipe)
    assert sorted(one.name for one in (folder / "adapter").iterdir()) == sorted(adapter())
    assert {"manifest.json", "lineage.json", "training_set.json"} <= {one.name for one in folder.iterdir()}
    assert not {"begun.json", "checkpoints"} & {one.name for one in folder.iterdir()}
    identity = parse((folder / "manifest.json").read_bytes()).identity
    assert (identity.recipe, identity.training_set, identity.lineage) == (
        recipe.digest,
        DATA.digest,
        DATA.lineage.digest,
    )
    assert identity.made_for is None
    assert sound(recipe, DATA) == identity


def test_an_adapter_says_what_its_data_set_was_asked_for(recipe: Recipe) -> None:
    """So that another can be asked for in its place."""
    asked = MadeFor("role:desk", ("coll:handbook",), ("structure",), 1)
    folder = finished(recipe, data=replace(DATA, made_for=asked))
    assert parse((folder / "manifest.json").read_bytes()).identity.made_for == asked


def test_an_adapter_that_cannot_be_served_is_never_finished(recipe: Recipe) -> None:
    """There is no manifest of it."""
    spoilt = adapter() | {"adapter_config.json": config(use_dora=True)}
    with pytest.raises(AdapterFault, match="is DoRA"):
        begun(recipe).finish(recipe, DATA, spoilt, {})
    assert not (recipe.output / "manifest.json").exists()


def test_a_training_that_was_cut_off_goes_on(recipe: Recipe) -> None:
    """As the same making, from the newest checkpoint that is whole; a newer one is taken away."""
    first = begun(recipe)
    assert first.last_checkpoint() is None
    for number in (20, 100, 120):
        (first.checkpoints / f"checkpoint-{number}").mkdir(parents=True)
    for number in (20, 100):
        mark_whole(first.checkpoints / f"checkpoint-{number}")
    again = begun(recipe)
    assert again.begun == first.begun
    assert again.last_checkpoint() == first.checkpoints / "checkpoint-100"
    assert not (first.checkpoints / "checkpoint-120").exists()


def test_another_training_does_not_go_on_there(recipe: Recipe, tmp_path: Path) -> None:
    """Another recipe, training set or base, or a folder with something else in it."""
    begun(recipe)
    with pytest.raises(AdapterFault, match="a training of another recipe"):
        begun(replace(recipe, digest="00" * 32))
    with pytest.raises(AdapterFault, match="a training of another training set"):
        begun(recipe, training_set(files([row(0), row(1)])))
    (tmp_path / "base" / "more.txt").write_text("x")
    with pytest.raises(AdapterFault, match="a training of another base"):
        begun(recipe)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("x")
    with pytest.raises(AdapterFault, match="has other files"):
        begun(replace(recipe, output=tmp_path / "full"))


def test_an_adapter_is_not_written_over(recipe: Recipe) -> None:
    """A folder with a whole one in it is left as it is."""
    finished(recipe)
    with pytest.raises(AdapterFault, match="has an adapter already"):
        begun(recipe)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("out/adapter/adapter_model.safetensors", "manifest.files lie"),
        ("out/adapter/adapter_config.json", "manifest.files lie"),
        ("out/lineage.json", "manifest.lineage"),
        ("base/config.json", "manifest.base.digest"),
    ],
)
def test_a_manifest_that_lies_is_not_measured(recipe: Recipe, tmp_path: Path, name: str, told: str) -> None:
    """One byte of the weights, the settings, the lineage or the base is another adapter."""
    finished(recipe)
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:-1] + b" ")
    with pytest.raises(AdapterFault, match=told):
        sound(recipe, DATA)


def test_an_adapter_whose_base_has_vanished_is_not_measured(recipe: Recipe, tmp_path: Path) -> None:
    """Gone with its folder, or all of its files: there is nothing to measure it on, and that is what is said."""
    finished(recipe)
    for one in (tmp_path / "base").iterdir():
        one.unlink()
    with pytest.raises(AdapterFault, match="base model is not there, or cannot be read: name the folder"):
        sound(recipe, DATA)
    (tmp_path / "base").rmdir()
    with pytest.raises(AdapterFault, match="base model is not there"):
        sound(recipe, DATA)


def test_another_recipe_or_training_set_is_not_measured(recipe: Recipe) -> None:
    """What is asked about is what was learned from."""
    finished(recipe)
    with pytest.raises(AdapterFault, match=r"manifest\.recipe"):
        sound(replace(recipe, digest="00" * 32), DATA)
    with pytest.raises(AdapterFault, match=r"manifest\.training_set"):
        sound(recipe, training_set(files(held_out=[row(11)])))


def test_a_base_with_a_lineage_hands_it_on(recipe: Recipe, tmp_path: Path) -> None:
    """Its documents are the adapter's too, and it is named as a parent."""
    (tmp_path / "base" / "lineage.json").write_bytes(canonical(lineage([learned(40)], ["p1"])))
    found = inherited(DATA.lineage, recipe)
    assert found.document_ids == DATA.lineage.document_ids | {learned(40).document}
    assert found.subjects == ("p1",)
    assert [(parent.kind, parent.name) for parent in found.parents] == [(ParentKind.BASE, "tiny-llama")]


def test_a_base_is_looked_at_without_loading_it(recipe: Recipe, tmp_path: Path) -> None:
    """Its tensors' shapes, from the files' headers; no weights, or others than safetensors, are refused."""
    assert base_shapes(recipe.base.path) == {f"{QUERY}.weight": (8, 32)}
    (tmp_path / "base" / "model.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(AdapterFault, match=r"base model: model\.safetensors .* train on the base as it was released"):
        base_shapes(recipe.base.path)
    (tmp_path / "base" / "model.safetensors").rename(tmp_path / "base" / "pytorch_model.bin")
    with pytest.raises(AdapterFault, match="has no weights as safetensors"):
        base_shapes(recipe.base.path)
    with pytest.raises(AdapterFault, match="base model is not there"):
        base_shapes(tmp_path / "gone")


def test_what_is_begun_is_told_in_one_form(recipe: Recipe) -> None:
    """A file that somebody else wrote does not make a training go on."""
    folder = begun(recipe)
    told = json.loads((folder.path / "begun.json").read_text())
    (folder.path / "begun.json").write_text(json.dumps(told | {"more": 1}))
    with pytest.raises(AdapterFault, match=r"begun\.json"):
        begun(recipe)


def test_what_was_trained_on_is_told_beside_what_was_inherited(recipe: Recipe, tmp_path: Path) -> None:
    """The lineage of the training set as it was, so that nobody leaves some of it out behind a parent."""
    finished(recipe)
    assert not (recipe.output / "training_lineage.json").exists()
    (tmp_path / "base" / "lineage.json").write_bytes(canonical(lineage([learned(40)])))
    other = replace(recipe, output=tmp_path / "other")
    finished(other)
    assert (other.output / "training_lineage.json").read_bytes() == DATA.lineage_bytes


def test_what_the_registry_would_refuse_is_not_loaded_to_be_measured(recipe: Recipe) -> None:
    """However true its manifest is: settings can name a module that PEFT then imports."""
    folder = finished(recipe)
    spoilt = config(
        rank_pattern={}, target_modules=["k_proj", "q_proj"], megatron_config={"a": 1}, megatron_core="antigravity"
    )
    (folder / "adapter" / CONFIG).write_bytes(spoilt)
    identity = parse((folder / "manifest.json").read_bytes()).identity
    files = (FileDigest(CONFIG, len(spoilt), sha256(spoilt)), *identity.files[1:])
    (folder / "manifest.json").write_bytes(encode(Manifest(msgspec.structs.replace(identity, files=files))))
    with pytest.raises(AdapterFault, match="megatron_config"):
        sound(recipe, DATA)
