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


def lines(*passages: dict[str, Any], **facts: Any) -> list[str]:
    """What is printed of the documents."""
    side = {"policy_version": 1, "label_version": 1, "roles": ["role:a"]}
    decision = {"action": "chat.ask", "object": "sys:chat", "recorded": RULING, "then": RULING, "now": RULING}
    answer: dict[str, Any] = {"kind": "chat", "audit_id": "x", "time": "t", "outcome": "answered", "user": "alice"}
    answer |= {"pseudonym": "p", "then": side, "now": side, "agreement": "agrees", "basis": {}, "rules": {}}
    answer |= {"decision": {**decision, "agreement": "agrees", "changes": []}, "documents": {}, "passages": passages}
    return [line for line in told(answer | facts) if line.startswith(("document", "  then coll", "  now coll"))]


def test_passages_of_one_document_with_one_verdict_are_one_block() -> None:
    """With their number, the requirements once; another document has its own."""
    assert lines(passage("d"), passage("e"), passage("d"), passage("d")) == [
        "document d (3 passages), direct: readable then, readable now (agrees)",
        "  then coll:a: allowed by r1 (allowed)",
        "  now coll:a: allowed by r1 (allowed)",
        "document e, direct: readable then, readable now (agrees)",
        "  then coll:a: allowed by r1 (allowed)",
        "  now coll:a: allowed by r1 (allowed)",
    ]


def test_another_verdict_on_the_same_document_is_another_block() -> None:
    """Such as that of a passage of an older version, under another label."""
    found = [line for line in lines(passage("d"), passage("d", now=False), passage("d")) if line.startswith("document")]
    assert found == [
        "document d, direct: readable then, not readable now (agrees)",
        "document d (2 passages), direct: readable then, readable now (agrees)",
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
