"""An adapter measured here, on a CPU, beside one that was made to leak."""

from __future__ import annotations

from pathlib import Path

from tests.vllm.training_kit import usher, write_recipe, write_smuggled, write_training_set

from usher_lora.base_files import base_digest
from usher_lora.canonical import decode, encode
from usher_lora.gates import Bounds, judge
from usher_lora.manifest import Gate
from usher_lora.recipe import read_recipe
from usher_lora.run_folder import RunFolder
from usher_lora.statistics import needed
from usher_lora.training_set import read_training_set

GATES = "leakage: {width: 0.2, auc: 0.55}\ntask: {general_loss: 0.5}\n"
"""Eighty documents of each group and a wide interval, so that it takes a minute or two: `make bench-gateway` asks for
0.10, with four times as many. One sample in fifteen has an interval beside 0.5 by chance, one in some hundreds beside
0.45 to 0.55, and a test must not fail by chance. What the tiny model loses in general is chance too: it knows
nothing."""


def retrieved(data: Path, path: Path) -> float:
    """Write such answers of retrieval that three in four are right; which share that is."""
    held_out = read_training_set(data).held_out
    said = [row.answer if n % 4 else "Nobody knows." for n, row in enumerate(held_out)]
    told = [{"question": row.asked[-1].content, "answer": one} for row, one in zip(held_out, said, strict=True)]
    path.write_bytes(b"\n".join(map(encode, told)))
    return sum(n % 4 > 0 for n in range(len(held_out))) / len(held_out)


def test_an_adapter_is_told_from_one_that_leaks(models: Path, tmp_path: Path) -> None:
    """Outside its lineage nothing is found, and the same attacks on the same documents find the control. Beside it
    stands what retrieval answered."""
    data = write_training_set(tmp_path / "data", 40, needed(0.18))
    recipe = write_recipe(tmp_path, models / "base", data)
    assert usher("train", recipe)[0] == 0
    (tmp_path / "gates.yaml").write_text(GATES)
    right = retrieved(data, tmp_path / "retrieval")
    given = ("--gates", tmp_path / "gates.yaml", "--retrieval", tmp_path / "retrieval")
    code, told = usher("evaluate", recipe, *given, patience=900)
    assert (code, told["verdict"], told["reasons"]) == (0, "passed", [])
    assert told["leak_auc_low"] <= 0.55
    assert told["leak_auc_high"] >= 0.45
    assert told["leak_auc_interval_width"] <= 0.2
    assert told["canaries_found"] == 0
    assert told["control_auc_low"] >= 0.70
    assert told["control_canaries_found"] >= 1
    gate = decode((tmp_path / "out" / "gate.json").read_bytes(), Gate, "gate")
    assert gate.adapter == told["adapter"]
    assert judge(Bounds(), gate.measured).outcome == "inconclusive", "too few documents for the strictest bounds"
    assert judge(gate.bounds, gate.measured) == gate.verdict
    assert gate.measured.scores.retrieval == right
    assert gate.measured.scores.adapter < 0.5, "what is held out cannot be guessed"
    inside = {one.name: one for one in gate.measured.inside}
    assert inside["loss_ratio"].low > 0.5, "what was learned is known to be learned"
    assert not (tmp_path / "out" / "control").exists()
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "passed" in page
    assert page.count("<polyline") == 2 * 4, "a curve for each group and attack, beside a guess"
    assert not any(word in page for word in ("What is in store", "amber pier"))


def test_an_adapter_that_learned_more_than_its_lineage_says_is_found(models: Path, tmp_path: Path) -> None:
    """Every digest of it holds, and yet what it says gives it away."""
    honest = write_recipe(
        tmp_path, models / "base", write_training_set(tmp_path / "data", 20, needed(0.2)), "honest", steps=120
    )
    recipe = read_recipe(honest)
    data = read_training_set(recipe.training_set)
    smuggled = write_smuggled(tmp_path / "smuggled", data)
    more = write_recipe(tmp_path, models / "base", smuggled, "more", steps=120)
    assert usher("train", more)[0] == 0
    held = {one.name: one.read_bytes() for one in (tmp_path / "more" / "adapter").iterdir()}
    RunFolder.begin(recipe, data.digest, base_digest(recipe.base.path)).finish(recipe, data, held, {})
    (tmp_path / "gates.yaml").write_text(GATES)
    code, told = usher("evaluate", honest, "--gates", tmp_path / "gates.yaml", patience=900)
    assert (code, told["verdict"]) == (1, "failed")
    assert any(reason.startswith("outside: loss_ratio tells members") for reason in told["reasons"])
