"""Lint: every trap of a rule file is rejected, with its line and the remedy."""

from __future__ import annotations

import time
import tracemalloc
from itertools import pairwise

import pytest

from usher_policy.lint import MAX_FINDINGS, MAX_RULES, Finding, lint
from usher_policy.rules import RuleFileError, parse_rules

GOOD = """\
# Who may read what.
p, role:finance, coll:finance, document.read, allow, always

p, group:Temps and others, mark:pii, document.read, deny, always
  # an indented comment
p, role:auditor, sys:audit, audit.read, allow, time:days=mon-fri;from=09:00;to=17:00;zone=Europe/Berlin
p, role:auditor, coll:finance, audit.identify, allow, purpose:is=audit
p, role:hr-admin, role:hr, policy.propose, allow, always
p, user:alice, sys:policy, policy.approve, allow, always
p, group:a%2Cb, adapter:support, adapter.use, allow, always
p, role:müller, coll:büro/übersicht, document.ingest, allow, always
g, user:alice, role:finance
g, group:staff, role:auditor
g, role:auditor, role:finance
"""


def rule(sub: str = "role:a", obj: str = "coll:a", act: str = "document.read", eft: str = "allow") -> str:
    return f"p, {sub}, {obj}, {act}, {eft}, always"


def condition(cond: str) -> str:
    return f"p, role:a, coll:a, document.read, allow, {cond}"


def chain(links: int, first: str = "role:c0") -> str:
    names = [first, *(f"role:c{place}" for place in range(1, links + 1))]
    return "\n".join(f"g, {low}, {high}" for low, high in pairwise(names))


TRAPS: dict[str, tuple[str, int, str, str]] = {
    # trap: (file, line, part of the message, part of the remedy)
    "ten links in a row": (chain(10), 1, "chain of 10 role links", "more directly"),
    "ten links from a user": (chain(10, "user:u"), 1, "beyond the 9", "more directly"),
    "nine links from a group": (chain(9, "group:g"), 1, "beyond the 8", "more directly"),
    "deny beyond the ninth link": (rule("role:c10", eft="deny") + f"\n{chain(10)}", 2, "beyond the 9", "be ignored"),
    "circle of roles": ("g, role:a, role:b\ng, role:b, role:a", 2, "in a circle", "delete one link"),
    "role of itself": ("g, role:a, role:a", 1, "in a circle", "delete one link"),
    "two circles": ("g, role:a, role:b\ng, role:b, role:a\ng, role:c, role:c", 3, "in a circle", "delete one link"),
    "long circle": (chain(40) + "\ng, role:c40, role:c0", 41, "in a circle", "delete one link"),
    "Deny": (rule(eft="Deny"), 1, "'Deny' would be ignored", "allow or deny"),
    "empty effect": (rule(eft=""), 1, "effect", "allow or deny"),
    "duplicate rule": (f"{rule()}\n#\n{rule().replace(' ', '', 1)}", 3, "same rule as line 1", "delete one"),
    "duplicate link": ("g, user:a, role:a\ng,user:a,role:a", 2, "same rule as line 1", "delete one"),
    "four values": ("p, role:a, coll:a, document.read, allow", 1, "has 5 values, this one 4", "p, subject, object"),
    "six values": (rule() + ", x", 1, "has 5 values, this one 6", "p, subject, object"),
    "link of three": ("g, user:a, role:a, domain", 1, "has 2 values, this one 3", "g, member, role"),
    "comma in a name": (rule("group:a,b"), 1, "this one 6", "%2C"),
    "quote in a name": (rule('role:"hr"'), 1, "written form", "role:%22hr%22"),
    "apostrophe in a name": (rule("user:o'brien"), 1, "written form", "user:o%27brien"),
    "hash in a name": (rule("role:c#"), 1, "begins no comment", "%23"),
    "comment after a rule": (rule() + "  # note", 1, "begins no comment", "a line of its own"),
    "newline in a name": ("p, role:a\nb, coll:a, document.read, allow, always", 1, "this one 1", "p, subject, object"),
    "carriage return in a name": (rule("role:a\rb"), 1, "written form", "role:a%0Db"),
    "control character": (rule("role:a\x00b"), 1, "written form", "role:a%00b"),
    "line separator": (rule("role:a\u2028b"), 1, "written form", "%E2%80%A8"),
    "invisible character": (rule("role:a\u200bb"), 1, "written form", "role:a%E2%80%8Bb"),
    "text that runs backwards": (rule("role:\u202eh"), 1, "written form", "%E2%80%AE"),
    "space that is none": (rule("role:a\u00a0b"), 1, "written form", "role:a%C2%A0b"),
    "half a character": (rule("role:a\ud800"), 1, "half of a surrogate pair", "write valid Unicode"),
    "brackets": (rule("role:a[b"), 1, "written form", "role:a%5Bb"),
    "bare percent sign": (rule("role:100%"), 1, "written form", "role:100%25"),
    "needless percent code": (rule("user:%61lice"), 1, "written form", "user:alice"),
    "lower-case percent code": (rule("user:a%2cb"), 1, "written form", "user:a%2Cb"),
    "percent codes that are no text": (rule("user:a%FF"), 1, "not UTF-8", "UTF-8"),
    "unknown action": (rule(act="document.write"), 1, "'document.write' is unknown", "document.read"),
    "action of every kind": (rule(act="document.*"), 1, "'document.*' is unknown", "document.read"),
    "empty action": (rule(act=""), 1, "is unknown", "document.read"),
    "action in capitals": (rule(act="Document.Read"), 1, "is unknown", "document.read"),
    "reading a system object": (rule(obj="sys:chat"), 1, "does not belong to", "coll or readers or mark"),
    "ingesting a marking": (rule(obj="mark:pii", act="document.ingest"), 1, "does not belong to", "coll"),
    "using a collection": (rule(act="adapter.use"), 1, "does not belong to", "adapter"),
    "chatting with the policy": (rule(obj="sys:policy", act="chat.ask"), 1, "does not belong to", "sys:chat"),
    "role as an object": (rule(obj="role:hr"), 1, "does not belong to", "coll or readers or mark"),
    "user as an object": (rule(obj="user:bob"), 1, "wrong kind", "coll:"),
    "unknown system object": (rule(obj="sys:root", act="chat.ask"), 1, "there is no 'sys:root'", "sys:chat"),
    "reader list without digest": (rule(obj="readers:all"), 1, "without its digest", "64"),
    "pattern": (rule(obj="coll:finance/*"), 1, "written form", "%2A"),
    "empty segment": (rule(obj="coll:a//b"), 1, "segment", "finance/payroll"),
    "dotted segment": (rule(obj="coll:a/../b"), 1, "segment", "finance/payroll"),
    "trailing slash": (rule(obj="coll:a/"), 1, "segment", "finance/payroll"),
    "unknown condition": (condition("office_hours"), 1, "condition", "always"),
    "empty condition": (condition(""), 1, "condition", "always"),
    "eval as condition": (condition("eval(r.sub)"), 1, "condition", "always"),
    "always with values": (condition("always:x=1"), 1, "condition", "write always"),
    "unknown day": (condition("time:days=mo-fr;from=09:00;to=17:00;zone=Europe/Berlin"), 1, "condition", "'mo'"),
    "time of no day": (condition("time:days=mon;from=9:00;to=17:00;zone=Europe/Berlin"), 1, "condition", "HH:MM"),
    "window over midnight": (condition("time:days=mon;from=22:00;to=06:00;zone=UTC"), 1, "condition", "two rules"),
    "unknown zone": (condition("time:days=mon;from=09:00;to=17:00;zone=Mars/Base"), 1, "condition", "IANA"),
    "zone that is a path": (condition("time:days=mon;from=09:00;to=17:00;zone=../passwd"), 1, "condition", "IANA"),
    "missing zone": (condition("time:days=mon;from=09:00;to=17:00"), 1, "condition", "zone="),
    "key twice": (condition("purpose:is=audit;is=hr"), 1, "condition", "each once"),
    "purpose without value": (condition("purpose:is="), 1, "condition", "such as audit"),
    "matching function": (rule("role:keyMatch2"), 1, "matching function", "rename"),
    "regular expression": (rule("role:regexMatch"), 1, "matching function", "rename"),
    "encoded eval": (rule("role:eval%28x%29"), 1, "matching function", "rename"),
    "g2 line": ("g2, coll:a/b, coll:a", 1, "derived", "delete the line"),
    "subject without kind": (rule("alice"), 1, "has no kind", "user:alice"),
    "unknown kind": (rule("team:hr"), 1, "no kind of name", "role"),
    "kind in capitals": (rule("Role:hr"), 1, "no kind of name", "role"),
    "empty name": (rule("role:"), 1, "0 characters", "1 to 200"),
    "collection as a subject": (rule("coll:a"), 1, "wrong kind", "role:"),
    "role given a user": ("g, role:hr, user:alice", 1, "wrong way", "g, user:alice, role:hr"),
    "role given a group": ("g, role:hr, group:x", 1, "wrong way", "g, group:x, role:hr"),
    "group in a group": ("g, group:a, group:b", 1, "identity provider", "role:"),
    "user in a group": ("g, user:a, group:b", 1, "identity provider", "role:"),
    "collection link": ("g, coll:a/b, coll:a", 1, "wrong kind", "member is one of"),
    "line of another kind": (rule().upper(), 1, "ignored without a word", "begin it"),
    "byte order mark": ("\ufeff" + rule(), 1, "ignored without a word", "without BOM"),
    "decomposed letters": (rule("role:cafe\u0301"), 1, "written form", "role:cafe%CC%81"),
    "two alphabets in one name": (rule("role:\u0440aypal"), 1, "Cyrillic and Latin", "one alphabet"),
    "a twin in another alphabet": (f"{rule('role:cop')}\n{rule('role:сор')}", 2, "another alphabet", "rename"),  # noqa: RUF001  (the trap)
    "201 characters": (rule("role:" + "x" * 201), 1, "201 characters", "1 to 200"),
    "more commas than a line can have": (rule() + "," * 5000, 1, "longer than 4096", "200"),
    "a line without end": (rule("x" * 5000), 1, "longer than 4096", "200"),
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_an_error_with_its_line_and_remedy(trap: str) -> None:
    """Lint rejects the trap where it stands and says what to do, and the file is not read."""
    text, line, message, remedy = TRAPS[trap]
    errors = [f for f in lint(text) if f.severity == "error"]
    assert any(f.line == line and message in f.message and remedy in f.remedy for f in errors), errors
    with pytest.raises(RuleFileError) as raised:
        parse_rules(text)
    assert list(raised.value.findings) == errors


def test_a_good_file_has_no_findings() -> None:
    """Comments, empty lines, spaces in names, every kind of object and letters of one alphabet pass."""
    assert lint(GOOD) == []
    assert lint("") == []
    assert lint(GOOD.replace("\n", "\r\n")) == []


@pytest.mark.parametrize("file", [chain(9), chain(9, "user:u"), chain(8, "group:g")])
def test_the_longest_followed_chain_passes(file: str) -> None:
    """Nine links in a row are followed: eight from a group, since the user's link to it is the ninth."""
    assert lint(file) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("role:HR", "role:hr"), ("role:a0", "role:ao"), ("role:bill", "role:bi11"), ("role:modern", "role:modem")],
)
def test_names_that_look_alike_are_a_warning(one: str, other: str) -> None:
    """A look-alike in the same alphabet may be meant, so the file is read and a reviewer is told."""
    text = f"{rule(one)}\n{rule(other)}\n{rule(other, act='document.ingest')}"
    assert [(f.line, f.severity) for f in lint(text)] == [(2, "warning")]
    assert len(parse_rules(text).permissions) == 3


def test_every_error_of_a_line_is_found() -> None:
    """One line with four mistakes gives four findings, so that one round of mending is enough."""
    assert len(lint("p, alice, coll:a//b, document.write, Allow, always")) == 4


def test_reading_stops_after_many_errors() -> None:
    """A million lines of nonsense are answered soon, by a bounded list that says that it is one."""
    findings = lint("\n".join(["nonsense"] * 1_000_000))
    assert len(findings) == MAX_FINDINGS + 1
    assert "reading stopped here" in findings[-1].message
    assert findings[-1].line == MAX_FINDINGS + 1


def test_one_endless_line_is_answered_soon() -> None:
    """Ten million commas are one finding, and are not taken apart one by one."""
    tracemalloc.start()
    try:
        (finding,) = lint("p" + "," * 10_000_000)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert finding.line == 1


def test_circles_are_bounded_too() -> None:
    """Each is an error of its own, up to the last that is shown."""
    findings = lint("\n".join(f"g, role:x{n}, role:x{n}" for n in range(5_000)))
    assert len(findings) == MAX_FINDINGS + 1
    assert all("in a circle" in finding.message for finding in findings[:MAX_FINDINGS])


def test_warnings_are_bounded_too() -> None:
    """However many look-alikes there are, the list of warnings ends and says so."""
    text = "\n".join(rule(f"role:x{number}{case}") for number in range(150) for case in "aA")
    findings = lint(text)
    assert len(findings) == MAX_FINDINGS + 1
    assert findings[-1] == Finding(
        findings[-2].line, f"only the first {MAX_FINDINGS} warnings are shown", "mend them first", "warning"
    )


def test_a_file_of_too_many_rules_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beyond the limit is refused at the first rule beyond it, whatever follows."""
    monkeypatch.setattr("usher_policy.lint.MAX_RULES", 100)
    text = "\n".join(rule(f"role:x{number}") for number in range(110))
    assert [f.line for f in lint(text) if f.severity == "error"] == [101]
    assert MAX_RULES == 1_000_000


@pytest.mark.slow
def test_a_million_lines_of_nonsense_are_answered_soon() -> None:
    """Reading stops at the hundredth error."""
    began = time.perf_counter()
    assert len(lint("nonsense, " * 3 + "\n" + "q, x\n" * 1_000_000)) == MAX_FINDINGS + 1
    assert time.perf_counter() - began < 2


def test_a_long_chain_of_links_needs_no_deep_stack() -> None:
    """Three thousand links in a row are a finding, not a crash."""
    assert any("beyond" in finding.message for finding in lint(chain(3_000)))
