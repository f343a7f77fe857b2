"""What is too large is refused before anything is kept, and nonsense of any size is answered soon."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest
from tests.policy_store.changing_kit import OPERATOR, Office, told

from usher.core.policy_source import MAX_BESIDE, MAX_RULES, TooLarge, check_size
from usher.errors import UserError
from usher.policy.plan import Unsound
from usher.policy_admin import PolicySource, check


def test_a_changeset_of_100_mb_is_refused_before_it_is_read_or_kept(tmp_path: Path) -> None:
    """By its size alone: rules, documents or cases."""
    large = "# " + "x" * 1_000 + "\n"
    large *= 100 * 1024 * 1024 // len(large)

    async def story(office: Office) -> None:
        ann = await office.by("ann")
        sources = PolicySource(large), PolicySource("", {"links.yaml": large}), PolicySource("", {}, {"a.yaml": large})
        for source in sources:
            began = time.monotonic()
            for act in (
                office.on.changesets.draft(source, ann, 1),
                office.on.changesets.plan(source, ann),
                office.on.activation.apply(source, ann),
                office.on.activation.operator_apply(source, OPERATOR, "Now."),
            ):
                with pytest.raises(TooLarge) as refused:
                    await act
                assert refused.value.status == 413
            assert time.monotonic() - began < 2
        assert office.query("SELECT count(*) FROM changeset") == [(0,)]
        assert office.events("approval") == []

    told(tmp_path / "office", story)


def test_the_bounds_are_bytes() -> None:
    """A text that is all within them is read, one byte more is not."""
    check_size(PolicySource("ä" * (MAX_RULES // 2)))
    with pytest.raises(TooLarge):
        check_size(PolicySource("ä" * (MAX_RULES // 2) + "x"))
    check_size(PolicySource("", {"a.yaml": "x" * (MAX_BESIDE - 2)}, {"a.yaml": "ä"}))
    with pytest.raises(TooLarge):
        check_size(PolicySource("", {"a.yaml": "x" * (MAX_BESIDE - 2)}, {"a.yaml": "äx"}))
    with pytest.raises(TooLarge):
        check_size(PolicySource("", {}, {f"{number}.yaml": "" for number in range(501)}))
    for name in ("../a.yaml", "a/b.yaml", "a.txt", "", "a\n.yaml", "x" * 200 + ".yaml"):
        with pytest.raises(UserError, match="name is none"):
            check_size(PolicySource("", {}, {name: ""}))


@pytest.mark.parametrize("lines", [10_000, pytest.param(1_000_000, marks=pytest.mark.crash)])
def test_lines_of_nonsense_are_refused_soon(tmp_path: Path, lines: int) -> None:
    """With some hundred findings, each with its line, in bounded memory; nothing is kept."""
    nonsense = "q, colorless, green, ideas\n" * lines

    async def story(office: Office) -> None:
        began = time.monotonic()
        with pytest.raises(Unsound) as unsound:
            await office.on.changesets.draft(PolicySource(nonsense), await office.by("ann"), 1)
        assert time.monotonic() - began < 5
        findings = unsound.value.plan.findings
        assert 100 <= len(findings) <= 201
        assert all(finding.line > 0 and finding.remedy for finding in findings)
        assert office.query("SELECT count(*) FROM changeset") == [(0,)]

    told(tmp_path / "office", story)
    tracemalloc.start()
    try:
        assert not check(PolicySource(nonsense)).ok
        assert tracemalloc.get_traced_memory()[1] < 300 * 1024 * 1024
    finally:
        tracemalloc.stop()
