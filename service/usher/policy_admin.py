"""Policy versions: check a rule file with its cases, make it the version in force."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from usher.authority import Clock, utc_now
from usher.core.policy_documents import PolicyDocumentError, PolicyDocuments, parse_documents
from usher.core.policy_source import CaseFileError, PolicySource, check_size, read_cases
from usher.core.standing import Actor
from usher.errors import UserError
from usher.outbox import Courier
from usher.ports import Policies, StoredPolicy
from usher_policy.cases import Case, CaseResult, run_cases
from usher_policy.catalog import Catalog
from usher_policy.compile import Snapshot, compile_snapshot
from usher_policy.lint import Finding, lint
from usher_policy.rules import Rules, read_rules
from usher_policy.vocabulary import Action, Effect, ancestors

__all__ = ["AppliedPolicy", "CheckReport", "Examined", "PolicyAdmin", "PolicySource", "check", "examined"]

_UNKEPT: Final = re.compile("[\\0\\ud800-\\udfff]")


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


@dataclass(frozen=True, slots=True)
class Examined:
    """A policy that was looked at: what there is to say of it and, if no finding is an error, its rules compiled."""

    report: CheckReport
    snapshot: Snapshot | None


def check(source: PolicySource) -> CheckReport:
    """Lint the rules and, if they are sound, run the cases. Pure. Raises `UserError` for what is too large to read."""
    return examined(source).report


def examined(source: PolicySource) -> Examined:
    """As `check`; the work of seconds for a large policy."""
    check_size(source)
    texts = [("", source.rules_text), *source.documents.items(), *source.cases.items()]
    findings = [finding for name, text in texts for finding in _unkept(name, text)]
    findings += [*lint(source.rules_text), *_document_findings(source.documents)]
    cases, more = _cases(source.cases)
    findings += more
    if any(finding.severity == "error" for finding in findings):
        return Examined(CheckReport(tuple(findings), ()), None)
    rules = read_rules(source.rules_text)
    findings += _unnamed(rules, parse_documents(source.documents))
    snapshot = compile_snapshot(0, rules, Catalog())
    return Examined(CheckReport(tuple(findings), tuple(run_cases(snapshot, cases))), snapshot)


def _unkept(name: str, text: str) -> list[Finding]:
    """What no database keeps in a text, in a comment either: a NUL (PostgreSQL), half of a surrogate pair."""
    found = _UNKEPT.search(text)
    if found is None:
        return []
    what = "there is a NUL character" if found[0] == "\0" else "there is half of a surrogate pair"
    line = text.count("\n", 0, found.start()) + 1
    return [Finding(line, f"{name}: {what}" if name else what, "remove it", "error")]


def _cases(files: Mapping[str, str]) -> tuple[list[Case], list[Finding]]:
    try:
        return read_cases(files), []
    except CaseFileError as error:
        return [], [Finding(error.line, f"{error.name}: {error.problem}", error.remedy, "error")]


def _document_findings(documents: Mapping[str, str]) -> list[Finding]:
    try:
        parse_documents(documents)
    except PolicyDocumentError as error:
        return [Finding(error.line, f"{error.name}: {error.problem}", error.remedy, "error")]
    return []


def _unnamed(rules: Rules, documents: PolicyDocuments) -> list[Finding]:
    """A retention or routing rule about a role, collection or adapter that nothing else names is about nothing: most
    likely a slip, by which another rule would decide."""
    known = {name for rule in rules.permissions for name in _with_above(rule.obj)}
    known |= {rule.sub for rule in rules.permissions} | {link.role for link in rules.links}
    kept = [(f"retention.yaml: {one.name}", (one.collection, one.role)) for one in documents.retention.sets[0]]
    routing = documents.routing.sets[0]
    routed = [(f"routing.yaml: {one.name}", (one.collection, one.role, *one.adapters)) for one in routing]
    return [
        Finding(0, f"{rule} is about {name}, which no rule names", "mend the name", "warning")
        for rule, names in (*kept, *routed)
        for name in names
        if name is not None and not known.intersection(_with_above(name))
    ]


def _with_above(name: str) -> tuple[str, ...]:
    """The name and, for what is about a collection is about all below it, those of the collections above."""
    return (name, *ancestors(name)) if name.startswith("coll:") else (name,)


class PolicyAdmin:
    """The low-level act: a policy made the next version, whoever asks."""

    def __init__(
        self,
        policies: Policies,
        courier: Courier,
        clock: Clock = utc_now,
    ) -> None:
        self._policies = policies
        self._courier = courier
        self._clock = clock

    async def apply(self, source: PolicySource, by: Actor, over: int | None = None) -> AppliedPolicy:
        """Make the source the next version, in force at everybody's next barrier. The operator's act.

        Raises `UserError` if it fails its check, while another version is on its way, or if the newest version is not
        `over` (None: whatever it is).
        """
        digest, warnings = await asyncio.to_thread(_sound, source)  # seconds for a large policy
        await self._courier.recover()  # a version that an unwritable ledger held up goes first
        versions = await self._policies.versions()
        if over is not None and versions.policy != over:
            raise UserError("policy", "another version has come into force meanwhile", "look at that one first")
        texts = (source.rules_text, dict(source.documents), self._clock(), dict(source.cases))
        stored = StoredPolicy(versions.policy + 1, digest, *texts)
        change = await self._policies.propose(stored, f"{by.kind}:{by.id}")
        if change is None:
            raise UserError("policy", "another version is being activated", "try again in a moment")
        await self._courier.carry([change])
        return AppliedPolicy(stored.version, digest, warnings)

    async def active(self) -> dict[str, Any]:
        """The version in force: number, digest, documents."""
        versions = await self._policies.versions()
        stored = await self._policies.load(versions.in_force(self._clock()))
        if stored is None:
            return {"version": 0, "digest": None, "documents": []}
        return {"version": stored.version, "digest": stored.digest, "documents": sorted(stored.documents)}


def _sound(source: PolicySource) -> tuple[str, tuple[str, ...]]:
    """The digest and the warnings of a policy that passes its check. Raises `UserError` for another."""
    found = examined(source)
    if found.snapshot is None or not found.report.ok:
        raise UserError("policy", summary(found.report), "run `usher policy check FILE` and mend what it names")
    return found.snapshot.digest, warnings_of(found)


def summary(report: CheckReport) -> str:
    """What is wrong first with a policy that is not `ok`."""
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if errors:
        first = errors[0]
        return f"has {len(errors)} error(s); the first, on line {first.line}: {first.message}"
    failed = [case for case in report.cases if not case.passed]
    return f"fails {len(failed)} of its {len(report.cases)} case(s); the first: {failed[0].case.name}"


def warnings_of(found: Examined) -> tuple[str, ...]:
    """What a reviewer should look at in a policy that may come into force."""
    told = [f"line {f.line}: {f.message}" for f in found.report.findings if f.severity != "error"]
    granted = () if found.snapshot is None else found.snapshot.book.on_object.items()
    may = (rule.eft for (_, act), rules in granted if act == Action.POLICY_APPROVE for rule in rules)
    if Effect.ALLOW not in may:
        told.append("no rule grants policy.approve: only the operator can change this policy")
    return tuple(told)
