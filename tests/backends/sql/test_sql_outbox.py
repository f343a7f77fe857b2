"""The contract of `Outbox`: what is pending, finished exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.backends.sql.sql_kit import FINISHERS, NOW, Ports, run, staged

from usher.backends import sql_turn
from usher.backends.ledger_sql import SqlLog
from usher.backends.sql_outbox import SqlOutbox
from usher.ledger.record import Entry
from usher.ledger.sequencer import Ledger
from usher.outbox import ChangePending, Courier
from usher.ports import Change


def test_changes_wait_in_the_order_they_were_made(sql: Ports) -> None:
    """Each with its kind and payload, under an id that no other change ever has."""

    async def story() -> None:
        made = [await sql.directory.put_person(name, ["g"], "operator:1", NOW) for name in ("b", "a", "ü")]
        assert await sql.outbox.pending() == made
        await sql.outbox.finish(made)
        assert await sql.outbox.pending() == []
        again = await sql.directory.put_person("c", [], "operator:1", NOW)
        assert again.id > max(change.id for change in made)

    run(story())


def test_finishing_twice_makes_active_once(sql: Ports) -> None:
    """A second finish, also of a change that never was, moves no label version."""

    async def story() -> None:
        await sql.intake.stage([staged("a.md")], NOW)
        change = await sql.label("put", staged("a.md").document, 1, 1)
        for _ in range(3):
            await sql.outbox.finish([change])
        await sql.outbox.finish([Change(999, "document", change.payload)])
        await sql.outbox.finish([])
        assert (await sql.policies.versions()).label == 1

    run(story())


def test_finishing_at_once_from_two_sides_makes_active_once(sql: Ports) -> None:
    """Two processes that recover the same changes do not both apply them."""

    async def story() -> None:
        await sql.intake.stage([staged(f"{n}.md") for n in range(5)], NOW)
        changes = [await sql.label("put", staged(f"{n}.md").document, 1, 1) for n in range(5)]
        other = Ports(sql.database, sql.ring)
        await asyncio.gather(sql.outbox.finish(changes), other.outbox.finish(changes[::-1]))
        assert (await sql.policies.versions()).label == 5

    run(story())


def test_a_finish_that_fails_finishes_nothing(sql: Ports) -> None:
    """Changes become active together, or all stay pending."""

    async def story() -> None:
        await sql.policy(1)
        await sql.directory.put_person("alice", ["g"], "operator:1", NOW)
        waiting = await sql.outbox.pending()

        def fail(_connection: object, _change: Change) -> None:
            raise RuntimeError("the disk is full")

        broken = SqlOutbox(sql.database, {**FINISHERS, "person": fail})
        with pytest.raises(RuntimeError):
            await broken.finish(waiting)
        assert await sql.outbox.pending() == waiting
        assert (await sql.policies.versions()).policy == 0
        await sql.outbox.finish(waiting)
        assert (await sql.policies.versions()).policy == 1

    run(story())


class SlowLedger:
    """Records, and meanwhile another server starts and recovers."""

    def __init__(self, ledger: Ledger, other: Courier) -> None:
        self.ledger, self.other = ledger, other
        self.pseudonym = ledger.pseudonym

    async def append(self, entries: Sequence[Entry]) -> object:
        self.started = asyncio.create_task(self.other.recover())
        await asyncio.wait({self.started}, timeout=0.1)
        return await self.ledger.append(entries)


@pytest.mark.parametrize("sql", [pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_a_change_is_recorded_once_though_another_server_starts_meanwhile(sql: Ports, tmp_path: Path) -> None:
    """Which finds it pending: it waits for the one that carries it, and finds it done. One that waits for too long is
    told, and what it was to carry is kept."""

    async def story() -> None:
        log = SqlLog(tmp_path / "ledger.sqlite", 0)
        ledger = await Ledger.open(log, sql.ring)
        slow = SlowLedger(ledger, Courier(sql.outbox, ledger, log))
        one = Courier(sql.outbox, slow, log)
        assert await one.recover() == 0
        await one.carry([await sql.directory.put_person("alice", ["g"], "operator:1", NOW)])
        assert await slow.started == 0
        assert [event["type"] for _, event in log.events(0, 100).events].count("person") == 1
        change = await sql.directory.put_person("bob", ["g"], "operator:1", NOW)
        async with sql.outbox.turn():
            with pytest.raises(ChangePending):
                await one.carry([change])
        assert await sql.outbox.pending() == [change]
        assert await one.recover() == 1
        await ledger.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_turn, "PATIENCE", 0.5)
        run(story())


def test_every_change_is_heard_of_when_made_and_when_finished(sql: Ports) -> None:
    """`revision` moves both times, so that a running exchange asks again."""

    async def story() -> None:
        seen = [(await sql.policies.versions()).revision]

        async def moved() -> None:
            seen.append((await sql.policies.versions()).revision)
            assert seen[-1] > seen[-2]

        change = await sql.directory.put_person("alice", ["g"], "operator:1", NOW)
        await moved()
        await sql.outbox.finish([change])
        await moved()
        key, _ = await sql.key("alice")
        await moved()
        await sql.keys.revoke(key, "operator:1", NOW)
        await moved()
        await sql.directory.deactivate("alice", "operator:1", NOW)
        await moved()
        await sql.policy(1)
        await moved()
        await sql.intake.stage([staged("a.md")], NOW)
        await sql.label("put", staged("a.md").document, 1, 1)
        await moved()
        await sql.outbox.finish(await sql.outbox.pending())
        await moved()

    run(story())
