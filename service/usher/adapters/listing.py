"""Documents in events: so many that several events name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from usher.ledger.record import Entry, EventType
from usher.ledger.shown import LEARNED
from usher_lora.lineage import Lineage

IN_ONE_EVENT: Final = 2_000
"""Documents that one event names; more take several."""


def entries(body: Mapping[str, Any], documents: Sequence[Sequence[Any]]) -> list[Entry]:
    """The `adapter` events of an act that names documents; each says which it is, of how many."""
    parts = [documents[at : at + IN_ONE_EVENT] for at in range(0, len(documents), IN_ONE_EVENT)]
    return [
        Entry(EventType.ADAPTER, body={**body, "part": number, "parts": len(parts), "documents": part})
        for number, part in enumerate(parts, 1)
    ]


def of_lineage(adapter: str, lineage: Lineage, by: str) -> list[Entry]:
    """What an adapter, by its served name, was trained on: each version of a document with its access class then."""
    body = {
        "act": LEARNED,
        "adapter": adapter,
        "by": by,
        "lineage": lineage.digest,
        "subjects": list(lineage.subjects),
    }
    return entries(body, [[str(one.document), one.version, one.access_class] for one in lineage.documents])
