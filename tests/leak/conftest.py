"""A house over the real model, which is asked once for each text."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import pytest

from usher import app
from usher.backends.embed_onnx import OnnxEmbedder


class Remembering(OnnxEmbedder):
    """The real embedder: equal texts give equal bytes, so what it said of one is what it would say again."""

    @cached_property
    def _embed_one(self) -> Any:
        return lru_cache(None)(super()._embed_one)

    @cached_property
    def _encode_one(self) -> Any:
        return lru_cache(None)(super()._encode_one)


@pytest.fixture(autouse=True)
def _each_text_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve people ask the same questions, and are quoted from the same sentences."""
    monkeypatch.setattr(app, "OnnxEmbedder", Remembering)
