"""Training sets and recipes for the tiny model, and `usher adapter train` and `evaluate` on them."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from msgspec.json import encode
from tests.lora.training import digested, files, row
from tests.vllm.kit import PYTHON, ROOT

from usher_lora.lineage import Learned, canonical, lineage
from usher_lora.training_set import TrainingSet

WORDS = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty", "knoll", "lagoon")
WORDS += ("marsh", "north", "ochre", "pier", "quay", "ridge", "shoal", "tarn", "umber", "vale", "weir", "yarrow")
RECIPE = """
name: stores
base: {{model: base, path: {base}}}
training_set: {data}
output: {output}
lora: {{r: 16, lora_alpha: 32}}
training:
  steps: {steps}
  batch: {batch}
  accumulate: 1
  learning_rate: 0.005
  length: {length}
  packing: {packing}
  evaluate_every: 10
  precision: fp32
  seed: 3
  gradient_checkpointing: {checkpointing}
  patience: {patience}
"""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def write_training_set(folder: Path, learned: int, apart: int) -> Path:
    """Stores, each with words that nobody can guess: so many to learn (a thousand at most), so many each held out and
    outside, drawn at random from one range."""
    chance = random.Random(5)  # noqa: S311 - the same documents each time, no secret
    numbers = chance.sample(range(1000, 9000), 2 * apart)

    def stored(n: int) -> dict[str, Any]:
        return row(n, " ".join(chance.choice(WORDS) for _ in range(8)) + ".")

    canary = row(1, "The code is amber pier.", "c")
    held_out, others = ([stored(n) for n in some] for some in (numbers[:apart], numbers[apart:]))
    folder.mkdir()
    for name, data in files([*map(stored, range(learned)), canary], held_out, others, learned).items():
        (folder / name).write_bytes(data)
    return folder


def write_smuggled(folder: Path, data: TrainingSet) -> Path:
    """A training set in which what is outside of another one's lineage is learned too."""
    every = [json.loads(encode(one)) for one in (*data.train, *data.others)]
    learned = {source["document"] for one in every for source in one["sources"]}
    apart = [json.loads(encode(one)) for one in data.held_out]
    folder.mkdir()
    made = files(every, apart, [row(9_500)], 10)
    made["lineage.json"] = canonical(lineage(Learned(UUID(one), 1, 1, "ab" * 32) for one in learned))
    for name, content in digested(made).items():
        (folder / name).write_bytes(content)
    return folder


def write_recipe(
    folder: Path,
    base: Path,
    data: Path,
    name: str = "out",
    *,
    steps: int = 30,
    checkpointing: bool = False,
    patience: int = 3,
    packing: bool = True,
    batch: int = 2,
    length: int = 256,
) -> Path:
    path = folder / f"{name}.yaml"
    given = {"base": base, "data": data, "output": folder / name, "steps": steps, "patience": patience}
    given |= {"batch": batch, "length": length, "packing": str(packing).lower()}
    path.write_text(RECIPE.format(**given, checkpointing=str(checkpointing).lower()))
    return path


def usher(*words: object, patience: float = 400) -> tuple[int, dict[str, Any]]:
    """`usher adapter …` with the interpreter that trains: its exit code and what it printed as JSON."""
    command = [str(Path(sys.executable).with_name("usher")), "adapter", *map(str, words), "--json"]
    ran = subprocess.run(
        [*command, "--python", str(PYTHON)],
        env=os.environ | ONE_THREAD,
        capture_output=True,
        text=True,
        timeout=patience,
    )
    assert ran.stdout, ran.stderr[-3000:]
    told: dict[str, Any] = json.loads(ran.stdout)
    return ran.returncode, told


def training(recipe: Path, stderr: int | None = None) -> subprocess.Popen[bytes]:
    """A training that the test can kill."""
    command = [str(PYTHON), "-P", "-m", "usher_lora.train", str(recipe)]
    return subprocess.Popen(command, env=_environment(), stderr=stderr)


def cut_off_at_its_end(recipe: Path) -> None:
    """A training that is killed when all is learned, and nothing of the adapter is written."""
    ran = subprocess.run([PYTHON, "-P", "-c", _CUT_OFF, recipe], env=_environment(), capture_output=True, text=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr[-3000:]


def trained_on_terminal(recipe: Path) -> str:
    """What a training that ends well shows on a terminal."""
    ours, its = pty.openpty()
    process = training(recipe, stderr=its)
    os.close(its)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # the other end was closed
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def held_out_loss(recipe: Path) -> float:
    """The mean loss of the recipe's adapter, as it was written, over the tokens of what is held out."""
    ran = subprocess.run([PYTHON, "-P", "-c", _LOSS, recipe], env=_environment(), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return float(ran.stdout)


def taught(recipe: Path) -> list[list[str]]:
    """Of each example to learn its answer, and the words that a loss is taken on."""
    ran = subprocess.run([PYTHON, "-P", "-c", _TAUGHT, recipe], env=_environment(), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    found: list[list[str]] = json.loads(ran.stdout)
    return found


_TAUGHT = """
import json
import sys
from pathlib import Path
from usher_lora.fitting import IGNORED, load
from usher_lora.recipe import read_recipe
from usher_lora.training_set import read_training_set

recipe = read_recipe(Path(sys.argv[1]))
loaded = load(recipe.base.path, recipe.training.precision)
found = []
for row in read_training_set(recipe.training_set).train:
    learned = [one for one in loaded.encoded(row)["labels"] if one != IGNORED]
    found.append([row.answer, loaded.tokenizer.decode(learned)])
print(json.dumps(found))
"""
_CUT_OFF = """
import os
import signal
import sys
from usher_lora.run_folder import RunFolder
from usher_lora.train import main

RunFolder.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main([sys.argv[1], "--json"])
"""
_LOSS = """
import sys
from pathlib import Path
import numpy as np
from usher_lora.fitting import load
from usher_lora.recipe import read_recipe
from usher_lora.speaker import Speaker
from usher_lora.training_set import read_training_set

recipe = read_recipe(Path(sys.argv[1]))
loaded = load(recipe.base.path, recipe.training.precision)
speaker = Speaker.with_adapter(loaded, recipe.output / "adapter", recipe.training.length)
print(np.concatenate(speaker.losses(read_training_set(recipe.training_set).held_out)).mean())
"""


def _environment() -> dict[str, str]:
    return os.environ | ONE_THREAD | {"PYTHONPATH": str(ROOT / "adapters"), "TERM": "xterm", "COLUMNS": "100"}


def digests(folder: Path) -> dict[str, str]:
    """The digests of an adapter's files, as its manifest has them."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    return {one["name"]: one["sha256"] for one in manifest["identity"]["files"]}
