"""A version of the policy that many ask for is made once; who waits for one that never comes asks seldom."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.policy_store.changing_kit import Office, told

from usher.authority import Authority
from usher.backends.sql_policy import SqlPolicies
from usher.core.standing import Versions
from usher.ports import StoredPolicy


def _counted(monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], asyncio.Event]:
    """The versions that are read whole from now on, slowly; and whether the first one is."""
    read, begun, load = list[int](), asyncio.Event(), SqlPolicies.load

    async def slow(policies: SqlPolicies, version: int) -> StoredPolicy | None:
        read.append(version)
        begun.set()
        await asyncio.sleep(0.02)
        return await load(policies, version)

    monkeypatch.setattr(SqlPolicies, "load", slow)
    return read, begun


def test_a_server_that_starts_compiles_once_for_all_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large policy takes seconds and a gigabyte, however many ask meanwhile; all are judged by the same."""

    async def story(office: Office) -> None:
        read, _ = _counted(monkeypatch)
        started = Authority(office.sql.identity, office.sql.policies, office.clock)
        grants = await asyncio.gather(*(started.admit(office.keys[user]) for user in ("ann", "dan", "hal") * 4))
        assert read == [1]
        assert len({id(grant.snapshots[0].book) for grant in grants if grant is not None}) == 1

    told(tmp_path / "office", story)


def test_who_leaves_while_it_is_made_takes_it_from_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one that failed stay failed."""

    async def story(office: Office) -> None:
        started = Authority(office.sql.identity, office.sql.policies, office.clock)
        with monkeypatch.context() as patch:
            _, begun = _counted(patch)
            first, other = (asyncio.create_task(started.admit(office.keys[user])) for user in ("ann", "dan"))
            async with asyncio.timeout(5):
                await begun.wait()
            first.cancel()
            assert await other is not None
            assert first.cancelled()
        started = Authority(office.sql.identity, office.sql.policies, office.clock)
        with monkeypatch.context() as patch:
            patch.setattr("usher.authority.compile_snapshot", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await started.admit(office.keys["ann"])
        assert await started.admit(office.keys["ann"]) is not None

    told(tmp_path / "office", story)


def test_who_waits_for_a_version_that_never_comes_asks_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any key may name any number, as often as its requests are allowed."""

    async def story(office: Office) -> None:
        asked, versions = [], SqlPolicies.versions

        async def counted(policies: SqlPolicies) -> Versions:
            asked.append(True)
            return await versions(policies)

        monkeypatch.setattr(SqlPolicies, "versions", counted)
        assert not await office.authority.reached(999_999_999, 0.7)
        assert len(asked) <= 8

    told(tmp_path / "office", story)
