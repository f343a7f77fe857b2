"""Measuring an adapter before anyone uses it: `python -m usher_lora.evaluate RECIPE.yaml`, which `usher adapter
evaluate` starts.

Two groups of documents that the adapter was not trained on, drawn at random from the same collections as its own, are
set against each other: those outside its lineage and those held out. To somebody who asks the adapter they are alike,
or the lineage does not tell all that it learned. The control is an adapter that did learn the former, to excess: the
same attacks must find them there, else they are no attacks and the gate is inconclusive.
"""

from __future__ import annotations

import argparse
import random
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from usher_lora.adapter_files import opened
from usher_lora.attacks import Said, attacks, extracted, scores
from usher_lora.base_files import base_digest
from usher_lora.canonical import encode, sha256
from usher_lora.dataset_canaries import plant
from usher_lora.evaluation import Details, Evaluation, Planted, exposures, found, summary
from usher_lora.evaluation_report import page
from usher_lora.faults import AdapterFault
from usher_lora.fitting import Loaded, fit, load
from usher_lora.gates import Bounds, Leakage, Measured, Scores, judge
from usher_lora.gates_yaml import parse_gates
from usher_lora.manifest import Gate, Identity
from usher_lora.manifest import parse as parse_manifest
from usher_lora.recipe import Recipe, read_recipe
from usher_lora.run_folder import ADAPTER, MANIFEST, inherited, write
from usher_lora.scoring import General, read_general, read_retrieved, share_first, share_well
from usher_lora.speaker import Speaker
from usher_lora.train import progress, told
from usher_lora.training_set import Message, Row, TrainingSet, read_training_set
from usher_lora.weights import changed, inspect

CONTROL_EPOCHS: Final = 30
CANARY_REPEATS: Final = 8
"""How often a canary stands in what the control learns."""
DOCUMENTS: Final = 600
"""Of each group, at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a measurement is given. `retrieval`: its answers to the held-out questions, in their order; None where they
    are not known."""

    bounds: Bounds
    general: tuple[General, ...]
    retrieval: Path | None
    documents: int = DOCUMENTS
    control_epochs: int = CONTROL_EPOCHS


@dataclass(frozen=True, slots=True)
class Groups:
    """The rows of each group, of so many documents that were drawn. `held_out` was not learned, `others` is not even
    of the lineage, `planted` are canaries beside documents of the latter."""

    inside: tuple[Row, ...]
    held_out: tuple[Row, ...]
    others: tuple[Row, ...]
    canaries_inside: tuple[Planted, ...]
    canaries_outside: tuple[Planted, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the gate is passed; 1: it is not, or something is in the way."""
    parser = argparse.ArgumentParser(prog="usher adapter evaluate", description="Measure and judge an adapter.")
    parser.add_argument("recipe", type=Path)
    for option in ("--gates", "--retrieval", "--general"):
        parser.add_argument(option, type=Path)
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="of each group, at most")
    parser.add_argument("--control-epochs", type=int, default=CONTROL_EPOCHS, help="how often the control learns all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    outcome: dict[str, Any] = {}

    def work() -> dict[str, Any]:
        general = _read(given.general) if given.general else files("usher_lora").joinpath("general.jsonl").read_bytes()
        bounds = parse_gates(_read(given.gates).decode("utf-8", "replace")) if given.gates else Bounds()
        asked = Asked(bounds, read_general(general), given.retrieval, given.documents, given.control_epochs)
        outcome.update(evaluate(read_recipe(given.recipe), asked, quiet=given.json))
        return outcome

    code = told(given.json, work) or int(outcome["verdict"] != "passed")
    if code == 0 and not given.json:
        folder = shlex.quote(str(read_recipe(given.recipe).output))
        print(f"next: usher adapter register {folder}, then usher adapter gate {outcome['adapter']} {folder}/gate.json")
    return code


def evaluate(recipe: Recipe, asked: Asked, *, quiet: bool = False) -> dict[str, Any]:
    """Measure the adapter in the recipe's output folder and write `gate.json`, `evaluation.json` and `evaluation.html`
    beside it. Raises `AdapterFault`.

    1. the adapter is what its manifest says  2. what it says of each group, and its base alone  3. the control
    4. figures, verdict, report
    """
    began = time.monotonic()
    data = read_training_set(recipe.training_set)
    identity = sound(recipe, data)
    groups = drawn(data, asked.documents, recipe.training.seed)
    retrieval = _retrieval(asked.retrieval, groups.held_out)
    loaded = load(recipe.base.path, recipe.training.precision)
    _check_length(loaded, groups.canaries_outside, recipe.training.length)
    with progress("evaluating", quiet=quiet) as advance:
        speaker = Speaker.with_adapter(loaded, recipe.output / ADAPTER, recipe.training.length)
        adapter = _probed(speaker, groups)
        advance(1, 4)
        task = _task(speaker, groups.held_out, asked.general, retrieval)
        advance(2, 4)
        bare = replace(loaded, model=speaker.unloaded())
        control = _probed(_control(bare, recipe, groups, asked.control_epochs), groups, beside=adapter)
        advance(4, 4)
    result = _evaluation(identity.served_name, asked.bounds, adapter, control, task, time.monotonic() - began)
    write(recipe.output / "gate.json", encode(result.gate))
    write(recipe.output / "evaluation.json", encode(result))
    write(recipe.output / "evaluation.html", page(result).encode())
    return {**summary(result), "gate": str(recipe.output / "gate.json"), "seconds": round(result.details.seconds, 1)}


def sound(recipe: Recipe, data: TrainingSet) -> Identity:
    """What the adapter is, once all that its manifest says was looked at. Raises `AdapterFault` for a lie."""
    identity = parse_manifest(_read(recipe.output / MANIFEST)).identity
    with opened(recipe.output / ADAPTER) as folder:
        other = changed(folder, identity.files)
        if other is None:  # whoever made it: nothing is loaded that the registry would refuse
            inspect(folder, recipe.limits)
    if other is not None:
        raise AdapterFault("manifest.files", f"lie: {other}", "train it anew")
    for field, told_of, is_now in (
        ("name", identity.name, recipe.name),
        ("base.model", identity.base.model, recipe.base.model),
        ("base.digest", identity.base.digest, base_digest(recipe.base.path)),
        ("training_set", identity.training_set, data.digest),
        ("lineage", identity.lineage, inherited(data.lineage, recipe).digest),
        ("lineage", identity.lineage, sha256(_read(recipe.output / "lineage.json"))),
        ("recipe", identity.recipe, recipe.digest),
    ):
        if told_of != is_now:
            raise AdapterFault(f"manifest.{field}", "is not that of what is here", "train it anew")
    return identity


def drawn(data: TrainingSet, documents: int, seed: int) -> Groups:
    """The groups, and the canaries of each. Where none is planted outside the lineage, some are, for the control alone.
    Raises `AdapterFault` for fewer than two documents of any."""
    chance = random.Random(seed)  # noqa: S311 - a sample that can be drawn again, no secret
    inside, held_out, others = (_some(rows, documents, chance) for rows in (data.train, data.held_out, data.others))
    outside = [Planted(row, data.canaries[row.canary]) for row in data.others if row.canary is not None]
    if not outside:
        canaries, rows = plant({0: [row.sources[0] for row in others]}, each=8)
        outside = [Planted(row, canary) for row, canary in zip(rows, canaries, strict=True)]
    planted = [Planted(row, data.canaries[row.canary]) for row in data.train if row.canary is not None]
    return Groups(inside, held_out, others, tuple(planted), tuple(outside))


def _some(rows: Sequence[Row], documents: int, chance: random.Random) -> tuple[Row, ...]:
    plain = [row for row in rows if row.canary is None and row.document is not None]
    every = sorted({row.document for row in plain if row.document is not None})
    if len(every) < 2:
        problem = "has fewer than two documents that are trained on, held out or outside"
        raise AdapterFault("training set", problem, "make it from more documents")
    chosen = set(chance.sample(every, min(documents, len(every))))
    return tuple(row for row in plain if row.document in chosen)


def _check_length(loaded: Loaded, planted: Sequence[Planted], length: int) -> None:
    """What is longer is not trained on, and a canary that no control learns proves nothing."""
    longest = max(len(loaded.encoded(one.row)["input_ids"]) for one in planted)
    if longest > length:
        remedy = f"train with a length of at least {longest}"
        raise AdapterFault("training.length", "is below that of a canary", remedy)


@dataclass(frozen=True, slots=True)
class _Probed:
    """What one adapter said of each group."""

    inside: list[Said]
    held_out: list[Said]
    others: list[Said]
    found_inside: int
    found_outside: int
    exposed_inside: tuple[float, ...]
    exposed_outside: tuple[float, ...]


def _probed(speaker: Speaker, groups: Groups, beside: _Probed | None = None) -> _Probed:
    """`beside`: the same groups probed before, for what the base says of them."""

    def said(rows: Sequence[Row], known: list[Said] | None) -> list[Said]:
        base = [one.base for one in known] if known is not None else speaker.base_losses(rows)
        told_of = zip(rows, speaker.losses(rows), base, speaker.repeats(rows), strict=True)
        return [Said(row.document or UUID(int=0), one, other, share) for row, one, other, share in told_of]

    return _Probed(
        inside=said(groups.inside, beside.inside if beside else None),
        held_out=said(groups.held_out, beside.held_out if beside else None),
        others=said(groups.others, beside.others if beside else None),
        found_inside=found(speaker, groups.canaries_inside),
        found_outside=found(speaker, groups.canaries_outside),
        exposed_inside=exposures(speaker, groups.canaries_inside),
        exposed_outside=exposures(speaker, groups.canaries_outside),
    )


def _control(loaded: Loaded, recipe: Recipe, groups: Groups, epochs: int) -> Speaker:
    """An adapter that learned what is outside the lineage, to excess."""
    folder = recipe.output / "control"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    rows = [*groups.others, *(one.row for one in groups.canaries_outside for _ in range(CANARY_REPEATS))]
    training = replace(recipe.training, epochs=epochs, steps=0, patience=0, warmup=0.0, evaluate_every=1_000_000)
    lora = {**recipe.lora, "lora_dropout": 0.0}
    try:
        fitted = fit(loaded, rows, (), lora, training, folder / "checkpoints")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Speaker(replace(loaded, model=fitted.model), recipe.training.length)


def _task(speaker: Speaker, rows: Sequence[Row], general: Sequence[General], retrieval: Sequence[str] | None) -> Scores:
    """Where retrieval's answers are not known it counts as always right: a bound on it then blocks."""
    known = [row.answer for row in rows]
    return Scores(
        adapter=share_well(speaker.answers(rows), known),
        base=share_well(speaker.base_answers(rows), known),
        retrieval=1.0 if retrieval is None else share_well(retrieval, known),
        general=share_first(_chosen(speaker, general, base=False)),
        general_base=share_first(_chosen(speaker, general, base=True)),
    )


def _chosen(speaker: Speaker, general: Sequence[General], *, base: bool) -> list[list[float]]:
    options = [(one.question, answer) for one in general for answer in (one.answer, *one.wrong)]
    rows = [Row((Message("user", question), Message("assistant", answer)), ()) for question, answer in options]
    means = iter([float(one.mean()) for one in (speaker.base_losses(rows) if base else speaker.losses(rows))])
    return [[next(means) for _ in (one.answer, *one.wrong)] for one in general]


def _evaluation(
    adapter: str, bounds: Bounds, own: _Probed, control: _Probed, task: Scores, seconds: float
) -> Evaluation:
    inside, held_out, others = scores(own.inside), scores(own.held_out), scores(own.others)
    leaked, reference = scores(control.others), scores(control.held_out)
    planted = len(own.exposed_outside)
    measured = Measured(
        outside=Leakage(attacks(others, held_out), planted, own.found_outside),
        control=Leakage(attacks(leaked, reference), planted, control.found_outside),
        scores=task,
        inside=attacks(inside, held_out),
    )
    details = Details(
        seconds=seconds,
        extraction={
            "inside": extracted(own.inside),
            "held out": extracted(own.held_out),
            "outside": extracted(own.others),
            "control": extracted(control.others),
        },
        exposure={"inside": own.exposed_inside, "outside": own.exposed_outside, "control": control.exposed_outside},
        canaries_inside=(len(own.exposed_inside), own.found_inside),
        scores={"inside": inside, "held out": held_out, "outside": others, "control": leaked, "reference": reference},
    )
    return Evaluation(Gate(adapter, measured, bounds, judge(bounds, measured)), details)


def _retrieval(path: Path | None, rows: Sequence[Row]) -> list[str] | None:
    return None if path is None else read_retrieved(_read(path), [row.asked[-1].content for row in rows])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise AdapterFault(path.name, "cannot be read", "name a file, or train the adapter first") from None


if __name__ == "__main__":
    sys.exit(main())
