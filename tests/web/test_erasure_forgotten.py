"""An erasure that was cut off once it had forgotten the name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from tests.web.erasure_kit import OPERATOR, QUESTION, approved, company
from tests.web.world import World

from usher.audit import erasing
from usher.audit.erasure import Target, Unfinished
from usher.backends.sql_tables import ws_ticket
from usher.ports.proposals import Item

USER = "zebulon-the-tester"


@pytest.fixture
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, company(tmp_path_factory.mktemp("forgotten")) as (made, _):
        patch.setattr(erasing, "GRACE", 0.0)
        yield made


def test_what_came_before_a_kill_that_forgot_the_name_goes_too(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket that was made while the person was erased, who is nobody by the time that it is gone on with."""
    usher.run(usher.add(USER, ("staff",)))
    usher.chat(QUESTION, USER)
    item = usher.run(approved(usher, Target(user=USER)))
    record, database = erasing.Erasing._record, usher.services.audit.holds._store._database  # type: ignore[attr-defined]  # SQL's
    values = {"digest": b"d" * 32, "credential": "k", "user": USER, "expires_at": datetime.now(UTC)}

    async def and_killed(self: erasing.Erasing, item: Item) -> None:
        await record(self, item)
        await database.write(lambda connection: connection.execute(sa.insert(ws_ticket).values(**values)) and None)
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(erasing.Erasing, "_record", and_killed)
        with pytest.raises(Unfinished):
            usher.run(usher.services.audit.erasures.carry_out(item.id, OPERATOR))
    usher.run(usher.services.audit.erasures.finish())
    assert usher.run(database.read(lambda connection: connection.execute(sa.select(ws_ticket.c.user)).all())) == []
