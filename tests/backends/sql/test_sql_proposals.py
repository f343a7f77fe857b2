"""Proposals and break-glass acts as they are kept: on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from tests.backends.sql.sql_kit import NOW, Ports, run

from usher.backends import sql_proposals
from usher.backends.sql_erasure import SqlErasure
from usher.backends.sql_outbox import SqlOutbox
from usher.backends.sql_proposal_tables import proposal
from usher.backends.sql_proposals import SqlProposals
from usher.core import approval
from usher.core.approval import Proposal, propose
from usher.core.break_glass import BreakGlass, break_glass, review
from usher.ports.proposals import Item
from usher_policy.vocabulary import Principal, typed

DAVE, CAROL = Principal("user:da1e"), Principal("user:ca01")
OPERATOR = Principal(typed("user", "operator:uid:0"))
PARTS = ("person", "11111111-1111-7111-8111-111111111111")
LATER = NOW + timedelta(hours=2)


@pytest.fixture
def store(sql: Ports) -> SqlProposals:
    return SqlProposals(sql.database, sql.ring)


def item(number: int, by: Principal = DAVE, kind: str = "erase_person") -> Item:
    ident = UUID(int=number)
    given = propose(str(ident), kind, tuple(part.encode() for part in PARTS), by, NOW)
    return Item(ident, kind, PARTS, PARTS[1], NOW, given, "They asked for it, says Dave.")


def alone(number: int) -> Item:
    ident, parts = UUID(int=number), tuple(part.encode() for part in PARTS)
    given = break_glass(str(ident), "erase_person", parts, OPERATOR, "Nobody is here.", NOW, may_break_glass=True)
    assert isinstance(given, BreakGlass)
    return Item(ident, "erase_person", PARTS, PARTS[1], NOW, given, "Nobody is here.")


def finish(sql: Ports) -> None:
    outbox = SqlOutbox(sql.database, sql_proposals.FINISHERS)
    run(outbox.finish(run(outbox.pending())))


def added(sql: Ports, store: SqlProposals, one: Item) -> Item:
    run(store.add(one, {"act": "proposed"}))
    finish(sql)
    return known(store, one)


def known(store: SqlProposals, one: Item) -> Item:
    found = run(store.get(one.id))
    assert found is not None
    return found


def approved(one: Item, by: Principal = CAROL) -> Item:
    assert isinstance(one.stands, Proposal)
    stands = approval.approve(one.stands, by, one.stands.digest, NOW, may_approve=True)
    assert isinstance(stands, Proposal)
    return replace(one, stands=stands)


def ended(one: Item, act: str) -> Item:
    assert isinstance(one.stands, Proposal)
    acts = {
        "refused": lambda p: approval.refuse(p, CAROL, NOW, may_approve=True),
        "carried_out": lambda p: approval.carry_out(p, OPERATOR, p.digest, NOW, may_approve={CAROL.user}),
    }
    stands = acts[act](one.stands)
    assert isinstance(stands, Proposal)
    return replace(one, stands=stands)


def test_it_comes_back_as_it_was_put(sql: Ports, store: SqlProposals) -> None:
    """A proposal with its approvals and end, and a break-glass with its review, person by person."""
    first = added(sql, store, item(1, by=OPERATOR))
    for step, act in ((approved, "approved"), (lambda one: ended(one, "carried_out"), "carried_out")):
        wanted = step(first)
        assert run(store.put(wanted, {"act": act}, NOW))
        finish(sql)
        first = known(store, first)
        assert first == replace(wanted, revision=first.revision)
    glass = added(sql, store, alone(2))
    assert isinstance(glass.stands, BreakGlass)
    closed = review(glass.stands, CAROL, LATER, may_review=True)
    assert isinstance(closed, BreakGlass)
    run(store.put(replace(glass, stands=closed), {"act": "reviewed", "act_kind": "hold"}, LATER))
    finish(sql)
    assert known(store, glass).stands == closed


def test_why_somebody_was_erased_alone_is_kept_until_it_is_reviewed(sql: Ports, store: SqlProposals) -> None:
    """Erasing the person leaves the reason to the reviewer; the review takes it away."""
    glass = added(sql, store, alone(1))
    assert isinstance(glass.stands, BreakGlass)
    erasure = SqlErasure(sql.database, sql.ring)
    run(erasure.forget_person(glass.id, "nobody", PARTS[1]))
    assert known(store, glass).reason == "Nobody is here."
    closed = review(glass.stands, CAROL, LATER, may_review=True)
    assert isinstance(closed, BreakGlass)
    run(store.put(replace(glass, stands=closed), {"act": "reviewed", "act_kind": glass.kind}, LATER))
    finish(sql)
    assert known(store, glass).reason is None


def test_nothing_is_in_force_before_its_event(sql: Ports, store: SqlProposals) -> None:
    """Neither a proposal nor an approval; and meanwhile nothing else is decided."""
    run(store.add(item(1), {"act": "proposed"}))
    assert run(store.get(UUID(int=1))) is None
    assert run(store.page(("erase_person",), None, 10)) == []
    finish(sql)
    one = known(store, item(1))
    run(store.put(approved(one), {"act": "approved"}, NOW))
    assert known(store, one) == one
    assert run(store.put(ended(one, "refused"), {"act": "refused"}, NOW)) is None


def test_of_two_that_decide_on_the_same_state_one_is_refused(sql: Ports, store: SqlProposals) -> None:
    """Whoever comes second decides anew, on what is there then."""
    one = added(sql, store, item(1))
    assert run(store.put(approved(one), {"act": "approved"}, NOW))
    finish(sql)
    assert run(store.put(ended(one, "refused"), {"act": "refused"}, NOW)) is None
    assert known(store, one).stands == approved(one).stands


def test_what_is_granted_is_undone_until_it_is_done(sql: Ports, store: SqlProposals) -> None:
    """A carried-out proposal and a break-glass; not one that is open, or refused."""
    open_, refused, granted, glass = (added(sql, store, one) for one in (item(1), item(2), item(3), alone(4)))
    run(store.put(ended(refused, "refused"), {"act": "refused"}, NOW))
    run(store.put(approved(granted), {"act": "approved"}, NOW))
    finish(sql)
    run(store.put(ended(known(store, granted), "carried_out"), {"act": "carried_out"}, NOW))
    finish(sql)
    assert [one.id for one in run(store.undone(("erase_person",)))] == [granted.id, glass.id]
    assert run(store.undone(("hold",))) == []
    run(store.done(granted.id, LATER))
    run(store.done(granted.id, LATER + timedelta(days=1)))
    assert [one.id for one in run(store.undone(("erase_person",)))] == [glass.id]
    assert (known(store, granted).done_at, known(store, open_).done_at) == (LATER, None)
    assert known(store, refused).done_at is not None


def test_pages_are_of_their_kinds_newest_first(sql: Ports, store: SqlProposals) -> None:
    """Going on before an id."""
    for number, kind in enumerate(("hold", "erase_person", "hold", "hold"), 1):
        added(sql, store, item(number, kind=kind))
    page = run(store.page(("hold",), None, 2))
    assert [one.id.int for one in page] == [4, 3]
    assert [one.id.int for one in run(store.page(("hold",), page[-1].id, 2))] == [1]


def test_what_is_typed_is_sealed_and_nobody_is_named(sql: Ports, store: SqlProposals) -> None:
    """The row has neither the reason nor a user; without its key the reason is None, and the rest is there."""
    one = added(sql, store, item(1))
    assert one.reason == "They asked for it, says Dave."
    query = sa.select(proposal)
    row = run(sql.database.read(lambda connection: connection.execute(query).one()))
    assert "Dave" not in str(row)
    gone = sa.update(proposal).values(wrapped_key=None)
    run(sql.database.write(lambda connection: connection.execute(gone) and None))
    assert known(store, one) == replace(one, reason=None)
