"""Training one adapter by a recipe: `python -m usher_lora.train RECIPE.yaml`, which `usher adapter train` starts.

All that can be known to be wrong is told before a model is loaded. Cut off at any point, the same command goes on from
the last whole checkpoint. With the same recipe, training set, base, machine and libraries, training on a CPU gives the
same weights, byte by byte, cut off or not; on a GPU the sums may come out in another order.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from usher_lora.base_files import base_digest, base_files
from usher_lora.canonical import foreign_json
from usher_lora.curve import loss_curve
from usher_lora.faults import AdapterFault
from usher_lora.fitting import Advance, Fitted, available, device_of, fit, load, peak_memory, served_files
from usher_lora.manifest import Manifest
from usher_lora.memory import Memory, check_memory, estimate, shape_of, trained_modules
from usher_lora.recipe import Recipe, read_recipe
from usher_lora.run_folder import RunFolder, base_shapes
from usher_lora.training_set import TrainingSet, read_training_set
from usher_lora.yaml_nodes import BadYaml


def main(arguments: Sequence[str] | None = None) -> int:
    """0: trained; 1: refused, with a word on standard error."""
    parser = argparse.ArgumentParser(prog="usher adapter train", description="Train an adapter by a recipe.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    code = told(given.json, lambda: train(read_recipe(given.recipe), given.recipe.read_bytes(), quiet=given.json))
    if code == 0 and not given.json:
        print(f"next: usher adapter evaluate {shlex.quote(str(given.recipe))}")
    return code


def told(as_json: bool, work: Any) -> int:
    """Do the work and print what it says; a fault goes to standard error, or with `--json` is what is printed."""
    offline()
    try:
        result = work()
    except (AdapterFault, BadYaml) as fault:
        if as_json:
            field = getattr(fault, "field", "recipe")
            print(json.dumps({"error": {"field": field, "problem": fault.problem, "remedy": fault.remedy}}))
        else:
            print(f"usher: {fault}", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name.replace('_', ' ')}: {value}")
    return 0


def offline() -> None:
    """Nothing is fetched, and nobody is told of what is done here."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}


def train(recipe: Recipe, source: bytes, *, quiet: bool = False) -> dict[str, Any]:
    """The adapter of this recipe, whose bytes are `source`, in its output folder. Raises `AdapterFault`.

    1. the training set is what it says it is  2. the base has what is to be changed  3. memory will do
    4. a folder to write in, new or cut off  5. trained  6. looked through as the registry will, and described
    """
    data = read_training_set(recipe.training_set)
    needed = memory_of(recipe)
    device, _ = device_of(recipe.training.precision)
    check_memory(needed, available(device))
    if not quiet:
        print(f"memory: {needed}", file=sys.stderr)
    loaded = load(recipe.base.path, recipe.training.precision)
    folder = RunFolder.begin(recipe, data.digest, base_digest(recipe.base.path))
    with progress("training", quiet=quiet) as advance:
        fitted = fit(
            loaded,
            data.train,
            data.held_out,
            recipe.lora,
            recipe.training,
            folder.checkpoints,
            folder.last_checkpoint(),
            advance,
        )
    return _finished(recipe, source, data, folder, fitted, needed, loaded.device)


def memory_of(recipe: Recipe) -> Memory:
    """What this training will need; that the base has what is to be changed is seen on the way. Raises
    `AdapterFault`."""
    files = base_files(recipe.base.path)
    if "config.json" not in files:
        raise AdapterFault("base model", "has no config.json", "name the folder of a whole model")
    config = foreign_json(files["config.json"].read_bytes(), "base model: config.json", "name another folder")
    shapes = base_shapes(recipe.base.path)
    trained = sum(trained_modules(shapes, recipe.peft).values())
    width = 2 if device_of(recipe.training.precision)[1] else 4
    return estimate(shape_of(config, shapes), trained, recipe.training, width)


@contextmanager
def progress(title: str, *, quiet: bool) -> Iterator[Advance]:
    """A progress bar on standard error, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _finished(
    recipe: Recipe,
    source: bytes,
    data: TrainingSet,
    folder: RunFolder,
    fitted: Fitted,
    needed: Memory,
    device: str,
) -> dict[str, Any]:
    losses = [one["loss"] for one in fitted.history if "loss" in one]
    watched = [one["eval_loss"] for one in fitted.history if "eval_loss" in one]
    figures: dict[str, Any] = {
        "steps": fitted.steps,
        "resumed_at": fitted.resumed_at,
        "loss": losses[-1] if losses else None,
        "held_out_loss": min(watched) if watched else None,
        "examples_too_long": fitted.left_out,
        "seconds": round(fitted.seconds, 1),
        "tokens_per_second": round(fitted.tokens / max(fitted.seconds, 1e-9)),
        "memory_estimated": needed.total,
        "memory_peak": peak_memory(device),
    }
    log = {"figures": figures, "estimate": asdict(needed), "history": fitted.history}
    beside = {"training.json": json.dumps(log, indent=1).encode(), "recipe.yaml": source}
    beside["loss.svg"] = loss_curve(fitted.history).encode()
    manifest: Manifest = folder.finish(recipe, data, served_files(fitted.model, recipe.base.model), beside)
    return {"adapter": manifest.identity.served_name, "folder": str(folder.path), **figures}


if __name__ == "__main__":
    sys.exit(main())
