"""Policy versions: check a rule file with its cases, make it the version in force, explain a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from usher.authority import Authority, Clock, utc_now
from usher.core.policy_documents import PolicyDocumentError, parse_documents
from usher.core.retention import Retention
from usher.core.standing import Actor
from usher.errors import UserError
from usher.outbox import Courier
from usher.people import checked_name
from usher.ports import Directory, Policies, StoredPolicy
from usher_policy.cases import Case, CaseResult, run_cases
from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import may, roles_of, scope
from usher_policy.lint import Finding, lint
from usher_policy.rules import Rules, parse_rules
from usher_policy.vocabulary import Action, Effect, Principal, ancestors, typed


@dataclass(frozen=True, slots=True)
class PolicySource:
    """A policy as it lies in a folder: the rule file's text, the YAML documents beside it by name, the cases."""

    rules_text: str
    documents: Mapping[str, str] = field(default_factory=dict)
    cases: Sequence[Case] = ()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What lint and the cases say; `ok` if no finding is an error and every case came out as expected."""

    findings: tuple[Finding, ...]
    cases: tuple[CaseResult, ...]

    @property
    def ok(self) -> bool:
        errors = [finding for finding in self.findings if finding.severity == "error"]
        return not errors and all(case.passed for case in self.cases)


@dataclass(frozen=True, slots=True)
class AppliedPolicy:
    version: int
    digest: str
    warnings: tuple[str, ...]


def check(source: PolicySource) -> CheckReport:
    """Lint the rules and, if they are sound, run the cases. Pure."""
    findings = [*lint(source.rules_text), *_unkept(source.rules_text), *_document_findings(source.documents)]
    if any(finding.severity == "error" for finding in findings):
        return CheckReport(tuple(findings), ())
    rules = parse_rules(source.rules_text)
    findings += _unnamed(rules, parse_documents(source.documents).retention)
    snapshot = compile_snapshot(0, rules, Catalog())
    return CheckReport(tuple(findings), tuple(run_cases(snapshot, source.cases)))


def _unkept(text: str) -> list[Finding]:
    """A NUL, in a comment too, is what PostgreSQL keeps in no text."""
    before, nul, _ = text.partition("\0")
    return [Finding(before.count("\n") + 1, "there is a NUL character", "remove it", "error")] if nul else []


def _document_findings(documents: Mapping[str, str]) -> list[Finding]:
    try:
        parse_documents(documents)
    except PolicyDocumentError as error:
        return [Finding(error.line, f"{error.name}: {error.problem}", error.remedy, "error")]
    return []


def _unnamed(rules: Rules, retention: Retention) -> list[Finding]:
    """A retention rule about a role or collection that nothing else names is about nothing: most likely a slip, by
    which a shorter rule would decide."""
    objects = {rule.obj for rule in rules.permissions}
    known = objects | {above for name in objects for above in ancestors(name)}
    known |= {rule.sub for rule in rules.permissions} | {link.role for link in rules.links}
    return [
        Finding(0, f"retention.yaml: {rule.name} is about {name}, which no rule names", "mend the name", "warning")
        for rule in retention.sets[0]
        for name in (rule.collection, rule.role)
        if name is not None and not known.intersection((name, *ancestors(name)))
    ]


class PolicyAdmin:
    """Changes and explanations of the policy in force."""

    def __init__(
        self,
        policies: Policies,
        authority: Authority,
        directory: Directory,
        courier: Courier,
        clock: Clock = utc_now,
    ) -> None:
        self._policies = policies
        self._authority = authority
        self._directory = directory
        self._courier = courier
        self._clock = clock

    async def apply(self, source: PolicySource, by: Actor) -> AppliedPolicy:
        """Make the source the next version, in force at everybody's next barrier. The operator's act.

        Raises `UserError` if it fails its check, or while another version is on its way.
        """
        digest, warnings = await asyncio.to_thread(_examined, source)  # seconds for a large policy
        await self._courier.recover()  # a version that an unwritable ledger held up goes first
        versions = await self._policies.versions()
        stored = StoredPolicy(versions.policy + 1, digest, source.rules_text, dict(source.documents), self._clock())
        change = await self._policies.propose(stored, f"{by.kind}:{by.id}")
        if change is None:
            raise UserError("policy", "another version is being activated", "try again in a moment")
        await self._courier.carry([change])
        return AppliedPolicy(stored.version, digest, warnings)

    async def active(self) -> dict[str, Any]:
        """The version in force: number, digest, documents."""
        versions = await self._policies.versions()
        stored = await self._policies.load(versions.policy)
        if stored is None:
            return {"version": 0, "digest": None, "documents": []}
        return {"version": stored.version, "digest": stored.digest, "documents": sorted(stored.documents)}

    async def explain(self, user: str, target: str, action: str) -> dict[str, Any]:
        """One decision as it would fall now for a person of the directory, with the rules that took part."""
        if action not in set(Action):
            raise UserError("action", "is not a known action", "use one of: " + ", ".join(Action))
        raw = checked_name("user", user)
        person = await self._directory.person(raw)
        groups = () if person is None else person.groups
        principal = Principal(typed("user", raw), frozenset(typed("group", group) for group in groups))
        versions, snapshot = await self._authority.current()
        context = Context(now=self._clock())
        decision = may(snapshot, principal, target, Action(action), context)
        known = person is not None and person.active
        above = (target, *ancestors(target))
        lines = {rule.id: rule.canonical for name in above for rule in snapshot.book.on_object.get((name, action), ())}
        return {
            "user": principal.user,
            "groups": sorted(principal.groups),
            "object": target,
            "action": action,
            "allowed": decision.allowed and known,
            "reason": decision.reason if known else "person_inactive",
            "rules": [lines.get(rule, rule) for rule in decision.rules],
            "roles": list(roles_of(snapshot, principal)),
            "readable_access_classes": len(scope(snapshot, principal, context).classes) if known else 0,
            "policy_version": versions.policy,
        }


def _examined(source: PolicySource) -> tuple[str, tuple[str, ...]]:
    """The digest and the warnings of a policy that passes its check. Raises `UserError` for another."""
    report = check(source)
    if not report.ok:
        raise UserError("policy", _summary(report), "run `usher policy check FILE` and mend what it names")
    rules = parse_rules(source.rules_text)
    return rules.digest, _warnings(report, rules)


def _summary(report: CheckReport) -> str:
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if errors:
        first = errors[0]
        return f"has {len(errors)} error(s); the first, on line {first.line}: {first.message}"
    failed = [case for case in report.cases if not case.passed]
    return f"fails {len(failed)} of its {len(report.cases)} case(s); the first: {failed[0].case.name}"


def _warnings(report: CheckReport, rules: Rules) -> tuple[str, ...]:
    found = [f"line {f.line}: {f.message}" for f in report.findings if f.severity != "error"]
    if not any(rule.act == Action.POLICY_APPROVE and rule.eft == Effect.ALLOW for rule in rules.permissions):
        found.append("no rule grants policy.approve: only the operator can change this policy")
    return tuple(found)
