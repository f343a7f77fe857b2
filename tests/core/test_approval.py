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
    shown: tuple[bytes, ...]
    may: bool
    now: datetime
    done: bool


class Company:
    """One proposal at a time and what becomes of it: the value on one side, a diary of all that was tried on the other.

    The diary is the oracle: what it says is allowed is worked out without a look at the proposal.
    """

    def __init__(self, needed: int) -> None:
        self.now, self.rights, self.needed = NOON, frozenset(PEOPLE), needed
        self._propose(CREDENTIALS[0])

    def _propose(self, by: Principal) -> None:
        self.content, self.begin, self.proposer = CONTENTS[0], self.now, by.user
        self.proposal = propose("p1", "hold", self.content, by, self.now, needed=self.needed)
        self.diary: list[Act] = []

    def step(self, verb: str, who: int, n: int) -> None:
        by = CREDENTIALS[who]
        if verb == "propose":
            self._propose(by)
        elif verb == "change":
            self.content = CONTENTS[n]
        elif verb == "rights":
            user = self.diary[-1].person if n and self.diary else by.user
            self.rights ^= {user}
        elif verb == "time":
            self.now += (LIFE / 2, -DAY)[n]
        else:
            self._try(verb, by, CONTENTS[n])

    def _try(self, verb: str, by: Principal, shown: tuple[bytes, ...]) -> None:
        may, digest = by.user in self.rights, digest_of("hold", *shown)
        act = Act(verb, by.user, shown, may, self.now, done=self._allowed(verb, by.user, shown))
        if verb == "approve":
            after = approve(self.proposal, by, digest, self.now, may_approve=may)
        elif verb == "refuse":
            after = refuse(self.proposal, by, self.now, may_approve=may)
        elif verb == "withdraw":
            after = withdraw(self.proposal, by, self.now)
        else:
            digest = digest_of("hold", *self.content)
            after = carry_out(self.proposal, by, digest, self.now, may_approve=self.rights)
        assert isinstance(after, Proposal) is act.done, (act, after, self.diary)
        self.diary.append(act)
        if isinstance(after, Proposal):
            self.proposal = after

    def _allowed(self, verb: str, person: str, shown: tuple[bytes, ...]) -> bool:
        others = self.rights - {self.proposer}
        backwards = reversed(self.diary)  # a second yes, under an earlier clock, is not the one that counts
        yes = {act.person: act.now for act in backwards if act.verb == "approve" and self._was_sound(act)}
        if any(act.done and act.verb != "approve" for act in self.diary) or not self._in_time(self.now):
            return False
        if verb == "approve":
            return person in others and shown == CONTENTS[0] and person not in yes
        if verb == "refuse":
            return person in others
        if verb == "withdraw":
            return person == self.proposer
        counted = {user for user, at in yes.items() if at <= self.now and user in others}
        return self.content == CONTENTS[0] and len(counted) >= self.needed

    def _was_sound(self, act: Act) -> bool:
        return act.may and act.person != self.proposer and act.shown == CONTENTS[0] and self._in_time(act.now)

    def _in_time(self, instant: datetime) -> bool:
        return self.begin <= instant < self.begin + timedelta(days=7)


VERBS = {"approve": 12, "carry out": 7, "change": 1, "rights": 3, "time": 3, "propose": 1, "refuse": 1, "withdraw": 1}
PLANS = {"approve": (0, 0, 0, 0, 0, 1), "change": (0, 1, 2), "rights": (0, 1, 1), "time": (0, 0, 1)}
STEPS = [
    (verb, who, n)
    for verb, weight in VERBS.items()
    for who in range(len(CREDENTIALS))
    for n in PLANS.get(verb, (0,)) * (weight * 12 // len(PLANS.get(verb, (0,))))
]


@settings(max_examples=2 * settings().max_examples, deadline=None)
@given(st.sampled_from((1, 2)), st.lists(st.sampled_from(STEPS), min_size=15, max_size=30))
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
