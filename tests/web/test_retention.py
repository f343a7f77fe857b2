"""Retention and legal holds over real exchanges: what goes, what stays, what is told of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.web.chat_kit import QUESTION
from tests.web.world import POLICY, World, world

from usher.backends.keyring import KeyRing
from usher.core.retention import NO_LONGER_KEPT
from usher.ledger.verify import verify

HOLDERS = POLICY + "".join(f"p, role:legal, sys:audit, {right}, allow, always\n" for right in (
    "audit.hold", "audit.read", "audit.identify", "audit.review"
)) + "g, user:dave, role:legal\ng, user:erin, role:legal\n"  # fmt: skip
RULES = "rules:\n- {name: talk, type: chat, days: 30}\n- {name: looked, type: search, days: 30}\n"
DAYS = 40


def later(usher: World, days: int = DAYS) -> None:
    """The retention runs believe that so many days have gone by."""
    usher.services.retention._clock = lambda: datetime.now(UTC) + timedelta(days=days)


def let_go(usher: World, *, dry: bool = False) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        from usher.audit.reviewers import Reviewer

        runs = usher.services.retention
        events = runs.preview(Reviewer(None, "operator:uid:0")) if dry else runs.run("operator:uid:0")
        return [event async for event in events][-1]

    return usher.run(run())


@pytest.fixture
def usher(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.run(made.apply(HOLDERS, **{"retention.yaml": RULES}))
        later(made)
        yield made


def test_what_is_over_its_time_goes_with_its_event(usher: World) -> None:
    first = usher.chat(QUESTION).json()["usher"]
    search = usher.search("holiday").json()["audit_id"]
    report = let_go(usher)
    print(report, usher.events()[-1])
    assert usher.events()[-1]["exchanges"] == [first["audit_id"], search]
    verdict = verify(usher.folder / "home" / "ledger.sqlite", ring=KeyRing.open(usher.folder / "home.keys"))
    assert verdict.ok, verdict.problems
    read = usher.ask("GET", f"/api/conversations/{first['conversation_id']}").json()
    print(json.dumps(read))
    assert read["title"] is None and read["exchanges"][0]["answer"] == NO_LONGER_KEPT
