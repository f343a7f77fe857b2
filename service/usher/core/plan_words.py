"""The plan of a change of policy, as people read it: lines for a terminal, and Markdown for a comment on a change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from usher.core import impact_text
from usher.core.impact_text import code
from usher.core.impact_words import ImpactWords

Quote = Callable[[str], str]

MAX_MARKDOWN: Final = 60_000
"""Characters. Comments on the usual platforms may have 65,536."""
MAX_LINES: Final = 40
"""Lines of one kind that are told; the others are counted."""
_IMPACT_ROOM: Final = 20_000
_ROOM: Final = 6_000
"""Characters of the lines of one kind together."""
_MAX_TOLD: Final = 400
"""Characters of one line: what a finding or a rule says fits, unless somebody has a whole book of names."""


@dataclass(frozen=True, slots=True)
class Found:
    """What lint says: `line` counts from 1 (0: the file as a whole), `severity` is `error` or `warning`."""

    line: int
    message: str
    remedy: str
    severity: str


@dataclass(frozen=True, slots=True)
class FailedCase:
    """A case that does not come out as it expects."""

    name: str
    user: str
    object: str
    action: str
    expect: str


@dataclass(frozen=True, slots=True)
class Diff:
    """What is different: lines of rules in their canonical form, sorted; names of documents and of files of cases."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        return not (self.added or self.removed or self.documents or self.cases)


@dataclass(frozen=True, slots=True)
class Moved:
    """The version that came into force instead of the one that a change was made against, and what it changed."""

    version: int
    diff: Diff


@dataclass(frozen=True, slots=True)
class PlanWords:
    """What a change against version `base` would do. `sound`: lint and cases pass; `may_come`: nothing but an approval
    may be missing. `gains` is what takes the approval of somebody else, `refusals` why it may not be made at all,
    `moved` that another version came first. What is approved has this `digest`."""

    base: int
    digest: str
    sound: bool
    may_come: bool
    needs_approval: bool
    findings: tuple[Found, ...] = ()
    cases: int = 0
    failed: tuple[FailedCase, ...] = ()
    diff: Diff = field(default_factory=Diff)
    impact: ImpactWords = field(default_factory=ImpactWords)
    gains: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    moved: Moved | None = None


def lines(plan: PlanWords) -> list[str]:
    """The plan for a terminal."""
    told = [*_checks(plan), *_capped(plan.refusals, "refused: {}"), *_moved(plan)]
    if not plan.sound:
        return told
    told += diff_lines(plan.diff)
    if not plan.diff.nothing:
        told += impact_text.lines(plan.impact)
    return [*told, verdict(plan)]


def verdict(plan: PlanWords) -> str:
    """In one sentence, what comes next."""
    if not plan.sound:
        return "It does not pass its check, and cannot be activated."
    if not plan.may_come:
        return "It cannot be activated."
    if plan.diff.nothing:
        return "Nothing changes."
    return "It takes the approval of somebody else." if plan.needs_approval else "It takes no approval: nobody gains."


def diff_lines(diff: Diff) -> list[str]:
    """What is different, a line each; one alone if nothing is."""
    told = [*_capped(diff.removed, "- {}"), *_capped(diff.added, "+ {}")]
    told += [*_capped(diff.documents, "{} is changed"), *_capped(diff.cases, "cases/{} is changed")]
    return told or ["no rule, document or case is different"]


def diff_markdown(diff: Diff) -> str:
    """The rules in a block that platforms colour, the rest as a list."""
    rules = [*_capped(diff.removed, "- {}"), *_capped(diff.added, "+ {}")]
    block = [_fenced(rules)] if rules else []
    beside = [*(f"{code(name)} is changed" for name in diff.documents[:MAX_LINES])]
    beside += [f"{code(f'cases/{name}')} is changed" for name in diff.cases[:MAX_LINES]]
    left = max(len(diff.documents) - MAX_LINES, 0) + max(len(diff.cases) - MAX_LINES, 0)
    beside += [f"and {left} more files"] if left else []
    parts = [*block, *([_listed(beside)] if beside else [])]
    return "\n".join(parts) or "No rule, document or case is different.\n"


def markdown(plan: PlanWords) -> str:
    """The plan as a comment: at most `MAX_MARKDOWN` characters, however large it is."""
    parts = [f"### Change of policy against version {plan.base}\n", f"**{verdict(plan)}**\n"]
    problems = [*_checks(plan, code), *_capped(plan.refusals, "refused: {}", code), *_moved(plan)]
    if problems:
        parts.append(_listed(problems))
    if plan.sound and not plan.diff.nothing:
        parts += [diff_markdown(plan.diff), impact_text.markdown(plan.impact, _IMPACT_ROOM)]
    parts.append(f"Digest {code(plan.digest)}; {plan.cases - len(plan.failed)} of {plan.cases} cases pass.\n")
    return "\n".join(parts)


def _checks(plan: PlanWords, quoted: Quote = str) -> list[str]:
    findings = [f"{one.severity}, line {one.line}: {quoted(f'{one.message}; {one.remedy}')}" for one in plan.findings]
    cases = [
        f"case {quoted(one.name)}: {quoted(_asked(one))} was to be {one.expect}, and is not" for one in plan.failed
    ]
    return [*_capped(findings), *_capped(cases)]


def _asked(case: FailedCase) -> str:
    return f"{case.user} {case.action} {case.object}"


def _moved(plan: PlanWords) -> list[str]:
    if plan.moved is None:
        return []
    return [f"version {plan.moved.version} came into force after version {plan.base}: draft it anew"]


def _capped(told: Sequence[str], form: str = "{}", quoted: Quote = str) -> Iterator[str]:
    room = _ROOM
    for number, line in enumerate(told):
        short = line if len(line) <= _MAX_TOLD else f"{line[:_MAX_TOLD]}…"
        room -= len(short)
        if number == MAX_LINES or room < 0:
            yield f"and {len(told) - number} more"
            return
        yield form.format(quoted(short))


def _listed(told: Iterable[str]) -> str:
    return "".join(f"- {line}\n" for line in told)


def _fenced(told: Sequence[str]) -> str:
    """A block of a difference. No line of it begins with a backtick, so that none ends it."""
    return "\n".join(["```diff", *told, "```\n"])
