"""The contract of `CaseStore`: steps in their order, one at each version, unseen until recorded; texts sealed."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from tests.backends.sql.sql_kit import LATER, NOW, Ports, run

from usher.backends import sql_cases
from usher.backends.keyring import KeyRing
from usher.backends.sql_case_tables import audit_case, case_step
from usher.backends.sql_cases import SqlCases
from usher.backends.sql_erasure import SqlErasure
from usher.backends.sql_outbox import SqlOutbox
from usher.core.cases import Op, Review, Step
from usher.ports import Change

CASE = UUID(int=1)
OPENED = Step(1, Op.OPEN, "p-1", NOW)


class Shelf:
    """The port over one database."""

    def __init__(self, sql: Ports) -> None:
        self.store = SqlCases(sql.database, sql.ring)
        self.outbox = SqlOutbox(sql.database, sql_cases.FINISHERS)

    async def opened(self, case: UUID = CASE) -> None:
        await self.outbox.finish([await self.store.open(case, OPENED, "The title")])

    async def put(self, step: Step, text: str | None = None, case: UUID = CASE) -> None:
        change = await self.store.put(case, step, text, 0)
        assert isinstance(change, Change)
        await self.outbox.finish([change])


def test_a_step_waits_for_the_ledger(sql: Ports) -> None:
    """The change says what the ledger is to hear, without what was typed; nothing is there before it has."""

    async def story() -> None:
        shelf = Shelf(sql)
        change = await shelf.store.open(CASE, OPENED, "The title")
        told = {name: change.payload[name] for name in ("case", "op", "version", "by", "exchanges", "count", "review")}
        assert told == {
            "case": str(CASE),
            "op": "open",
            "version": 1,
            "by": "p-1",
            "exchanges": [],
            "count": 0,
            "review": None,
        }
        assert len(change.payload["commitment"]) == 64
        assert "title" not in str(change.payload).lower()
        assert (await shelf.store.read(CASE), await shelf.store.page(None, 9)) == (None, [])
        await shelf.outbox.finish([change])
        record = await shelf.store.read(CASE)
        assert record is not None
        assert (record.steps, record.texts, record.erased) == ((OPENED,), {1: "The title"}, False)
        assert await shelf.store.page(None, 9) == [record]

    run(story())


def test_the_steps_come_back_as_they_were_taken(sql: Ports) -> None:
    """With their exchanges, decisions and texts."""

    async def story() -> None:
        shelf = Shelf(sql)
        await shelf.opened()
        steps = [
            Step(2, Op.ADD, "p-2", NOW, ("a", "b"), None, ("p-7", "p-8")),
            Step(3, Op.NOTE, "p-2", LATER),
            Step(4, Op.DECIDE, "p-3", LATER, (), Review.VIOLATION),
        ]
        for step, text in zip(steps, (None, "A note", "Why"), strict=True):
            await shelf.put(step, text)
        record = await shelf.store.read(CASE)
        assert record is not None
        assert record.steps == (OPENED, *steps)
        assert record.texts == {1: "The title", 3: "A note", 4: "Why"}

    run(story())


def test_a_place_is_taken_once(sql: Ports) -> None:
    """By a step that is pending too; whoever comes later, or too early, gets the newest."""

    async def story() -> None:
        shelf = Shelf(sql)
        await shelf.opened()
        first, second = Step(2, Op.NOTE, "p-2", NOW), Step(2, Op.ADD, "p-3", NOW, ("a",))
        assert isinstance(await shelf.store.put(CASE, first, "one", 0), Change)
        assert await shelf.store.put(CASE, second, None, 1) == first
        assert await shelf.store.put(CASE, Step(9, Op.NOTE, "p-3", NOW), "x", 0) == first
        assert await shelf.store.put(UUID(int=2), second, None, 1) is None
        record = await shelf.store.read(CASE)
        assert record is not None
        assert record.steps == (OPENED,)

    run(story())


def test_pages_together_are_everything(sql: Ports) -> None:
    """Newest first, from any id on."""

    async def story() -> None:
        shelf = Shelf(sql)
        for number in range(1, 6):
            await shelf.opened(UUID(int=number))
        pages = [await shelf.store.page(None, 2), await shelf.store.page(UUID(int=4), 2)]
        assert [record.id.int for page in pages for record in page] == [5, 4, 3, 2]
        assert await shelf.store.page(UUID(int=1), 2) == []

    run(story())


def test_a_text_opens_in_its_own_place_only(sql: Ports) -> None:
    """One that was moved to another step breaks its seal; in plain it stands nowhere."""

    async def story() -> list[bytes]:
        shelf = Shelf(sql)
        await shelf.opened()
        await shelf.put(Step(2, Op.NOTE, "p-2", NOW), "A note")
        with sql.database.engine.connect() as connection:
            return [blob for blob in connection.execute(sa.select(case_step.c.sealed)).scalars() if blob]

    sealed = run(story())
    assert len(sealed) == 2
    assert not any(word in blob for blob in sealed for word in (b"title", b"note"))
    with sql.database.begin() as connection:
        moved = sa.update(case_step).where(case_step.c.version == 2).values(sealed=sealed[0])
        connection.execute(moved)
    found = run(SqlCases(sql.database, sql.ring).read(CASE))
    assert found is not None
    assert found.damaged


def test_what_was_typed_about_a_person_goes_with_them(sql: Ports) -> None:
    """Key and texts of every case that holds an exchange of theirs, and of no other; the steps stay, and nothing more
    is written there."""

    async def story() -> None:
        shelf = Shelf(sql)
        for number, subject in ((1, "p-7"), (2, "p-8")):
            await shelf.opened(UUID(int=number))
            await shelf.put(Step(2, Op.ADD, "p-2", NOW, ("a",), None, (subject,)), case=UUID(int=number))
            await shelf.put(Step(3, Op.NOTE, "p-2", NOW), "A note", UUID(int=number))
        for expected in (1, 0):
            forget = sql.database.write(lambda connection: sql_cases.forget_cases_about(connection, "p-7"))
            assert await forget == expected
        other, theirs = await shelf.store.page(None, 9)
        assert (len(theirs.steps), dict(theirs.texts), theirs.erased) == (3, {}, True)
        assert (dict(other.texts), other.erased) == ({1: "The title"}, False)  # a list has no more
        whole = await shelf.store.read(other.id)
        assert whole is not None
        assert dict(whole.texts) == {1: "The title", 3: "A note"}
        assert await shelf.store.put(theirs.id, Step(4, Op.NOTE, "p-2", NOW), "Another", 1) is None
        assert isinstance(await shelf.store.put(theirs.id, Step(4, Op.DECIDE, "p-2", NOW), None, 1), Change)
        with sql.database.engine.connect() as connection:
            kept = sa.select(case_step.c.sealed).where(case_step.c.case == theirs.id)
            assert connection.execute(kept).scalars().all() == [None] * 4
            keys = sa.select(audit_case.c.wrapped_key).where(audit_case.c.id == theirs.id)
            assert connection.execute(keys).scalars().all() == [None]

    run(story())


def test_a_case_opens_after_its_key_was_wrapped_anew(sql: Ports, tmp_path: Path) -> None:
    """As every key under the key ring: one that is left out could not be opened after an erasure."""
    path = tmp_path / "home.keys"
    ring = KeyRing.create(path)

    async def story() -> None:
        shelf = Shelf(Ports(sql.database, ring))
        await shelf.opened()
        ring.renew()
        assert await SqlErasure(sql.database, ring).rewrap([]) == 1
        ring.destroy_retired()
        record = await shelf.store.read(CASE)
        assert record is not None
        assert record.texts == {1: "The title"}

    run(story())
