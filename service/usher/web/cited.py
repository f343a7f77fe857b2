"""A passage as clients see it beside an answer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

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
        "url": f"/api/documents/{passage.document}?passage={passage.label.chunk}",
    }
