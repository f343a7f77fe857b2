"""Who changes the policy: by which right, how far it goes, and whether they still hold it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from usher.authority import Authority, Grant
from usher.core.approval import Proposal
from usher.ledger.sealing import SealBroken
from usher.ledger.sequencer import Ledger
from usher.ports import Directory
from usher.ports import Person as Known
from usher.viewing import NotPermitted
from usher_policy.book import RuleBook, holders
from usher_policy.conditions import ALWAYS
from usher_policy.impact import Person
from usher_policy.vocabulary import Action, Effect, Principal, split_name, typed

SYSTEM = "sys:policy"
PAGE = 2_000
"""People that are read from the directory at once."""

Governs = Callable[[str], bool]
"""Whether a right to edit holds on a `coll:` or `role:` name."""


@dataclass(frozen=True, slots=True)
class Editor:
    """Who asks: a person by their grant, or the operator (no grant), whom the operating system stops or nobody does.
    `actor` is the operator as the record names them, of a person the kind of their credential."""

    grant: Grant | None
    actor: str

    @property
    def operator(self) -> bool:
        return self.grant is None


@dataclass(frozen=True, slots=True)
class Acting:
    """Somebody who was judged: `name` (a pseudonym, or the operator) stands in events, `rules` say why they may.
    `governs` is None where the right goes everywhere."""

    principal: Principal
    name: str
    operator: bool
    governs: Governs | None = field(default=None, compare=False)
    rules: tuple[str, ...] = ()


class Editors:
    """Judges whoever reads or changes the policy. While somebody has broken the glass, the version before must allow it
    too: nobody gives themselves an approver for an hour. Raises `NotPermitted`, `LedgerUnavailable`."""

    def __init__(self, authority: Authority, directory: Directory, ledger: Ledger) -> None:
        self._authority, self._directory, self._ledger = authority, directory, ledger

    async def judged(self, by: Editor, *rights: Action) -> Acting:
        """Whoever asks, as one who acts by the first of these rights that they hold: on everything, else on what they
        govern."""
        if by.grant is None:
            return Acting(Principal(typed("user", by.actor)), by.actor, operator=True)
        grant = await self._authority.lasting(await self._authority.again(by.grant))
        pseudonym = await self._ledger.pseudonym(grant.credential.user)
        principal = Principal(typed("user", pseudonym))
        for right in rights:
            decision = grant.may(right, SYSTEM)
            if decision.allowed:
                return Acting(principal, pseudonym, operator=False, rules=decision.rules)
        for right in rights:
            if (rules := _somewhere(grant, right)) is not None:
                return Acting(principal, pseudonym, operator=False, governs=_governs(grant, right), rules=rules)
        reason = grant.may(rights[0], SYSTEM).reason
        raise NotPermitted("key", f"may not do {rights[0]} ({reason})", "ask your administrator")

    async def everywhere(self, by: Editor, *rights: Action) -> Acting:
        """As `judged`, of a right that must hold on everything."""
        acting = await self.judged(by, *rights)
        if acting.governs is not None:
            raise NotPermitted("key", f"may do {rights[0]} in some places only", "ask your administrator")
        return acting

    async def may_still(self, proposal: Proposal, reaches: Callable[[Governs | None], bool]) -> set[str]:
        """Of those who approved, as users by pseudonym: who is active and holds policy.approve now, on everything or as
        far as `reaches` asks."""
        may = set()
        for one in proposal.approvals:
            try:
                user = await self._ledger.subjects.name_of(split_name(one.approver)[1])
            except SealBroken:  # erased since
                continue
            if user is not None and await self._approves(user, reaches):
                may.add(one.approver)
        return may

    async def _approves(self, user: str, reaches: Callable[[Governs | None], bool]) -> bool:
        may = await self._authority.judge_of(user)
        if may(Action.POLICY_APPROVE, SYSTEM):
            return reaches(None)
        return reaches(lambda name: may(Action.POLICY_APPROVE, name))

    async def people(self) -> list[tuple[Person, bool]]:
        """Everybody in the directory as rules name them, and whether they are active."""
        found: list[tuple[Person, bool]] = []
        after = ""
        while page := await self._directory.people(after, PAGE):
            found += await asyncio.to_thread(_people, page)
            after = page[-1].user
        return found

    async def anybody_approves(self, *books: RuleBook) -> bool:
        """Whether some active person could at some time approve a change of everything, by any of these policies."""
        people = [person for person, active in await self.people() if active]
        return await asyncio.to_thread(_anybody_approves, books, people)


def holds_any(grant: Grant, rights: Sequence[Action]) -> bool:
    """Whether somebody holds one of these rights, on everything or on some of it."""
    everywhere = any(grant.may(right, SYSTEM).allowed for right in rights)
    return everywhere or any(_somewhere(grant, right) is not None for right in rights)


def _people(page: Iterable[Known]) -> list[tuple[Person, bool]]:
    return [
        (Person(typed("user", one.user), frozenset(typed("group", group) for group in one.groups)), one.active)
        for one in page
    ]


def _anybody_approves(books: Iterable[RuleBook], people: Sequence[Person]) -> bool:
    return any(_could_approve(book, people) for book in books)


def _governs(grant: Grant, right: Action) -> Governs:
    return lambda name: grant.may(right, name).allowed


def _somewhere(grant: Grant, right: Action) -> tuple[str, ...] | None:
    """The rules by which a right holds on some collections or roles; None where it holds nowhere."""
    named = {obj for snapshot in grant.snapshots for obj, action in snapshot.book.on_object if action == right}
    decisions = [grant.may(right, name) for name in sorted(named - {SYSTEM})]
    found = {rule for decision in decisions if decision.allowed for rule in decision.rules}
    return tuple(sorted(found)) if any(decision.allowed for decision in decisions) else None


def _could_approve(book: RuleBook, people: Iterable[Person]) -> bool:
    """Whether one of them could, whatever the hour: a condition that does not hold now may hold later."""
    rules = book.on_object.get((SYSTEM, Action.POLICY_APPROVE), ())
    allowed = {rule.sub for rule in rules if rule.eft == Effect.ALLOW}
    barred = {rule.sub for rule in rules if rule.eft == Effect.DENY and rule.cond == ALWAYS}
    candidates = holders(allowed, book)
    concerned = (Principal(one.user or "", one.groups) for one in people if not candidates.isdisjoint(_names(one)))
    held = map(book.closure, concerned)
    return any(not allowed.isdisjoint(names) and barred.isdisjoint(names) for names in held)


def _names(person: Person) -> set[str]:
    return {person.user or "", *person.groups}
