"""Opening a data folder that this release must not open, or not alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.graph_kit import lend

from usher.app import open_services
from usher.backends.sql import Database, NewerData, migrate
from usher.errors import UserError
from usher.ledger.verify import verify
from usher.settings import Settings, read_settings

pytestmark = pytest.mark.slow

POLICY = "p, role:staff, sys:chat, chat.ask, allow, always\n"


@pytest.fixture
def settings(graph: Path, tmp_path: Path) -> Settings:
    """Of a data folder with nothing in it but the model's graph."""
    lend(graph, tmp_path / "home")
    (tmp_path / "policy.csv").write_text(POLICY)
    return read_settings(home=tmp_path / "home", policy=tmp_path / "policy.csv")


def _open(settings: Settings) -> int:
    """Open and close; the version of the policy in force."""

    async def opened() -> int:
        async with open_services(settings) as services:
            version: int = (await services.policy.active())["version"]
            return version

    return asyncio.run(opened())


def test_the_policy_file_is_imported_once_and_never_again(settings: Settings, tmp_path: Path) -> None:
    """A changed file behind the admin's back changes nothing: only `policy apply` does."""
    assert _open(settings) == 1
    (tmp_path / "policy.csv").write_text(POLICY.replace("staff", "everybody"))
    assert _open(settings) == 1


def test_checkpoints_are_carried_to_the_sink(settings: Settings, tmp_path: Path) -> None:
    """Up to the one of the stop; a sink that cannot work is told before anything is opened for writing."""
    sink = tmp_path / "away" / "notes"
    settings = settings.model_copy(update={"checkpoint_sink": str(sink)})
    with pytest.raises(UserError, match="USHER_CHECKPOINT_SINK"):
        _open(settings)
    assert not (settings.home / "ledger.sqlite").exists()
    sink.parent.mkdir()
    _open(settings)
    newest = "".join(sink.read_text().splitlines(keepends=True)[-5:])
    verdict = verify(settings.home / "ledger.sqlite", held=newest)
    assert (verdict.ok, verdict.size) == (True, int(newest.split("\n")[1]))


def test_a_lost_key_ring_is_not_replaced(settings: Settings) -> None:
    """A new ring would open nothing that is there, and hide the loss."""
    _open(settings)
    settings.keyring_path.unlink()
    with pytest.raises(UserError, match="restore it from your key backup"):
        _open(settings)
    assert not settings.keyring_path.exists()


def test_data_of_a_newer_release_is_refused(settings: Settings) -> None:
    """An unknown revision of the metadata is left as it is."""
    url = f"sqlite:///{settings.home / 'usher.sqlite'}"
    database = Database(url)
    migrate(database)
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(NewerData, match="newer than"):
        _open(settings)


def test_one_index_serves_one_embedder(settings: Settings) -> None:
    """Vectors of another model never meet those of this one."""
    from usher.backends.index_identity import IndexIdentity, IndexRefused
    from usher.backends.store_edge import EdgeStore

    async def other_model() -> None:
        store = await EdgeStore.open(settings.home / "vectors", IndexIdentity("another-model", "fp32", 384))
        await store.close()

    asyncio.run(other_model())
    with pytest.raises(IndexRefused, match="another-model"):
        _open(settings)
