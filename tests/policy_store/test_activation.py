"""A version and its event cannot exist apart; a way back is a new version; a job applies a folder again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from shutil import copytree

import pytest
import sqlalchemy as sa
from tests.backends.sql.sql_kit import run
from tests.policy_store.changing_kit import (
    NARROWER,
    OPERATOR,
    POLICY,
    WIDER,
    Clock,
    Office,
    events_in,
    opened,
    told,
)

from usher.backends.ledger_sql import SqlLog
from usher.backends.sql import Database
from usher.ledger.log import LedgerUnavailable
from usher.policy.plan import NoSuchVersion, Unsound
from usher.policy_admin import PolicySource
from usher.viewing import NotPermitted
from usher_policy import conditions

Act = Callable[[Office], Awaitable[object]]


class Cut(Exception):
    """The process ends here."""


class Cutter:
    """Cuts before (even) or after (odd) the `at`-th time that something durable is done; then nothing is any more."""

    def __init__(self, at: int) -> None:
        self.at, self.seen, self.armed = at, 0, False

    def point(self) -> None:
        if self.armed:
            self.seen += 1
            if self.seen > self.at:
                raise Cut

    @property
    def reached(self) -> bool:
        return self.seen > self.at


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as made:
        yield made


def _cutting(patch: pytest.MonkeyPatch, cutter: Cutter) -> None:
    """Every transaction that writes, of the database and of the ledger, is something durable."""
    write, commit = Database._write, SqlLog.commit

    def cut_write(self: Database, work: Callable[[sa.Connection], object]) -> object:
        cutter.point()
        result = write(self, work)
        cutter.point()
        return result

    def cut_commit(self: SqlLog, *args: object, **more: object) -> object:
        cutter.point()
        result = commit(self, *args, **more)  # type: ignore[arg-type]  # passed on
        cutter.point()
        return result

    patch.setattr(Database, "_write", cut_write)
    patch.setattr(SqlLog, "commit", cut_commit)


async def _activate(office: Office) -> None:
    await office.activate("ann", (await office.on.changesets.page(await office.by("ann")))[0])


async def _break(office: Office) -> None:
    change = (await office.on.changesets.page(await office.by("ann")))[0]
    await office.on.glass.break_glass(change.id, change.digest, await office.by("ann"), "Now.", 60)


async def _expire(office: Office) -> None:
    await office.on.glass.expire()


async def _supersede(office: Office) -> None:
    change = (await office.on.changesets.page(await office.by("ann")))[0]
    await office.edit("cyd", [NARROWER], supersedes=change.id)


@pytest.fixture(scope="module")
def approved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An office with a changeset that waits for its activation."""
    folder, keys = tmp_path_factory.mktemp("approved") / "office", dict[str, str]()

    async def story() -> None:
        async with opened(folder, keys=keys) as office:
            await office.approve("bob", await office.edit("ann", [WIDER]))

    run(story())
    return folder, keys


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(_activate, id="activate"),
        pytest.param(_break, id="glass", marks=pytest.mark.crash),
        pytest.param(_supersede, id="edit", marks=pytest.mark.crash),
        pytest.param(_expire, id="expire", marks=pytest.mark.crash),
    ],
)
def test_a_kill_at_any_step_leaves_all_or_nothing(
    act: Act, approved: tuple[Path, dict[str, str]], tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    """After the next start the version, the changeset's end and their events are there, each once, or none is."""
    source, keys = approved
    whole = 0
    for at in range(40):
        folder, clock, cutter = tmp_path / str(at), Clock(), Cutter(at)
        copytree(source, folder)
        if act is _expire:
            run(_in(folder, clock, keys, _break))
            clock.on(hours=2)
        before = _state(folder)
        with pytest.MonkeyPatch.context() as cutting:
            _cutting(cutting, cutter)
            with suppress(Cut, LedgerUnavailable):
                run(_in(folder, clock, keys, act, cutter))
        run(_in(folder, clock, keys, _recover))
        after = _state(folder)
        assert _agrees(folder), at
        assert after == before or _finished(before, after), at
        whole += after != before
        if not cutter.reached:
            break
    assert not cutter.reached
    assert at > 3
    assert whole > 1


async def _recover(office: Office) -> None:
    """As a start does, but without the clock's moving on."""
    await office.courier.recover()


async def _in(folder: Path, clock: Clock, keys: dict[str, str], act: Act, cutter: Cutter | None = None) -> None:
    async with opened(folder, clock, keys) as office:
        await office.courier.recover()
        await office.by("ann")
        if cutter is not None:
            cutter.armed = True
        try:
            await act(office)
        finally:
            if cutter is not None:
                cutter.armed = False


def _state(folder: Path) -> tuple[list[object], ...]:
    import sqlite3

    with sqlite3.connect(folder / "usher.sqlite") as connection:
        ask = [
            "SELECT policy_version, pending_policy, fallback_policy FROM state",
            "SELECT version, activated_at IS NULL FROM policy_version ORDER BY version",
            "SELECT base, version, alone, state FROM changeset ORDER BY id",
            "SELECT id FROM outbox",
        ]
        return tuple(connection.execute(one).fetchall() for one in ask)


def _finished(before: tuple[list[object], ...], after: tuple[list[object], ...]) -> bool:
    """Nothing waits, and what there is is in force."""
    return not after[3] and all(not row[1] for row in after[1]) and len(after[2]) >= len(before[2])  # type: ignore[index]  # rows


def _agrees(folder: Path) -> bool:
    """Each version in force has its one event, each event its version; each state of a changeset the same."""
    state, versions, changesets, _ = _state(folder)
    recorded = [event["version"] for event in events_in(folder, "policy")]
    acts = [event["act"] for event in events_in(folder, "approval")]
    carried = sum('"carried_out"' in str(row[3]) for row in changesets)  # type: ignore[index]  # a row
    alone = sum(bool(row[2]) for row in changesets)  # type: ignore[index]  # a row
    return (
        recorded == [row[0] for row in versions]  # type: ignore[index]  # a row
        and acts.count("carried_out") == carried
        and acts.count("alone") == alone
        and acts.count("proposed") == len(changesets) - alone
        and state[0][0] == recorded[-1]  # type: ignore[index]  # a row
    )


def test_a_way_back_is_a_new_version(tmp_path: Path) -> None:
    """With the earlier policy byte for byte; what it gives back takes an approval as anything does."""

    async def story(office: Office) -> None:
        await office.made([], ["p, role:all, coll:open, document.read, allow, always"])
        back = await office.on.changesets.to_version(1, await office.by("ann"), "As before.")
        assert (back.rollback, back.base) == (1, 2)
        assert (await office.plan(back)).needs_approval
        await office.approve("cyd", back)
        assert (await office.activate("ann", back)).version == 3
        assert (await office.on.history.version(3, await office.by("ann"))).rules == POLICY
        assert (await office.on.history.diff(1, 3, await office.by("ann"))).nothing
        versions = await office.on.history.versions(await office.by("ann"))
        assert [stored.version for stored in versions] == [3, 2, 1]
        with pytest.raises(NoSuchVersion):
            await office.on.changesets.to_version(4, await office.by("ann"))
        with pytest.raises(NotPermitted):
            await office.on.changesets.to_version(1, await office.by("hope"))

    told(tmp_path / "office", story)


def test_the_right_to_go_back_is_enough_to_go_back(tmp_path: Path) -> None:
    """For exactly an earlier version, and for nothing else."""

    async def story(office: Office) -> None:
        await office.made(["p, user:dan, sys:policy, policy.rollback, allow, always", WIDER])
        await office.made([NARROWER])
        back = await office.on.changesets.to_version(2, await office.by("dan"))
        other = await office.edit("ann", [], [WIDER])
        with pytest.raises(NotPermitted):
            await office.activate("dan", other)
        await office.approve("cyd", back)
        assert (await office.activate("dan", back)).version == 4

    told(tmp_path / "office", story)


def test_a_version_whose_condition_is_gone_is_not_gone_back_to(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    """The line and the remedy are told."""
    window = "p, role:all, coll:night, document.read, allow, time:days=mon-fri;from=09:00;to=17:00;zone=UTC"

    async def story(office: Office) -> None:
        await office.made([window])
        await office.made([], [window])
        known = {name: made for name, made in conditions.REGISTRY.items() if name != "time"}
        patch.setattr(conditions, "REGISTRY", known)
        conditions.parse_condition.cache_clear()
        with pytest.raises(Unsound) as unsound:
            await office.on.changesets.to_version(2, await office.by("ann"))
        finding = unsound.value.plan.findings[0]
        assert finding.line == POLICY.count("\n") + 1
        assert "condition" in finding.message
        assert finding.remedy

    told(tmp_path / "office", story)


def test_a_job_applies_the_same_folder_until_it_is_in_force(tmp_path: Path) -> None:
    """The same policy is one changeset; what gives nothing is in force at once; what was approved, at the next run."""
    wider = PolicySource(POLICY + WIDER + "\n", {}, {"a.yaml": "[]"})

    async def story(office: Office) -> None:
        apply = office.on.activation.apply
        narrower = PolicySource(POLICY, {}, {"a.yaml": "[]"})
        first, again = [await apply(wider, await office.by("ann"), "a job") for _ in range(2)]
        assert first is not None
        assert again is not None
        assert (again.id, again.version) == (first.id, None)
        await office.approve("bob", first)
        runs = [(wider, "ann"), (narrower, "cyd"), (narrower, "cyd")]
        done = [await apply(source, await office.by(user)) for source, user in runs]
        assert [one and one.version for one in done] == [2, 3, None]  # the last one has nothing to do

    told(tmp_path / "office", story)


def test_the_operators_direct_apply_is_recorded_as_before(tmp_path: Path) -> None:
    """Where nobody could approve."""

    async def story(office: Office) -> None:
        for user in ("ann", "bob", "cyd"):
            await office.people.deactivate(user, OPERATOR)
        assert (await office.on.activation.operator_apply(PolicySource(POLICY + WIDER), OPERATOR)).version == 2
        assert office.events("policy")[-1]["by"] == "operator:uid:0"

    told(tmp_path / "office", story)
