"""The snapshot against Casbin over the whole rule language; and whether that comparison would notice a mistake."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.policy.differential import Disagreement, compared

from usher.backends.policy_files import read_source
from usher.policy_admin import check
from usher_policy import compile as compiler
from usher_policy.cases import CaseResult
from usher_policy.compile import Matched

ROOT = Path(__file__).parents[2]
MUTANTS = sorted((Path(__file__).parent / "mutants").glob("*.patch"))
PARTS = 4
DECISIONS = 21_000
"""In each part; with those of `test_policy_oracle.py` more than a hundred thousand."""
MEASURED = ("compile", "decide", "book")
ENOUGH = 95.0
"""Per cent of the branches and lines."""


@pytest.mark.slow
def test_the_snapshot_answers_as_casbin_does_on_the_whole_language(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A first look, in a moment."""
    tally = compared(tmp_path, 500, 0)
    record_property("decisions", tally.decisions)
    assert tally.decisions >= 500


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_a_hundred_thousand_decisions_are_casbins(
    part: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Yes and no among them; rules added and removed in any order, and compiled again step by step."""
    tally = compared(tmp_path, DECISIONS * int(os.environ.get("N", "1")), part)
    record_property("decisions", tally.decisions)
    assert tally.decisions >= DECISIONS
    assert tally.allowed >= tally.decisions // 12, tally
    assert tally.readable >= tally.documents // 40, tally


def _denies_nothing(snapshot: object, standing: object, obj: str, action: str) -> Matched:
    matched = ORIGINAL(snapshot.book, snapshot.shelves, standing, obj, action)  # type: ignore[attr-defined]  # a snapshot
    return Matched(matched.allow, (), matched.listed, matched.problem)


ORIGINAL = compiler._match


@pytest.mark.slow
def test_a_disagreement_becomes_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest rules and the question lie in the folder that the failure names, as a policy with its case, which
    fails while the mistake is there and passes without it."""
    with monkeypatch.context() as planted:
        planted.setattr(compiler.Snapshot, "matched", _denies_nothing)
        with pytest.raises(Disagreement, match=re.escape(str(tmp_path))):
            compared(
                tmp_path, 20_000, 1, shrink=False
            )  # Hypothesis' own takes a minute, and the rules are made small anyway
        source = read_source(tmp_path)
        assert not check(source).ok
        assert [result.passed for result in _cases(tmp_path)] == [False]
    assert len(source.rules_text.splitlines()) <= 4, source.rules_text
    assert ", deny, " in source.rules_text
    assert check(source).ok


def _cases(folder: Path) -> list[CaseResult]:
    return list(check(read_source(folder)).cases)


def test_there_are_ten_mutants() -> None:
    assert len(MUTANTS) >= 10


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("patch", MUTANTS, ids=lambda patch: patch.stem)
def test_a_mutant_is_caught(patch: Path, tmp_path: Path) -> None:
    """Each of these mistakes, in a copy of the package, makes the comparison fail."""
    shutil.copytree(ROOT / "policies" / "usher_policy", tmp_path / "usher_policy")
    applied = subprocess.run(
        ["git", "apply", "-C1", "-p1", str(patch)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    told = f"{patch.name} does not apply any more: plant the same mistake in the file as it is now. {applied.stderr}"
    assert applied.returncode == 0, told
    done = _differential("20000", tmp_path)
    assert done.returncode == 1, f"nobody noticed {patch.name}: {done.stdout[-500:]}"
    assert done.stdout.startswith("found: "), done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.crash
def test_the_comparison_reaches_the_compiler_and_the_decider(tmp_path: Path) -> None:
    """Branch by branch."""
    modules = ",".join(f"*/usher_policy/{name}.py" for name in MEASURED)
    data = f"--data-file={tmp_path / 'data'}"
    done = _differential("16000", tmp_path, "coverage", "run", "--branch", data, f"--include={modules}")
    assert done.returncode == 0, done.stdout + done.stderr
    told = tmp_path / "coverage.json"
    report = [sys.executable, "-m", "coverage", "json", "-q", data, "-o", str(told)]
    subprocess.run(report, cwd=ROOT, check=True, capture_output=True)
    files = {Path(name).stem: found["summary"] for name, found in json.loads(told.read_text())["files"].items()}
    assert sorted(files) == sorted(MEASURED)
    reached = {name: (found["percent_covered"], found["missing_branches"]) for name, found in files.items()}
    assert all(per_cent >= ENOUGH for per_cent, _ in reached.values()), reached
    covered, branches = (sum(f[key] for f in files.values()) for key in ("covered_branches", "num_branches"))
    assert covered >= branches * ENOUGH / 100, reached


def _differential(decisions: str, packages: Path, *under: str) -> subprocess.CompletedProcess[str]:
    """The comparison as a program, with the `usher_policy` of a folder if there is one in it."""
    module = ["-m", *under, "-m"] if under else ["-m"]
    paths = os.pathsep.join([str(packages), str(ROOT)])
    return subprocess.run(
        [sys.executable, *module, "tests.policy.differential", decisions, "7"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths, "TMPDIR": str(packages)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
