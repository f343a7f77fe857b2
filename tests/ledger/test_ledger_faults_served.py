"""What people see while the ledger cannot record. `docs/faults.md` has a line for each of these tests."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest
from tests.web.world import OPERATOR, World, world

from usher.backends.ledger_sql import SqlLog

pytestmark = pytest.mark.slow

QUESTION = "How many days of holiday does an employee have?"


def outcomes(made: World, operation: str) -> list[tuple[str | None, str | None]]:
    """Outcome and reason of the newest exchange's end, of an operation."""
    newest = [event for event in made.events() if event.get("operation") == operation][-1]
    return [(event.get("outcome"), event.get("reason")) for event in made.events(newest["audit_id"])][2:]


def until_ready(made: World, status: int) -> dict[str, str]:
    """The parts, once `/health/ready` answers so; the ledger looks once a second."""
    due = time.monotonic() + 5
    while (told := made.ask("GET", "/health/ready", None)).status_code != status:
        assert time.monotonic() < due
        made.run(asyncio.sleep(0.05))
    parts: dict[str, str] = told.json()["parts"]
    return parts


def test_people_on_a_disk_below_its_reserve(tmp_path: Path) -> None:
    """Chat and search answer 503 with nothing of documents in it, a document is not shown, both refusals are in the
    record, keys can be revoked, and health says why; with room again everything answers."""
    logs: list[SqlLog] = []

    def opened(path: Path) -> SqlLog:
        logs.append(SqlLog(path, 0))
        return logs[0]

    with world(tmp_path, log=opened) as made:
        document = made.ask("GET", "/api/documents").json()["documents"][0]["id"]
        assert made.chat(QUESTION).status_code == 200
        logs[0]._reserve = shutil.disk_usage(tmp_path).free * 3 // 2
        for refused in (made.chat(QUESTION), made.search(QUESTION), made.ask("GET", f"/api/documents/{document}")):
            assert refused.status_code == 503
            assert "28" not in refused.text
            assert "cannot record" in refused.text
        assert outcomes(made, "chat") == [("refused", "disk_reserve")]
        assert outcomes(made, "search") == [("refused", "disk_reserve")]
        made.run(made.services.people.revoke_key(made.key_ids["alice"], OPERATOR))
        assert made.search(QUESTION, "alice").status_code == 401
        assert "reserve" in until_ready(made, 503)["ledger"]
        logs[0]._reserve = 0
        assert until_ready(made, 200)["ledger"] == "ok"
        assert made.chat(QUESTION).status_code == 200
