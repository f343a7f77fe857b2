"""Adapters trained here, on a CPU: the same again, cut off or not; and what no training may begin with."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from tests.vllm.kit import PATIENCE
from tests.vllm.training_kit import (
    cut_off_at_its_end,
    digests,
    held_out_loss,
    taught,
    trained_on_terminal,
    training,
    usher,
    write_recipe,
    write_training_set,
)

from usher_lora.adapter_files import opened
from usher_lora.recipe import read_recipe
from usher_lora.weights import inspect


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training_set(tmp_path_factory.mktemp("set") / "data", 48, 12)


def wait_for(path: Path) -> None:
    until = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_training_that_is_killed_ends_as_if_it_had_not_been(models: Path, data: Path, tmp_path: Path) -> None:
    """The same recipe gives the same bytes; killed after a checkpoint, it goes on from there, to those bytes too."""
    whole = write_recipe(tmp_path, models / "base", data, "whole")
    code, told = usher("train", whole)
    assert (code, told["steps"], told["resumed_at"]) == (0, 30, 0)
    cut = write_recipe(tmp_path, models / "base", data, "cut")
    process = training(cut)
    wait_for(tmp_path / "cut" / "checkpoints" / "checkpoint-10" / "whole")
    process.kill()
    process.wait()
    assert not (tmp_path / "cut" / "manifest.json").exists()
    code, resumed = usher("train", cut)
    assert (code, resumed["steps"]) == (0, 30)
    assert resumed["resumed_at"] >= 10
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")
    assert resumed["adapter"] != told["adapter"], "the recipe is another, and so is the adapter"
    assert (told["loss"], told["held_out_loss"]) == (resumed["loss"], resumed["held_out_loss"])
    assert told["memory_peak"] > 0
    with opened(tmp_path / "cut" / "adapter") as folder:
        assert inspect(folder, read_recipe(cut).limits).peft.rank == 16
    assert {"loss.svg", "training.json", "lineage.json"} <= {one.name for one in (tmp_path / "cut").iterdir()}


def test_checkpointing_changes_memory_and_nothing_else(models: Path, data: Path, tmp_path: Path) -> None:
    """With it, the loss of each step is that without it."""
    found = []
    for name, checkpointing in (("with", True), ("without", False)):
        recipe = write_recipe(tmp_path, models / "base", data, name, steps=4, checkpointing=checkpointing)
        code, told = usher("train", recipe)
        assert code == 0
        found.append(told["loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_only_answers_are_learned(models: Path, data: Path, tmp_path: Path) -> None:
    """With the token that ends them; no word of a question or of the system message."""
    found = taught(write_recipe(tmp_path, models / "base", data))
    assert len(found) > 40
    assert all(said == f"{answer}</s>" for answer, said in found)


def test_packed_examples_do_not_see_one_another(models: Path, tmp_path: Path) -> None:
    """All in one sequence they surprise a model as much as each in one of its own."""
    data = write_training_set(tmp_path / "data", 8, 2)
    losses = []
    for name, batch, packing in (("packed", 1, True), ("apart", 9, False)):
        recipe = write_recipe(tmp_path, models / "base", data, name, steps=1, batch=batch, packing=packing, length=1024)
        code, told = usher("train", recipe)
        assert code == 0
        losses.append(told["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.fixture(scope="module")
def early(models: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of a training that has ended early."""
    recipe = write_recipe(tmp_path_factory.mktemp("early"), models / "base", data, steps=400, patience=2)
    code, told = usher("train", recipe)
    assert (code, told["steps"] < 400) == (0, True)
    return recipe


def looks(run: Path) -> list[tuple[int, float]]:
    """The steps at which what is held out was looked at, with its loss."""
    history = json.loads((run / "training.json").read_text())["history"]
    return [(one["step"], one["eval_loss"]) for one in history if "eval_loss" in one]


def test_a_training_that_learns_nothing_more_ends_early(early: Path) -> None:
    """What is held out cannot be guessed, so its loss soon rises: two looks later it ends, and the adapter is that of
    the best look."""
    seen = looks(early.with_suffix(""))
    best, last = min(seen, key=lambda look: look[1]), seen[-1]
    assert last[0] == best[0] + 2 * 10
    kept = held_out_loss(early)
    assert abs(kept - best[1]) < abs(kept - last[1])


def test_one_that_is_cut_off_ends_as_early(early: Path, models: Path, data: Path, tmp_path: Path) -> None:
    """Killed after a look that found nothing better, and once more when it had ended: the looks before count, and no
    step is done twice."""
    whole = early.with_suffix("")
    last = looks(whole)[-1][0]
    cut = write_recipe(tmp_path, models / "base", data, "cut", steps=400, patience=2)
    process = training(cut)
    wait_for(tmp_path / "cut" / "checkpoints" / f"checkpoint-{last - 10}" / "whole")
    process.kill()
    process.wait()
    cut_off_at_its_end(cut)
    assert not (tmp_path / "cut" / "manifest.json").exists()
    code, told = usher("train", cut)
    assert (code, told["steps"], told["resumed_at"] > 0) == (0, last, True)
    assert looks(tmp_path / "cut") == looks(whole)
    assert digests(tmp_path / "cut") == digests(whole)


def test_how_far_a_training_is_stands_on_a_terminal(models: Path, data: Path, tmp_path: Path) -> None:
    """A bar up to the last step, after what memory it will need; where there is no terminal, the latter alone."""
    recipe = write_recipe(tmp_path, models / "base", data, "bar", steps=2)
    shown = trained_on_terminal(recipe)
    assert shown.index("memory: ") < shown.index("training ")
    assert "2/2" in shown
    process = training(write_recipe(tmp_path, models / "base", data, "plain", steps=2), stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert said.decode().startswith("memory: ")
    assert b"2/2" not in said


TEMPLATES = {
    "names what is Python's": "{% for m in messages %}{{ m.__class__.__mro__ }}{% endfor %}",
    "does not say which words are the assistant's": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    "leaves the end of an answer unlearned": (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}"
        "{% endgeneration %}{{ eos_token }}{% else %}<|user|>{{ m['content'] }}{% endif %}{% endfor %}"
    ),
}


@pytest.mark.parametrize("problem", TEMPLATES)
def test_a_base_whose_template_will_not_do_is_refused(models: Path, data: Path, tmp_path: Path, problem: str) -> None:
    """One that reaches for code, one that marks nobody's words, one that would teach never to stop: before anything
    is written."""
    base = tmp_path / "base"
    shutil.copytree(models / "base", base)
    (base / "chat_template.jinja").write_text(TEMPLATES[problem])
    code, told = usher("train", write_recipe(tmp_path, base, data))
    assert (code, told["error"]["problem"][: len(problem)]) == (1, problem)
    assert not (tmp_path / "out").exists()
