"""Contracts of `Identity` and `Keys`: a presented key to what it stands for at this instant."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backends.sql.sql_kit import LATER, NOW, Ports, credential, run

from usher.backends import sql_tables as t
from usher.backends.identity_keys import make_secret
from usher.ports import KeyInfo
from usher_policy.vocabulary import Principal


def test_a_key_in_force_stands_for_its_person_and_the_groups_of_now(sql: Ports) -> None:
    """The credential carries what was fixed at its issue; the groups are the directory's, not the key's."""

    async def story() -> None:
        await sql.person("alice", "staff", "hr, payroll")
        ident, secret = await sql.key("alice", LATER, "audit")
        standing = await sql.identity.resolve(secret, NOW)
        assert standing is not None
        assert standing.denied is None
        assert standing.principals == (Principal("user:alice", frozenset({"group:staff", "group:hr%2C payroll"})),)
        found = standing.credential
        assert (found.kind, found.id, found.user, found.purpose, found.expires_at) == (
            "key",
            ident,
            "alice",
            "audit",
            LATER,
        )
        await sql.person("alice", "board")
        again = await sql.identity.recheck(found, NOW)
        assert again.principals == (Principal("user:alice", frozenset({"group:board"})),)

    run(story())


def test_resolving_and_rechecking_cost_one_query_each(sql: Ports) -> None:
    """Key, person and versions come together, so that they are of one instant."""

    async def story() -> None:
        await sql.person("alice")
        ident, secret = await sql.key("alice")
        with sql.statements() as asked:
            await sql.identity.resolve(secret, NOW)
        assert len(asked) == 1
        with sql.statements() as asked:
            await sql.identity.recheck(credential(ident, "alice"), NOW)
        assert len(asked) == 1

    run(story())


def test_a_string_that_is_no_key_of_ours_stands_for_nothing(sql: Ports) -> None:
    """Wrong form, unknown id, another key's secret, another case: all the same None."""

    async def story() -> None:
        await sql.person("alice")
        ident, secret = await sql.key("alice")
        _, other = await sql.key("alice")
        wrong = [
            "",
            "usher-",
            secret + "x",
            secret[:-1],
            secret.upper(),
            " " + secret,
            secret + "\n",
            make_secret()[1],
            f"usher-{ident}-{other[-43:]}",
            secret.replace("-", "\u2010"),
        ]
        for text in wrong:
            assert await sql.identity.resolve(text, NOW) is None, text

    run(story())


@given(text=st.text(max_size=80))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_at_all_breaks_resolving(sql: Ports, text: str) -> None:
    """Whatever a client sends as a key is answered."""
    assert run(sql.identity.resolve(text, NOW)) is None
    assert run(sql.identity.resolve(f"usher-{'0' * 16}-{text}", NOW)) is None


def test_a_key_is_none_until_its_issue_is_recorded(sql: Ports) -> None:
    """What widens waits: until then it is as if there were no such key."""

    async def story() -> None:
        await sql.person("alice")
        ident, secret, digest = make_secret()
        issue = await sql.keys.put_key(KeyInfo(ident, "alice", None, "operator:1", NOW, None, None), digest)
        assert (issue.kind, issue.payload["act"], issue.payload["user"]) == ("key", "issue", "alice")
        assert await sql.identity.resolve(secret, NOW) is None
        assert (await sql.identity.recheck(credential(ident, "alice"), NOW)).denied == "key_unknown"
        assert await sql.keys.keys(None) == []
        await sql.outbox.finish([issue])
        standing = await sql.identity.resolve(secret, NOW)
        assert standing is not None
        assert standing.denied is None

    run(story())


def test_a_revocation_binds_before_it_is_recorded(sql: Ports) -> None:
    """What narrows binds at once, and finishing it changes nothing."""

    async def story() -> None:
        await sql.person("alice")
        ident, secret = await sql.key("alice")
        change = await sql.keys.revoke(ident, "operator:1", NOW)
        assert change is not None
        for _ in range(2):
            standing = await sql.identity.resolve(secret, NOW)
            assert standing is not None
            assert (standing.denied, standing.principals) == ("key_revoked", ())
            await sql.outbox.finish([change])
        assert [key.revoked_at for key in await sql.keys.keys("alice")] == [NOW]
        assert await sql.keys.revoke(ident, "operator:1", LATER) is None
        assert await sql.keys.revoke("0" * 16, "operator:1", NOW) is None
        assert await sql.outbox.pending() == []

    run(story())


def test_a_key_revoked_before_its_issue_was_recorded_never_works(sql: Ports) -> None:
    """Whichever of the two is finished last."""

    async def story() -> None:
        await sql.person("alice")
        ident, secret, digest = make_secret()
        issue = await sql.keys.put_key(KeyInfo(ident, "alice", None, "operator:1", NOW, None, None), digest)
        revocation = await sql.keys.revoke(ident, "operator:1", NOW)
        assert revocation is not None
        await sql.outbox.finish([revocation, issue])
        standing = await sql.identity.resolve(secret, NOW)
        assert standing is not None
        assert standing.denied == "key_revoked"

    run(story())


def test_a_key_expires_at_its_instant(sql: Ports) -> None:
    """To the microsecond, by the clock of the caller."""

    async def story() -> None:
        await sql.person("alice")
        ident, _ = await sql.key("alice", LATER)
        before = await sql.identity.recheck(credential(ident, "alice"), LATER - timedelta(microseconds=1))
        assert before.denied is None
        assert (await sql.identity.recheck(credential(ident, "alice"), LATER)).denied == "key_expired"

    run(story())


def test_a_key_of_somebody_absent_or_inactive_is_denied(sql: Ports) -> None:
    """Nothing but an active record in the directory admits anybody."""

    async def story() -> None:
        ident, _ = await sql.key("ghost")
        assert (await sql.identity.recheck(credential(ident, "ghost"), NOW)).denied == "person_inactive"
        await sql.directory.put_person("ghost", [], "operator:1", NOW)
        assert (await sql.identity.recheck(credential(ident, "ghost"), NOW)).denied == "person_inactive"

    run(story())


def test_only_a_digest_of_the_secret_is_stored(sql: Ports) -> None:
    """Whoever reads the database has no key."""

    async def story() -> None:
        await sql.person("alice")
        ident, secret = await sql.key("alice")
        with sql.database.engine.connect() as connection:
            row = connection.execute(sa.select(t.api_key)).one()
        assert secret[-43:] not in repr(tuple(row))
        assert len(row.digest) == 32
        assert row.id == ident

    run(story())


def test_a_key_id_is_given_once(sql: Ports) -> None:
    """A second key under an id fails as a whole: no outbox row is left behind."""

    async def story() -> None:
        ident, _ = await sql.key("alice")
        with pytest.raises(sa.exc.IntegrityError):
            await sql.keys.put_key(KeyInfo(ident, "bob", None, "operator:1", NOW, None, None), b"0" * 32)
        assert await sql.outbox.pending() == []
        assert [key.user for key in await sql.keys.keys(None)] == ["alice"]

    run(story())


def test_keys_are_listed_by_age_for_one_person_or_all(sql: Ports) -> None:
    """Instants come back as they went in."""

    async def story() -> None:
        later, _ = await sql.key("alice", now=LATER)
        first, _ = await sql.key("alice", LATER, "audit")
        await sql.key("bob")
        found = await sql.keys.keys("alice")
        assert [key.id for key in found] == [first, later]
        assert (found[0].created_at, found[0].expires_at, found[0].purpose) == (NOW, LATER, "audit")
        assert len(await sql.keys.keys(None)) == 3
        assert await sql.keys.keys("carol") == []

    run(story())
