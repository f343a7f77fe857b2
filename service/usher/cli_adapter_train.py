"""`usher adapter train` and `usher adapter evaluate`: started in an environment that has the training libraries.

The server's environment has none, and this command imports none: it becomes another process. Both work on folders
alone; no server needs to run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import usher_lora
from usher.cli_output import Json
from usher.errors import UserError

Recipe = Annotated[
    Path, typer.Argument(metavar="RECIPE.yaml", help="How it is trained; begin with adapters/recipes/default.yaml.")
]
Python = Annotated[
    Path | None,
    typer.Option(
        "--python",
        envvar="USHER_TRAIN_PYTHON",
        help="The interpreter of an environment with the training libraries; without one, this environment's.",
        show_envvar=True,
    ),
]


def train(recipe: Recipe, python: Python = None, json: Json = False) -> None:
    """Train an adapter by a recipe. What cannot be served is refused first; cut off, the same command goes on."""
    _started("usher_lora.train", [str(recipe.absolute())], python, json)


def evaluate(
    recipe: Recipe,
    gates: Annotated[Path | None, typer.Option(help="The bounds; without them, the strictest.")] = None,
    retrieval: Annotated[
        Path | None,
        typer.Option(help="What `usher adapter retrieval` wrote; without it that counts as right."),
    ] = None,
    general: Annotated[
        Path | None, typer.Option(help="General questions, JSON lines of question, answer, wrong (a list).")
    ] = None,
    python: Python = None,
    json: Json = False,
) -> None:
    """Measure what a recipe's adapter knows and gives away, beside one that was made to leak, and judge it."""
    given = [("--gates", gates), ("--retrieval", retrieval), ("--general", general)]
    options = [word for name, path in given if path is not None for word in (name, str(path.absolute()))]
    _started("usher_lora.evaluate", [str(recipe.absolute()), *options], python, json)


def add_to(group: typer.Typer) -> None:
    group.command("train")(train)
    group.command("evaluate")(evaluate)


def _started(module: str, arguments: Sequence[str], python: Path | None, json: bool) -> NoReturn:
    """Become it: what ends this command ends it, and its exit code is this command's. It is told nothing of Usher's own
    settings: among them are keys, and what runs there is others' code. Raises `UserError`."""
    if python is None and find_spec("torch") is None:
        problem = "are not in this environment"
        remedy = (
            "make one of its own with `pip install -c constraints-vllm.txt 'usher[training]'`, "
            "and name its interpreter with --python"
        )
        raise UserError("the training libraries", problem, remedy)
    # A checkout's module runs in any environment; an installation's environment is not mixed into another.
    room = Path(usher_lora.__file__).parents[1]
    own = {} if room.name.endswith("-packages") else {"PYTHONPATH": str(room)}
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("USHER_")}
    command = [str(python or sys.executable), "-P", "-m", module, *arguments, *(["--json"] if json else [])]
    sys.stdout.flush()
    try:
        os.execve(command[0], command, {**foreign, **own})  # noqa: S606 - our own module, and no shell
    except OSError as error:
        problem = f"cannot be started ({type(error).__name__})"
        raise UserError("--python", problem, "name an interpreter, such as .venv-vllm/bin/python") from None
