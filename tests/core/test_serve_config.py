"""The flags of a model server for what is published."""

from __future__ import annotations

import json
from typing import Any

import pytest

from usher.core.serve_config import RANKS, ToServe, allowed_rank, serve_config


def config(*ranks: int, loads: bool = False) -> dict[str, Any]:
    served = [ToServe(f"a{n}@sha256:{n:064d}", f"/adapters/{n:064d}", rank) for n, rank in enumerate(ranks)]
    return serve_config("base", 8192, 64, served[::-1], loads=loads)


def test_each_adapter_is_named_with_its_path() -> None:
    """In order, so that the same adapters give the same file."""
    named = [json.loads(one) for one in config(8, 16)["lora-modules"]]
    assert [one["path"] for one in named] == [f"/adapters/{n:064d}" for n in range(2)]
    assert {one["base_model_name"] for one in named} == {"base"}


def test_no_more_is_reserved_than_is_used() -> None:
    """Slots and rank cost every answer of an adapter; room in CPU memory costs nobody."""
    few, many = config(8, 12), config(*[8] * 30)
    assert (few["max-loras"], few["max-lora-rank"], few["max-cpu-loras"]) == (2, 16, 8)
    assert (many["max-loras"], many["max-lora-rank"], many["max-cpu-loras"]) == (8, 8, 30)


def test_what_is_loaded_later_has_room() -> None:
    """Up to the rank that the registry takes; nothing is named, since all is loaded."""
    made = config(*[8] * 30, loads=True)
    assert (made["max-loras"], made["max-lora-rank"], made["max-cpu-loras"]) == (8, 64, 34)
    assert "lora-modules" not in made


def test_without_adapters_there_is_nothing_of_them() -> None:
    """But the guard is there always."""
    made = config()
    assert "enable-lora" not in made
    assert made["middleware"] == ["guard.Guard"]


@pytest.mark.parametrize("loads", [True, False])
def test_nothing_writes_prompts_down(loads: bool) -> None:
    """No flag for logs of requests or answers, whatever is published."""
    assert not [flag for flag in config(8, loads=loads) if "log" in flag and flag != "disable-uvicorn-access-log"]


@pytest.mark.parametrize(("rank", "told"), [(1, 1), (2, 8), (16, 16), (17, 32), (65, 128), (512, 512)])
def test_ranks_are_those_that_the_server_knows(rank: int, told: int) -> None:
    """The smallest that is enough."""
    assert allowed_rank(rank) == told
    assert told in RANKS
