"""A policy is examined beside what is being served, not instead of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.ingest.ingest_kit import OPERATOR, POLICY, Rooms, new_house

from usher import policy_admin
from usher.policy_admin import PolicySource


@pytest.mark.slow
def test_a_policy_is_examined_beside_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lint, rules and cases are looked at by a thread."""
    threads: set[int] = set()
    for name in ("lint", "read_rules", "compile_snapshot", "run_cases"):
        real = getattr(policy_admin, name)

        def noted(*args: object, real: object = real) -> object:
            threads.add(threading.get_ident())
            assert callable(real)
            return real(*args)

        monkeypatch.setattr(policy_admin, name, noted)

    async def story(rooms: Rooms) -> None:
        threads.clear()
        await rooms.policy.apply(PolicySource(POLICY + "# another\n"), OPERATOR)
        assert threads
        assert threading.get_ident() not in threads

    new_house(tmp_path / "house").using(story)
