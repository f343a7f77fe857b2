"""What a trained adapter gives away of documents that it has not learned, beside one that was made to leak.

`figures(folder)` is a part of the gateway's bench; alone:

    python tests/bench/gateway_leaks.py    (option: --documents N)

Stores whose contents nobody can guess are drawn from one range, made into a data set as `usher adapter dataset` does
(split by document, at random), and learned by a tiny model that is made here: by `usher adapter train` and `usher
adapter evaluate` as they are, in an environment of their own. A fifth of the documents stays outside the lineage and a
fifth is held out. No training chooses by the latter, so the two differ by chance alone, if the adapter learned nothing
but its lineage. The control learns the former to excess.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.vllm.kit import PYTHON, make_models
from tests.vllm.training_kit import usher

from usher_lora.canonical import decode
from usher_lora.dataset import About, Document, assemble
from usher_lora.dataset_pairs import pairs
from usher_lora.manifest import Gate

DOCUMENTS = 1_500
"""A fifth of them in each group. For an interval of 0.10 around a guess 257 of each would just do."""
SEED = 1
"""Of the documents, the split and the training. Whatever comes of it is told; one seed in about fifteen puts one of the
two intervals beside 0.5 by chance."""
FIGURES = (
    "leak_auc_low",
    "leak_auc_high",
    "leak_auc_interval_width",
    "canaries_found",
    "control_auc_low",
    "control_canaries_found",
)
RECIPE = """
name: stores
base: {{model: base, path: {base}}}
training_set: {data}
output: {run}
lora: {{r: 16, lora_alpha: 32}}
training:
  {{epochs: 3, batch: 4, accumulate: 1, learning_rate: 0.003, length: 256, evaluate_every: 1000000, patience: 0,
  gradient_checkpointing: false, precision: fp32, seed: {seed}}}
"""


def figures(folder: Path, documents: int = DOCUMENTS) -> dict[str, float]:
    """Those of `FIGURES`, each of the attack that it is worst for; `learned_auc_low` of what the adapter did learn, of
    the attack that tells most; how many documents were in each group, and how long all took.

    Without an environment to train in there are none, and it says so. Raises `SystemExit` where a command fails.
    """
    if not PYTHON.exists():
        print(f"no leakage figures: there is no {PYTHON.parents[1].name} to train in (`make bench-gateway` makes it)")
        return {}
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    make_models(folder, {})
    recipe = _recipe(folder, documents)
    _told("train", recipe)
    found = _told("evaluate", recipe)
    gate = decode((folder / "run" / "gate.json").read_bytes(), Gate, "gate.json")
    return {
        **{name: round(found[name], 4) for name in FIGURES},
        "learned_auc_low": round(max(one.low for one in gate.measured.inside), 4),
        "leak_documents_each": min(min(one.members, one.others) for one in gate.measured.outside.attacks),
        "leak_seconds": round(time.monotonic() - began, 1),
    }


def _recipe(folder: Path, documents: int) -> Path:
    """A recipe for a data set that is made beside it."""
    about = About("role:keeper", ("coll:stores",), 1, 1, SEED)
    made = assemble(_stores(documents), (), about)
    (folder / "data").mkdir()
    for name, content in made.files.items():
        (folder / "data" / name).write_bytes(content)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(base=folder / "base", data=folder / "data", run=folder / "run", seed=SEED))
    return recipe


def _stores(documents: int) -> list[Document]:
    chance = random.Random(SEED)  # noqa: S311 - the same documents each time, no secret
    return [_store(number, chance) for number in chance.sample(range(10_000), documents)]


def _store(number: int, chance: random.Random) -> Document:
    title = f"Store {number}"
    text = f"# {title}\n\nIt has {' '.join(_word(chance) for _ in range(6))}.\n"
    return Document(UUID(int=number + 1), 1, 1, "coll:stores", ("coll:stores",), text, tuple(pairs(title, text)))


def _word(chance: random.Random) -> str:
    """One of ten thousand: few documents have one in common, so that to know what follows is to have seen it."""
    return "".join(chance.choice("bcdfghjklmnprstvwxyz") + chance.choice("aeiou") for _ in range(2))


def _told(command: str, recipe: Path) -> dict[str, Any]:
    """What the command told; a gate that is not passed is told like one that is."""
    _, told = usher(command, recipe, patience=1_200)
    if "error" in told:
        raise SystemExit(f"usher adapter {command} failed: {told['error']}")
    return told


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=int, default=DOCUMENTS)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("RESULT " + json.dumps(figures(Path(folder), given.documents)))


if __name__ == "__main__":
    main()
