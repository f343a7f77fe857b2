"""The flags of a vLLM server that serves these adapters, as its `--config` file has them. Values and decisions only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Highest ranks that vLLM can be told."""
SLOTS: Final = 8
"""Adapters in one step of the engine. More cost every request that uses one, also where few are in use."""
SPARE: Final = 4
"""Adapters in CPU memory beyond those of now, where more are loaded while the server runs."""


@dataclass(frozen=True, slots=True)
class ToServe:
    """A published adapter; `path` is where the server finds it, `rank` its highest."""

    name: str
    path: str
    rank: int


def serve_config(
    base: str, context_tokens: int, max_rank: int, adapters: Sequence[ToServe], *, loads: bool
) -> dict[str, Any]:
    """With `loads` the server gets its adapters while it runs, of up to `max_rank`; else those that are published now
    are named here, and the rank is no higher than theirs: what is reserved for it costs, used or not."""
    named = sorted(adapters, key=lambda one: one.name)
    highest = max([one.rank for one in named], default=1)
    config: dict[str, Any] = {
        "served-model-name": [base],
        "max-model-len": context_tokens,
        "enable-prefix-caching": True,
        "enable-prompt-tokens-details": True,
        "disable-uvicorn-access-log": True,
        "middleware": ["guard.Guard"],
    }
    if not named and not loads:
        return config
    config |= {
        "enable-lora": True,
        "max-loras": SLOTS if loads else min(SLOTS, len(named)),
        "max-cpu-loras": max(SLOTS, len(named) + (SPARE if loads else 0)),
        "max-lora-rank": allowed_rank(max(max_rank, highest) if loads else highest),
    }
    if not loads:
        modules = [{"name": one.name, "path": one.path, "base_model_name": base} for one in named]
        config["lora-modules"] = [json.dumps(one) for one in modules]
    return config


def allowed_rank(rank: int) -> int:
    """The smallest rank that vLLM can be told and that is not below this one."""
    return next(one for one in RANKS if one >= rank)
