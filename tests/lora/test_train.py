"""What is wrong is told before a training library is loaded: these tests run where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lora.adapters import weights
from tests.lora.training import RECIPE, files, row

from usher import cli_adapter_train
from usher.errors import UserError
from usher_lora import train
from usher_lora.fitting import over

CONFIG = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 64}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "offline", lambda: None)


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A recipe, its training set, and a base of two tensors, of which no name is a target of the recipe."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    for folder, held in (
        ("data", files()),
        ("base", {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": weights()}),
    ):
        (tmp_path / folder).mkdir()
        for name, content in held.items():
            (tmp_path / folder / name).write_bytes(content)
    return tmp_path


def put(room: Path, held: dict[str, bytes]) -> None:
    for name, content in held.items():
        (room / "data" / name).write_bytes(content)


SPOILT: dict[str, Callable[[Path], object]] = {
    "is DoRA": lambda room: (room / "recipe.yaml").write_text(RECIPE.replace("r: 8", "r: 8, use_dora: true")),
    "the server's limit of 16": lambda room: (room / "recipe.yaml").write_text(RECIPE.replace("r: 8", "r: 64")),
    "the key 'epoch' is unknown": lambda room: (room / "recipe.yaml").write_text(RECIPE.replace("epochs", "epoch")),
    "has 1 example": lambda room: put(room, files([row(0)])),
    "has only duplicates": lambda room: put(room, files([row(0)] * 5)),
    "is not in the lineage": lambda room: put(room, files([row(0), row(1), row(66)])),
    "is not the file that": lambda room: (room / "data" / "train.jsonl").write_bytes(b""),
    "is not there": lambda room: [one.unlink() for one in (room / "base").iterdir()],
    "has no config.json": lambda room: (room / "base" / "config.json").unlink(),
    "has no weights as safetensors": lambda room: (room / "base" / "model.safetensors").unlink(),
    "which the base model does not": lambda room: None,
}


@pytest.mark.parametrize("told", SPOILT)
def test_what_is_wrong_is_told_first(room: Path, capsys: pytest.CaptureFixture[str], told: str) -> None:
    """As JSON with what is wrong and the remedy, exit code 1; nothing is written."""
    SPOILT[told](room)
    assert train.main([str(room / "recipe.yaml"), "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert told in f"{error['field']} {error['problem']}"
    assert error["remedy"]
    assert not (room / "out").exists()


def test_without_json_it_is_a_line(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error; standard output stays empty."""
    assert train.main([str(room / "nowhere.yaml")]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "usher: recipe cannot be read: name a YAML file in UTF-8\n")


def test_the_command_says_what_to_install(room: Path) -> None:
    """Where this environment has no training library and no other is named."""
    assert find_spec("torch") is None, "the service's environment has no training library"
    with pytest.raises(UserError, match=r"usher\[training\].*--python"):
        cli_adapter_train.train(room / "recipe.yaml")


def test_the_command_needs_an_interpreter_that_is_there(room: Path) -> None:
    """A path that is none is told as that."""
    with pytest.raises(UserError, match="--python cannot be started"):
        cli_adapter_train.train(room / "recipe.yaml", room / "none")


def test_what_trains_is_told_nothing_of_ushers_own_settings(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are among them, and the training libraries are others' code."""
    given: dict[str, str] = {}

    def started(_path: str, _words: list[str], environment: dict[str, str]) -> None:
        given.update(environment)
        raise OSError

    monkeypatch.setenv("USHER_MASTER_KEY", "secret")
    monkeypatch.setenv("USHER_KEY", "secret")
    monkeypatch.setattr(os, "execve", started)
    with pytest.raises(UserError, match="cannot be started"):
        cli_adapter_train.train(room / "recipe.yaml", Path(sys.executable))
    assert "PATH" in given
    assert "secret" not in given.values()


@pytest.mark.slow
def test_the_command_becomes_what_it_starts(room: Path) -> None:
    """Its words and its failure are the command's."""
    usher = str(Path(sys.executable).with_name("usher"))
    words = ["adapter", "train", str(room / "recipe.yaml"), "--python", sys.executable, "--json"]
    ran = subprocess.run([usher, *words], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "which the base model does not" in ran.stdout


@given(st.lists(st.integers(0, 5).map(float), max_size=12), st.integers(0, 4))
def test_a_training_is_over_after_so_many_looks_in_vain(losses: list[float], patience: int) -> None:
    """A look as good as the best is in vain too; without patience it is never over."""
    best, in_vain = float("inf"), 0
    for loss in losses:
        in_vain = 0 if loss < best else in_vain + 1
        best = min(best, loss)
    assert over(losses, patience) == (0 < patience <= in_vain)
