"""One LoRA trained on a GPU by the recipe that is shipped: tokens a second, and the most memory that it held.

    make bench-gpu TRAIN=INTERPRETER MODEL=FOLDER    (as the README beside this file says)

The interpreter has the training libraries. Short facts, packed to sequences of the recipe's length; what is learned
does not matter here. For a folder without weights random ones are made, elsewhere. The last line is `RESULT {json}`.
Without a GPU nothing is measured, and the exit code is 1, unless `--cpu` asks for a rehearsal.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.vllm.kit import ROOT
from tests.vllm.training_kit import write_training_set

GIB = 1 << 30
HAS_GPU = "import sys, torch; sys.exit(not torch.cuda.is_available())"
RANDOM = """
import sys, torch
from transformers import AutoConfig, AutoModelForCausalLM
config = AutoConfig.from_pretrained(sys.argv[1], local_files_only=True)
with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
model.save_pretrained(sys.argv[1])
"""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--python", required=True, help="an interpreter that has the training libraries")
    options.add_argument("--model", required=True, help="the folder with the model's config.json")
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--documents", type=int, default=1_000, help="with one example each")
    options.add_argument("--cpu", action="store_true", help="a rehearsal; its figures say nothing of a GPU")
    given = options.parse_args()
    if not given.python or not given.model:
        print("DID NOT RUN: no interpreter to train with was named (TRAIN=INTERPRETER MODEL=FOLDER).")
        return 1
    if not given.cpu and subprocess.run([given.python, "-c", HAS_GPU]).returncode:
        print("DID NOT RUN: this interpreter finds no GPU. Nothing was measured.")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        print("RESULT " + json.dumps(figures(Path(folder), given)))
    return 0


def figures(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    data = write_training_set(folder / "data", given.documents, 20)
    recipe = folder / "recipe.yaml"
    text = (ROOT / "adapters" / "recipes" / "default.yaml").read_text()
    for was, becomes in (
        ("path: ../models/base", f"path: {_with_weights(given.python, Path(given.model), folder)}"),
        ("training_set: ../data/support", f"training_set: {data}"),
        ("output: ../trained/support", f"output: {folder / 'run'}"),
        ("epochs: 3", f"steps: {given.steps}"),
        ("patience: 3", "patience: 0"),
    ):
        if text.count(was) != 1:
            raise SystemExit(f"the recipe that is shipped has no `{was}`")
        text = text.replace(was, becomes)
    recipe.write_text(text)
    told = _trained(given.python, recipe)
    return {
        "train_tokens_per_second": told["tokens_per_second"],
        "train_memory_peak_gib": round(told["memory_peak"] / GIB, 2),
        "train_memory_estimated_gib": round(told["memory_estimated"] / GIB, 2),
        "train_steps": told["steps"],
        "train_seconds": told["seconds"],
    }


def _trained(python: str, recipe: Path) -> dict[str, Any]:
    command = [python, "-P", "-m", "usher_lora.train", str(recipe), "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "adapters")}
    ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    told: dict[str, Any] = json.loads(ran.stdout)
    if ran.returncode:
        raise SystemExit(f"the training was refused: {told['error']}")
    return told


def _with_weights(python: str, model: Path, folder: Path) -> Path:
    """The model's folder, or where it has no weights a copy with random ones."""
    if any(model.glob("*.safetensors")):
        return model.absolute()
    made = folder / "base"
    shutil.copytree(model, made)
    subprocess.run([python, "-c", RANDOM, made], check=True)
    return made


if __name__ == "__main__":
    sys.exit(main())
