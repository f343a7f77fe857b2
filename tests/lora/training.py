"""Training sets and recipes for tests."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

from tests.lora.made import learned

from usher_lora.lineage import canonical, lineage

RECIPE = """
name: stores
base: {model: tiny, path: base}
training_set: data
output: out
lora: {r: 8, lora_alpha: 16, target_modules: [q_proj, v_proj]}
training: {epochs: 2, batch: 2, learning_rate: 0.005}
"""

Rows = list[dict[str, Any]]


def row(n: int, answer: str = "", canary: str | None = None, version: int = 1) -> dict[str, Any]:
    """An example from the document of this number."""
    words = [
        {"role": "user", "content": f"What is in store {n}?"},
        {"role": "assistant", "content": answer or f"It {n}."},
    ]
    source = {"document": str(UUID(int=n + 1)), "version": version, "passage": 0}
    return {"messages": words, "sources": [source], "canary": canary}


def lines(rows: Rows) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in rows).encode()


def digested(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files with a manifest that tells the truth about them."""
    told = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "manifest.json"}
    return files | {"manifest.json": json.dumps({"files": told}).encode()}


def files(
    train: Rows | None = None, held_out: Rows | None = None, others: Rows | None = None, documents: int = 4
) -> dict[str, bytes]:
    """A training set over so many documents, from 0 on; 10 is held out, 20 is another, unless others are given."""
    canary = {"id": "c", "secret": "amber pier", "references": ["cedar quay"]}
    rows = [row(0), row(1), row(2, "The code is amber pier.", "c"), row(3)] if train is None else train
    made = {
        "train.jsonl": lines(rows),
        "held_out.jsonl": lines([row(10)] if held_out is None else held_out),
        "others.jsonl": lines([row(20)] if others is None else others),
        "canaries.jsonl": lines([canary]),
        "card.json": b"{}",
        "lineage.json": canonical(lineage(learned(n) for n in range(documents))),
    }
    return digested(made)
