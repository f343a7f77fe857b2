"""A change that the ledger could not record is kept, and whoever asked for it is told so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.ingest.ingest_kit import OPERATOR, POLICY, Rooms, new_house

from usher.ledger.log import LedgerUnavailable
from usher.outbox import ChangePending
from usher.policy_admin import PolicySource


class FullLedger:
    """Records nothing while it is full."""

    full = False

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def append(self, entries: Any) -> Any:
        if self.full:
            raise LedgerUnavailable("the disk is full")
        return await self._ledger.append(entries)


@pytest.mark.slow
def test_a_change_that_could_not_be_recorded_is_said_to_be_pending(tmp_path: Path) -> None:
    """A policy, a person; what is refused because of it is not, and leaves nothing behind."""
    ledgers: list[FullLedger] = []

    def wrap(name: str, port: Any) -> Any:
        if name != "ledger":
            return port
        ledgers.append(FullLedger(port))
        return ledgers[0]

    async def story(rooms: Rooms) -> None:
        ledgers[0].full = True
        with pytest.raises(ChangePending):
            await rooms.policy.apply(PolicySource(POLICY + "# second\n"), OPERATOR)
        with pytest.raises(LedgerUnavailable) as third:
            await rooms.policy.apply(PolicySource(POLICY + "# third\n"), OPERATOR)
        assert not isinstance(third.value, ChangePending)
        with pytest.raises(ChangePending):
            await rooms.people.deactivate("bob", OPERATOR)
        assert (await rooms.policy.active())["version"] == 1
        ledgers[0].full = False
        await rooms.people.add("next", [], OPERATOR)
        assert (await rooms.policy.active())["version"] == 2
        assert not next(person for person in await rooms.people.list(None, 9) if person.user == "bob").active

    house = new_house(tmp_path / "house")
    house.using(story, wrap=wrap)
    house.check_whole()
