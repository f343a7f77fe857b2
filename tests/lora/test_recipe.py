"""A recipe is read strictly, and what cannot be served is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.lora.training import RECIPE

from usher_lora.faults import AdapterFault
from usher_lora.recipe import MOST_BYTES, parse_recipe, read_recipe
from usher_lora.yaml_nodes import BadYaml

HERE = Path("/recipes")
RECIPES = Path(__file__).parents[2] / "adapters" / "recipes"


def refused(text: str) -> str:
    with pytest.raises((AdapterFault, BadYaml)) as caught:
        parse_recipe(text, HERE)
    return str(caught.value)


def test_a_recipe_is_read() -> None:
    """Paths begin at its folder, what it does not say has its default, and the digest is of its bytes."""
    recipe = parse_recipe(RECIPE, HERE)
    assert (recipe.base.path, recipe.output) == (HERE / "base", HERE / "out")
    assert (recipe.peft.rank, recipe.peft.target_modules) == (8, ("q_proj", "v_proj"))
    assert (recipe.training.epochs, recipe.training.accumulate, recipe.training.packing) == (2, 4, True)
    assert recipe.digest != parse_recipe(RECIPE + "\n", HERE).digest


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_recipes_that_come_with_it_can_be_read(path: Path) -> None:
    """Each is sound as it stands, but for the folders that it names."""
    assert read_recipe(path).peft.rank >= 1


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("use_dora: true", "is DoRA: train with use_dora=False"),
        ("bias: all", "has biases"),
        ("lora_bias: true", "has biases"),
        ("modules_to_save: [lm_head]", "holds whole modules"),
        ("trainable_token_indices: [1]", "holds tokens of its own"),
        ("init_lora_weights: pissa", "begun in a way that changes the base"),
        ("init_lora_weights: olora", "begun in a way that changes the base"),
        ("loftq_config: {loftq_bits: 4}", "was begun by LoftQ"),
        ("layer_replication: [[0, 1]]", "repeats layers"),
        ("target_parameters: [w]", "no modules"),
        ("r: 17", "is above the server's limit of 16"),
        ("rank_pattern: {q_proj: 32}", "is above the server's limit of 16"),
        ("target_modules: [lm_head]", "has 'lm_head', which the server cannot change"),
        ("target_modules: all-linear", "is no list of names"),
        ("use_newest_trick: true", "is not known to be served"),
        ("task_type: SEQ_CLS", "is not for a recipe to say"),
        ("base_model_name_or_path: other", "is not for a recipe to say"),
    ],
)
def test_what_the_server_cannot_serve_is_refused(setting: str, told: str) -> None:
    """With what is wrong and what to do, before a model is loaded."""
    text = "\n".join(line for line in RECIPE.splitlines() if not line.startswith("lora"))
    assert told in refused(f"{text}\nlora: {{{setting}}}\n")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("name: stores", "name: Stores!", "line 2: `name` is no name"),
        ("name: stores", "", "`name` is missing"),
        ("output: out", "", "`output` is missing"),
        ("model: tiny, ", "", "`base.model` is missing"),
        ("model: tiny", "model: tiny, trust_remote_code: true", "the key 'trust_remote_code' is unknown"),
        ("epochs: 2", "epoch: 2", "line 7: the key 'epoch' is unknown"),
        ("epochs: 2", "epochs: 2, epochs: 3", "is given twice"),
        ("epochs: 2", "epochs: 0", "`training.epochs` is no number"),
        ("epochs: 2", "packing: yes", "`training.packing` is neither true nor false"),
        ("epochs: 2", "precision: fp8", "`training.precision` is none"),
        ("0.005", "5e-3", "`training.learning_rate` is no number"),
        ("r: 8", "r: 8, lora_dropout: 1", "`lora_dropout` is no share"),
        ("r: 8", "r: 8, r: 4", "is given twice"),
    ],
)
def test_a_mistake_is_told_with_its_line(old: str, new: str, told: str) -> None:
    """What is wrong and where, in words."""
    assert old in RECIPE
    assert told in refused(RECIPE.replace(old, new))


def test_no_recipe_is_told(tmp_path: Path) -> None:
    """A file that is not there, is no text, or is too long."""
    with pytest.raises(AdapterFault, match="cannot be read"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "long.yaml").write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(AdapterFault, match="is too long"):
        read_recipe(tmp_path / "long.yaml")
    assert "is empty" in refused("")
