"""What the record says of an erasure."""

from __future__ import annotations

from typing import Any

from usher.audit.deciders import ERASE_PERSON
from usher.core.approval import Proposal
from usher.ports.proposals import Item
from usher_policy.vocabulary import split_name


def event_of(item: Item) -> dict[str, Any]:
    """Who asked, who approved, under which rule, and what: pseudonyms and ids."""
    stands = item.stands
    about = {"subject": item.parts[1]} if item.kind == ERASE_PERSON else {"document": item.parts[1]}
    said = {"proposal": str(item.id), "act_kind": item.kind, "digest": stands.digest, **about}
    if not isinstance(stands, Proposal):
        return said | {"rule": "break_glass", "asked_by": _name(stands.person), "approved_by": []}
    asked = _name(stands.proposer)
    rule = "operator_and_person" if asked.startswith("operator:") else "two_people"
    return said | {"rule": rule, "asked_by": asked, "approved_by": [_name(one.approver) for one in stands.approvals]}


def _name(user: str) -> str:
    return split_name(user)[1]
