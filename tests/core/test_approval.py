"""Approvals: whatever people try, in any order, only what an oracle allows is ever carried out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usher.core.approval import (
    LIFE,
    LONGEST_LIFE,
    Approval,
    Denial,
    Proposal,
    approve,
    carry_out,
    digest_of,
    propose,
    refuse,
    withdraw,
)
from usher.errors import UserError
from usher_policy.vocabulary import Principal

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PEOPLE = ("user:ann", "user:bea", "user:cem", "user:dov")
CREDENTIALS = [Principal(user, frozenset(groups)) for user in PEOPLE for groups in ((), ("group:staff",))]
"""Each person twice: by a key, and by a login that brings groups along."""
CONTENTS = ((b"hold", b"1"), (b"hold1", b""), (b"hold", b"2"))


class Act(NamedTuple):
    """Something that somebody tried, with all that was the case when they did."""

    verb: str
    person: str
    content: tuple[bytes, ...]
    shown: tuple[bytes, ...]
    rights: frozenset[str]
    now: datetime
    done: bool


class Company:
    """One proposal and what becomes of it: the values on one side, a diary of everything tried on the other."""

    def __init__(self, needed: int) -> None:
        self.now, self.rights, self.needed = NOON, frozenset(PEOPLE), needed
        self.content = CONTENTS[0]
        self.proposal = propose("p1", "hold", self.content, CREDENTIALS[0], NOON, needed=needed)
        self.diary: list[Act] = []

    def step(self, verb: str, who: int, n: int) -> None:
        credential = CREDENTIALS[who]
        if verb == "change":
            self.content = CONTENTS[n % 3]
        elif verb == "rights":
            self.rights = self.rights ^ {credential.user}
        elif verb == "time":
            self.now += (timedelta(), DAY, 3 * DAY, LIFE - DAY, -DAY)[n % 5]
        else:
            self._try(verb, credential, CONTENTS[(0, 0, 0, 1, 2)[n % 5]])

    def _try(self, verb: str, by: Principal, shown: tuple[bytes, ...]) -> None:
        may, digest = by.user in self.rights, digest_of("hold", *shown)
        expected = self._allowed(verb, by.user, shown)
        if verb == "approve":
            after = approve(self.proposal, by, digest, self.now, may_approve=may)
        elif verb == "refuse":
            after = refuse(self.proposal, by, self.now, may_approve=may)
        elif verb == "withdraw":
            after = withdraw(self.proposal, by, self.now)
        else:
            digest = digest_of("hold", *self.content)
            after = carry_out(self.proposal, by, digest, self.now, may_approve=self.rights)
        assert isinstance(after, Proposal) is expected, (verb, by.user, after, self.diary)
        self.diary.append(Act(verb, by.user, self.content, shown, self.rights, self.now, expected))
        if isinstance(after, Proposal):
            self.proposal = after

    def _allowed(self, verb: str, person: str, shown: tuple[bytes, ...]) -> bool:
        """From the diary alone: nothing here looks at the proposal."""
        ended = any(act.done and act.verb != "approve" for act in self.diary)
        if ended or not timedelta() <= self.now - NOON < timedelta(days=7):
            return False
        yes = {a.person for a in self.diary if a.verb == "approve" and self._was_sound(a) and a.now <= self.now}
        if verb == "approve":
            again = any(a.verb == "approve" and a.person == person and self._was_sound(a) for a in self.diary)
            return person != PEOPLE[0] and person in self.rights and shown == CONTENTS[0] and not again
        if verb == "refuse":
            return person != PEOPLE[0] and person in self.rights
        if verb == "withdraw":
            return person == PEOPLE[0]
        return self.content == CONTENTS[0] and len(yes & self.rights - {PEOPLE[0]}) >= self.needed

    @staticmethod
    def _was_sound(act: Act) -> bool:
        in_time = NOON <= act.now < NOON + timedelta(days=7)
        return act.person != PEOPLE[0] and act.person in act.rights and act.shown == CONTENTS[0] and in_time


VERBS = ("approve",) * 5 + ("carry out",) * 2 + ("change", "rights", "rights", "time", "refuse", "withdraw")
STEPS = st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 7), st.integers(0, 14)), min_size=5, max_size=20)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from((1, 2, 2)), STEPS)
def test_nothing_else_is_ever_allowed(needed: int, steps: list[tuple[str, int, int]]) -> None:
    """After any acts by anybody, every act is allowed exactly where the diary of all acts says so."""
    company = Company(needed)
    for step in steps:
        company.step(*step)


ANN, BEA, CEM, DOV = CREDENTIALS[::2]
ACT = digest_of("hold", b"1")
OTHER = digest_of("hold", b"2")
NEW = propose("p1", "hold", (b"1",), ANN, NOON)
READY = replace(NEW, approvals=(Approval(BEA.user, ACT, NOON + DAY),))
LATER = NOON + 2 * DAY
ALL = frozenset(PEOPLE)


def test_each_denial_says_why() -> None:
    """Ended, expired, a clock that went back, no person, the same person, no right, other bytes, twice, too few."""
    for end, why in ((refuse(NEW, BEA, LATER, may_approve=True), "refused"), (withdraw(NEW, ANN, LATER), "withdrawn")):
        assert isinstance(end, Proposal)
        assert (
            carry_out(end, CEM, ACT, LATER, may_approve=ALL) == approve(end, CEM, ACT, LATER, may_approve=True) == why
        )
    assert approve(NEW, BEA, ACT, NOON + LIFE, may_approve=True) is Denial.EXPIRED
    assert carry_out(READY, CEM, ACT, NOON + LIFE, may_approve=ALL) is Denial.EXPIRED
    assert approve(NEW, BEA, ACT, NOON - DAY, may_approve=True) is Denial.CLOCK
    assert approve(NEW, Principal("bea"), ACT, LATER, may_approve=True) is Denial.NO_PERSON
    assert approve(NEW, CREDENTIALS[1], ACT, LATER, may_approve=True) is Denial.SAME_PERSON
    assert refuse(NEW, ANN, LATER, may_approve=True) is Denial.SAME_PERSON
    assert withdraw(NEW, BEA, LATER) is Denial.NOT_PROPOSER
    assert approve(NEW, BEA, ACT, LATER, may_approve=False) is Denial.NO_RIGHT
    assert refuse(NEW, BEA, LATER, may_approve=False) is Denial.NO_RIGHT
    assert approve(NEW, BEA, OTHER, LATER, may_approve=True) is Denial.OTHER_CONTENT
    assert approve(READY, CREDENTIALS[3], ACT, LATER, may_approve=True) is Denial.REPEATED
    assert carry_out(NEW, CEM, ACT, LATER, may_approve=ALL) is Denial.TOO_FEW
    assert carry_out(READY, CEM, OTHER, LATER, may_approve=ALL) is Denial.OTHER_CONTENT
    assert carry_out(READY, CEM, ACT, LATER, may_approve=ALL - {BEA.user}) is Denial.RIGHT_LOST


def test_what_was_carried_out_is_done_once() -> None:
    """The second time says so."""
    done = carry_out(READY, CEM, ACT, LATER, may_approve=ALL)
    assert isinstance(done, Proposal)
    assert carry_out(done, CEM, ACT, LATER, may_approve=ALL) is Denial.CARRIED_OUT


@pytest.mark.parametrize(
    "forged",
    [
        Approval(ANN.user, ACT, LATER),
        Approval(BEA.user, OTHER, LATER),
        Approval(BEA.user, ACT, NOON - DAY),
        Approval(BEA.user, ACT, LATER + DAY),
    ],
)
def test_stored_approvals_are_judged_again(forged: Approval) -> None:
    """One by the proposer, of other bytes, from before the proposal or from the future does not count."""
    assert carry_out(replace(NEW, approvals=(forged,)), CEM, ACT, LATER, may_approve=ALL) is Denial.TOO_FEW


def test_one_person_stored_twice_is_one() -> None:
    """Two approvals are two people's."""
    twice = replace(READY, needed=2, approvals=READY.approvals * 2)
    assert carry_out(twice, CEM, ACT, LATER, may_approve=ALL) is Denial.TOO_FEW


def test_of_several_approvers_each_must_still_have_the_right() -> None:
    """Where two are needed and one has lost it, a third person must approve."""
    two = replace(READY, needed=2, approvals=(*READY.approvals, Approval(CEM.user, ACT, NOON + DAY)))
    rights = ALL - {BEA.user}
    assert carry_out(two, CEM, ACT, LATER, may_approve=rights) is Denial.RIGHT_LOST
    three = approve(two, DOV, ACT, LATER, may_approve=True)
    assert isinstance(three, Proposal)
    assert isinstance(carry_out(three, CEM, ACT, LATER, may_approve=rights), Proposal)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("needed", {"needed": 0}),
        ("expires_at", {"expires_at": NOON}),
        ("expires_at", {"expires_at": NOON + LONGEST_LIFE + timedelta(microseconds=1)}),
        ("proposer", {"proposer": "role:hr"}),
        ("proposer", {"proposer": "ann"}),
        ("proposer", {"proposer": ""}),
    ],
)
def test_a_proposal_out_of_bounds_is_none(field: str, change: dict[str, object]) -> None:
    """Nobody else's approval, no life, too long a life, or nobody who proposes: there is no such value."""
    with pytest.raises(UserError) as caught:
        replace(NEW, **change)  # type: ignore[arg-type]  # the point of the test
    assert caught.value.field == field


PIECES = st.lists(st.sampled_from([b"", b"1", b"1:", b",", b"1:1,", b"4:hold,", b"0:,", b"hold"]), max_size=4)
KINDS = st.sampled_from(["hold", "hold,", "erase", "", "é", "usher proposal v1"])


@given(KINDS, PIECES, KINDS, PIECES, st.integers(0, 8))
def test_different_acts_have_different_digests(
    kind: str, parts: list[bytes], other: str, others: list[bytes], at: int
) -> None:
    """Also where the same bytes are cut elsewhere, moved from the kind into a part, or look like lengths themselves."""
    joined = b"".join(parts)
    acts = {(kind, *parts), (other, *others), (kind, joined[:at], joined[at:]), (kind, joined), (kind, *parts, b"")}
    acts.add((kind + "1", *parts))
    acts.add((kind, b"1" + joined))
    assert len({digest_of(first, *rest) for first, *rest in acts}) == len(acts)


@settings(max_examples=20)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.binary()))
def test_the_digest_is_of_the_stated_bytes(kind: str, parts: list[bytes]) -> None:
    """Whoever knows the encoding can form it: a label, the kind, the parts, each with its length before it."""
    text = b"17:usher proposal v1,"
    for part in (kind.encode(), *parts):
        text += str(len(part)).encode() + b":" + part + b","
    assert digest_of(kind, *parts) == hashlib.sha256(text).hexdigest()


def test_the_json_form_has_pseudonyms_and_no_names() -> None:
    """Everybody who took part is there under the pseudonym that the caller gives; instants are UTC."""
    done = carry_out(READY, CEM, ACT, LATER.astimezone(timezone(DAY / 24)), may_approve=ALL)
    assert isinstance(done, Proposal)
    form = done.as_json(lambda user: f"p{PEOPLE.index(user)}")
    assert not any(name in json.dumps(form) for name in ("ann", "bea", "cem", "user:"))
    assert form == {
        "id": "p1",
        "kind": "hold",
        "digest": ACT,
        "proposer": "p0",
        "at": "2026-03-02T12:00:00.000000+00:00",
        "expires_at": "2026-03-09T12:00:00.000000+00:00",
        "needed": 1,
        "approvals": [{"approver": "p1", "digest": ACT, "at": "2026-03-03T12:00:00.000000+00:00"}],
        "end": {"outcome": "carried_out", "by": "p2", "at": "2026-03-04T12:00:00.000000+00:00"},
    }
    assert NEW.as_json(str)["end"] is None
