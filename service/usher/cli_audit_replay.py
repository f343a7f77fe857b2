"""`usher audit replay`: one recorded exchange, decided again as of then and as of now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say, warn
from usher.cli_road import ask_operator, run
from usher.settings import read_settings

AGREES, CONTRADICTS = "agrees", "contradicts the record"


def replay(
    audit_id: Annotated[str, typer.Argument(help="The exchange, as an answer or another question names it.")],
    policy: Annotated[int | None, typer.Option(help="A policy version, instead of the one in force.")] = None,
    names: Annotated[bool, typer.Option("--names", help="People's names, paths and titles beside the ids.")] = False,
    json: Json = False,
) -> None:
    """Decide a recorded exchange again: under the policy of then and of now, with the difference rule by rule.

    Exit code 1 where deciding again does not give what was recorded. This question is itself recorded.
    """
    given = {"policy": policy, "names": "true" if names else None}
    params = {name: str(value) for name, value in given.items() if value is not None}
    answer = run(ask_operator(read_settings(), "GET", f"/operator/audit/replay/{audit_id}", params=params))
    if json:
        dump(answer)
    else:
        for line in told(answer):
            say(line)
        for problem in answer["problems"]:
            warn(f"{CONTRADICTS}: {problem}")
    raise typer.Exit(1 if answer["agreement"] == CONTRADICTS else 0)


def told(answer: Mapping[str, Any]) -> Iterator[str]:
    """A replay in words."""
    who = answer["user"] or answer["pseudonym"]
    yield f"{answer['kind']} {answer['audit_id']} by {who}, {answer['time']}: {answer['outcome'] or 'not ended'}"
    then, now = answer["then"], answer["now"]
    yield f"then: policy {then['policy_version']}, labels {then['label_version']}, as {_roles(then)}"
    yield f"now:  policy {now['policy_version']}, labels {now['label_version']}, as {_roles(now)}"
    yield f"in short: {'; '.join(_short(answer))}"
    decision = answer["decision"]
    yield f"{decision['action']} on {decision['object']}: recorded {_word(decision['recorded'])}"
    yield f"  then {_word(decision['then'])} ({_agreement(decision)}), now {_word(decision['now'])}"
    yield from _changes(decision["changes"], answer["rules"])
    yield from _documents(answer)
    yield from _rules(answer["rules"])
    yield f"deciding again as of then: {answer['agreement']}"
    yield from (f"  {name}: {words}" for name, words in answer["basis"].items())


_SHORT = {
    AGREES: "by the policy of then, all of it comes out as it was recorded",
    CONTRADICTS: "by the policy of then, it does NOT come out as it was recorded",
}


def _short(answer: Mapping[str, Any]) -> Iterator[str]:
    """What somebody wants to know who reads one line."""
    yield _SHORT.get(answer["agreement"], "by the policy of then, some of it cannot be told: see below")
    asked, may = answer["decision"]["recorded"]["allowed"], answer["decision"]["now"]["allowed"]
    yield f"asked now, it would {'still ' if asked == may else ''}be {'allowed' if may else 'denied'}"
    shown = {passage["document"] for passage in answer["passages"]}
    hidden = {passage["document"] for passage in answer["passages"] if not passage["now"]["readable"]}
    if shown:
        yield f"of {len(shown)} documents that it showed or inherited, {len(hidden)} may not be read now"


def _agreement(judged: Mapping[str, Any]) -> str:
    return "as recorded" if judged["agreement"] == AGREES else str(judged["agreement"])


def _rules(rules: Mapping[str, str]) -> Iterator[str]:
    """Each rule that is named above, in words."""
    if rules:
        yield "the rules:"
    yield from (f"  {ident}: {_rule(text)}" for ident, text in rules.items())


def _rule(text: str) -> str:
    """A line of the policy; one that is no permission as it is."""
    match text.split(", "):
        case ["p", subject, target, action, effect, condition]:
            when = "" if condition == "always" else f", when {condition}"
            return f"{subject} {'may' if effect == 'allow' else 'may not'} {action} on {target}{when}"
    return text


def _documents(answer: Mapping[str, Any]) -> Iterator[str]:
    """The passages: those of one document with one verdict together, and first what is not as it was."""
    alike: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for passage in sorted(answer["passages"], key=_sameness):
        verdict = (passage["document"], *_verdict(passage, answer["rules"]))
        alike.setdefault(verdict, []).append(passage)
    for (document, first, *more), passages in alike.items():
        name = answer["documents"].get(document)
        shown = f"{name['path']} " if name else ""
        count = f" ({len(passages)} passages)" if len(passages) > 1 else ""
        yield f"document {shown}{document}{count}, {_ways(passages)}: {first}"
        yield from more


def _sameness(passage: Mapping[str, Any]) -> int:
    """0 for what contradicts the record, and the more the less there is to look at."""
    signs = (
        passage["agreement"] == CONTRADICTS,
        passage["then"]["readable"] != passage["now"]["readable"],
        passage["agreement"] != AGREES,
        passage["changes"] or passage["required_no_more"] or passage["required_since"],
    )
    return next((rank for rank, sign in enumerate(signs) if sign), len(signs))


def _ways(passages: list[Mapping[str, Any]]) -> str:
    """How they came into the answer, each way once."""
    ways: dict[str, dict[str, None]] = {}
    for passage in passages:
        ways.setdefault(passage["how"], {}).update({passage["via"]: None} if passage["via"] else {})
    return ", ".join(how + _by_way_of(list(via)) for how, via in ways.items())


def _by_way_of(via: list[str]) -> str:
    if not via:
        return ""
    return f" by way of {via[0] if len(via) == 1 else f'{len(via)} exchanges'}"


def _verdict(passage: Mapping[str, Any], rules: Mapping[str, str]) -> Iterator[str]:
    yield f"{_readable(passage['then'])} then, {_readable(passage['now'])} now ({_agreement(passage)})"
    for side in ("then", "now"):
        for requirement, ruling in passage[side]["requirements"].items():
            yield f"  {side} {requirement}: {_word(ruling)}"
    yield from (f"  required no more: {name}" for name in passage["required_no_more"])
    yield from (f"  required since: {name}" for name in passage["required_since"])
    yield from _changes(passage["changes"], rules)


def _changes(changes: list[dict[str, Any]], rules: Mapping[str, str]) -> Iterator[str]:
    for change in changes:
        when = "then, not now" if change["then"] else "now, not then"
        yield f"  rule {change['rule']} {when}: {change['why']} [{_rule(rules.get(change['rule'], change['target']))}]"


def _word(ruling: Mapping[str, Any]) -> str:
    by = f" by {', '.join(ruling['rules'])}" if ruling["rules"] else ""
    return f"{'allowed' if ruling['allowed'] else 'denied'}{by} ({ruling['reason']})"


def _readable(side: Mapping[str, Any]) -> str:
    return "readable" if side["readable"] else "not readable"


def _roles(side: Mapping[str, Any]) -> str:
    return ", ".join(side["roles"] or ()) or "no role"
