"""Who may decide on what takes two people: by which right, now and when it is carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from usher.audit.reviewers import AUDIT, Reviewer, reach_of
from usher.authority import Authority
from usher.core.approval import Proposal
from usher.ledger.sealing import SealBroken
from usher.ledger.sequencer import Ledger
from usher.ports import Directory
from usher.viewing import NotPermitted
from usher_policy.vocabulary import Action, Principal, split_name, typed

ERASE_PERSON, ERASE_DOCUMENT = "erase_person", "erase_document"
HOLD, RELEASE, RETENTION = "hold", "release", "retention"
RIGHTS: Mapping[str, Action] = {
    ERASE_PERSON: Action.AUDIT_ERASE,
    ERASE_DOCUMENT: Action.AUDIT_ERASE,
    HOLD: Action.AUDIT_HOLD,
    RELEASE: Action.AUDIT_HOLD,
    RETENTION: Action.AUDIT_ERASE,
}
"""What each kind takes, of whoever proposes it, approves it and has it carried out: everywhere in the log."""


@dataclass(frozen=True, slots=True)
class Acting:
    """Somebody who acts: `name` (a pseudonym, or the operator) stands in events, `rules` say why they may. `right`: by
    a right, not as the operator."""

    principal: Principal
    name: str
    right: bool
    rules: tuple[str, ...] = ()


class Deciders:
    """Judges whoever proposes, approves or carries out. Raises `NotPermitted`, `LedgerUnavailable`."""

    def __init__(self, authority: Authority, directory: Directory, ledger: Ledger) -> None:
        self._authority, self._directory, self._ledger = authority, directory, ledger

    async def judged(self, by: Reviewer, right: Action | None) -> Acting:
        """Whoever asks, as one who acts. The operator is stopped by the operating system, or not at all."""
        if by.grant is None:
            return Acting(Principal(typed("user", by.actor)), by.actor, right=False)
        grant = await self._authority.again(by.grant)
        decision = None if right is None else grant.may(right, AUDIT)
        if decision is not None and not decision.allowed:
            raise NotPermitted("key", f"may not do {right} ({decision.reason})", "ask your administrator")
        if right is not None and right in RIGHTS.values() and not reach_of(grant, right).whole:
            raise NotPermitted("key", f"may do {right} in some collections only", "ask your administrator")
        pseudonym = await self._ledger.pseudonym(grant.credential.user)
        rules = () if decision is None else decision.rules
        return Acting(Principal(typed("user", pseudonym)), pseudonym, right=True, rules=rules)

    async def kinds(self, by: Reviewer) -> frozenset[str]:
        """Of what kinds somebody may know: all by `audit.review`, else those that they may decide on."""
        if by.grant is None:
            return frozenset(RIGHTS)
        grant = await self._authority.again(by.grant)
        every = grant.may(Action.AUDIT_REVIEW, AUDIT).allowed
        kinds = frozenset(kind for kind, right in RIGHTS.items() if every or grant.may(right, AUDIT).allowed)
        if not kinds:
            raise NotPermitted("key", "may decide on no proposal", "ask your administrator")
        return kinds

    async def may_still(self, proposal: Proposal, right: Action) -> set[str]:
        """Of those who approved, as users by pseudonym: who is active and holds the right now."""
        may = set()
        for one in proposal.approvals:
            try:
                user = await self._ledger.subjects.name_of(split_name(one.approver)[1])
            except SealBroken:  # erased since
                continue
            if user is not None and (await self._authority.holds(user, right, AUDIT)).allowed:
                may.add(one.approver)
        return may

    async def anybody(self, right: Action) -> bool:
        """Whether some active person holds the right everywhere in the log now."""
        after = ""
        while page := await self._directory.people(after, 500):
            for person in page:
                if person.active and (await self._authority.holds(person.user, right, AUDIT)).allowed:
                    return True
            after = page[-1].user
        return False
