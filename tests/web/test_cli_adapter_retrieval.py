"""`usher adapter retrieval`: what an adapter is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from tests.lora.training import files, row
from tests.web.adapter_kit import BUDGET, SpeakingModel, publish, retire_all, route_by
from tests.web.cli_kit import road_to
from tests.web.world import World, world
from typer.testing import CliRunner, Result

from usher import cli_adapter_retrieval
from usher.cli import app
from usher.errors import UserError
from usher_lora.scoring import read_retrieved

ASKED = ["How many days of leave are there?", "What is in store 11?"]
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(Path(tmp_path_factory.mktemp("retrieval")), model=SpeakingModel()) as made:
        yield made


@pytest.fixture
def command(usher: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command on a data set of two held-out questions, one of which is asked twice."""
    (tmp_path / "set").mkdir()
    leave = {"messages": [{"role": "user", "content": ASKED[0]}, {"role": "assistant", "content": "Thirty."}]}
    for name, data in files(held_out=[row(10) | leave, row(11), row(11, "Nobody knows.")]).items():
        (tmp_path / "set" / name).write_bytes(data)
    monkeypatch.setattr(cli_adapter_retrieval, "road", road_to(usher.operator_app()))
    monkeypatch.setattr(cli_adapter_retrieval, "run", usher.run)

    def command(who: str, folder: str = "set") -> Result:
        words = [str(tmp_path / folder), "--out", str(tmp_path / "answers"), "--key", usher.keys[who]]
        return CliRunner().invoke(app, ["adapter", "retrieval", *words])

    return command


def test_each_held_out_question_is_answered_and_recorded(usher: World, command: Run, tmp_path: Path) -> None:
    """Once, as the evaluation reads it, without citations; nothing is written over."""
    cast(SpeakingModel, usher.services.chat._model).steps = ("It is so [1].",)
    before = len(usher.events())
    done = command("bob")
    assert done.exit_code == 0, done.output
    answers = read_retrieved((tmp_path / "answers").read_bytes(), ASKED)
    assert answers[0] == "I speak as base. It is so."
    assert answers[1]
    assert sum(event["type"] == "answer" for event in usher.events()[before:]) == 2
    assert isinstance(command("bob").exception, UserError)


def test_what_an_adapter_answered_is_no_answer_of_retrieval(usher: World, command: Run, tmp_path: Path) -> None:
    """Then nothing is written: it would be compared with itself."""
    usher.run(publish(usher, BUDGET))
    usher.run(route_by(usher))
    try:
        told = str(command("alice").exception)
    finally:
        retire_all(usher)
    assert "sends a held-out question to adapter" in told
    assert not (tmp_path / "answers").exists()


def test_a_folder_that_is_no_data_set_is_told(command: Run) -> None:
    """By what is wrong with it."""
    assert "cannot be opened" in str(command("bob", "elsewhere").exception)
