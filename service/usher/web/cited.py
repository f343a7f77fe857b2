"""A passage as clients see it beside an answer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from usher.chat_answer import Citation
from usher.core.clean import clean


def cited(citation: Citation, hosts: Collection[str]) -> dict[str, Any]:
    """`url` opens it at its place. Its title holds no link but to `hosts`."""
    passage = citation.passage
    return {
        "n": citation.n,
        "document": str(passage.document),
        "path": passage.path,
        "title": clean(passage.title, hosts),
        "chunk": str(passage.label.chunk),
        "score": citation.score,
        "url": passage_url(passage.document, passage.label.chunk),
    }


def passage_url(document: UUID, chunk: UUID) -> str:
    """Where a passage opens."""
    return f"/api/documents/{document}?passage={chunk}"
