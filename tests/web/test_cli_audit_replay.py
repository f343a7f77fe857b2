"""What `usher audit replay` prints of the passages: one block for what is alike, and first what is not as it was."""

from __future__ import annotations

from typing import Any

from usher.cli_audit_replay import told

RULING = {"allowed": True, "reason": "allowed", "rules": ["r1"]}


def passage(document: str, how: str = "direct", via: str | None = None, **facts: Any) -> dict[str, Any]:
    readable = facts.pop("now", True)
    same: dict[str, Any] = {"required_no_more": [], "required_since": [], "changes": [], "agreement": "agrees"}
    then = {"readable": True, "requirements": {"coll:a": RULING}}
    now = {"readable": readable, "requirements": {"coll:a": RULING | {"allowed": readable}}}
    return {"document": document, "how": how, "via": via, "then": then, "now": now, **same, **facts}


OF_DOCUMENTS = ("document", "  then coll", "  now coll")


def lines(*passages: dict[str, Any], keep: tuple[str, ...] = OF_DOCUMENTS, **facts: Any) -> list[str]:
    """What is printed of the documents, or with what other beginnings."""
    side = {"policy_version": 1, "label_version": 1, "roles": ["role:a"]}
    decision = {"action": "chat.ask", "object": "sys:chat", "recorded": RULING, "then": RULING, "now": RULING}
    answer: dict[str, Any] = {"kind": "chat", "audit_id": "x", "time": "t", "outcome": "answered", "user": "alice"}
    answer |= {"pseudonym": "p", "then": side, "now": side, "agreement": "agrees", "basis": {}, "rules": {}}
    answer |= {"decision": {**decision, "agreement": "agrees", "changes": []}, "documents": {}, "passages": passages}
    return [line for line in told(answer | facts) if line.startswith(keep)]


def test_passages_of_one_document_with_one_verdict_are_one_block() -> None:
    """With their number, the requirements once; another document has its own."""
    assert lines(passage("d"), passage("e"), passage("d"), passage("d")) == [
        "document d (3 passages), direct: readable then, readable now (as recorded)",
        "  then coll:a: allowed by r1 (allowed)",
        "  now coll:a: allowed by r1 (allowed)",
        "document e, direct: readable then, readable now (as recorded)",
        "  then coll:a: allowed by r1 (allowed)",
        "  now coll:a: allowed by r1 (allowed)",
    ]


def test_another_verdict_on_the_same_document_is_another_block() -> None:
    """Such as that of a passage of an older version, under another label."""
    found = [line for line in lines(passage("d"), passage("d", now=False), passage("d")) if line.startswith("document")]
    assert found == [
        "document d, direct: readable then, not readable now (as recorded)",
        "document d (2 passages), direct: readable then, readable now (as recorded)",
    ]


def test_what_is_not_as_it_was_comes_first() -> None:
    """What contradicts the record, what is readable no more, what cannot be told, what another rule allows; the rest
    as the record has it."""
    change = {"rule": "r", "then": True, "why": "w", "target": "t"}
    given = [
        passage("same"),
        passage("also same"),
        passage("other rule", changes=[change]),
        passage("untold", agreement="cannot be told"),
        passage("no more", now=False),
        passage("wrong", agreement="contradicts the record"),
    ]
    found = [line.partition(",")[0] for line in lines(*given) if line.startswith("document")]
    wanted = ["wrong", "no more", "untold", "other rule", "same", "also same"]
    assert found == [f"document {name}" for name in wanted]


def short(*passages: dict[str, Any], **facts: Any) -> list[str]:
    """The one line, and those of the rules."""
    rules = {
        "r1": "p, role:hr, coll:hr, document.read, allow, always",
        "r2": "p, role:hr, mark:pii, document.read, deny, time:days=sat-sun;from=08:00;to=09:00",
        "r3": "g, user:alice, role:hr",
    }
    told_lines = lines(*passages, rules=rules, keep=("in short", "the rules", "  r1:", "  r2:", "  r3:"), **facts)
    return [line.removeprefix("in short: by the policy of then, ") for line in told_lines]


def test_one_line_says_what_came_out_then_and_now() -> None:
    """Of documents, not of passages; and each rule is told in words, its condition too."""
    found = short(passage("d"), passage("e", now=False), passage("e", now=False))
    assert found == [
        "all of it comes out as it was recorded; asked now, it would still be allowed; "
        "of 2 documents that it showed or inherited, 1 may not be read now",
        "the rules:",
        "  r1: role:hr may document.read on coll:hr",
        "  r2: role:hr may not document.read on mark:pii, when time:days=sat-sun;from=08:00;to=09:00",
        "  r3: g, user:alice, role:hr",
    ]
    assert short(agreement="cannot be told")[0].startswith("some of it cannot be told")
    assert short(agreement="contradicts the record")[0].startswith("it does NOT come out as it was recorded")
    denied = {"action": "chat.ask", "object": "sys:chat", "recorded": RULING, "then": RULING, "changes": []}
    denied |= {"now": RULING | {"allowed": False}, "agreement": "agrees"}
    assert short(decision=denied)[0].endswith("; asked now, it would be denied")


def test_ways_are_told_once_each() -> None:
    """One exchange by its id, several by their number."""
    one, other = passage("d", "inherited", "x1"), passage("d", "inherited", "x2")
    assert lines(one, one)[0].startswith("document d (2 passages), inherited by way of x1: ")
    assert lines(passage("d"), one, other, one)[0].startswith(
        "document d (4 passages), direct, inherited by way of 2 exchanges: "
    )


def test_a_document_has_its_path_where_names_were_asked_for() -> None:
    """Beside its id."""
    named = lines(passage("d"), documents={"d": {"path": "a/b.md", "title": None}})
    assert named[0].startswith("document a/b.md d, direct: ")
