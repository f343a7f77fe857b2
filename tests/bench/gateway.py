"""What Usher adds to a model server, beside LiteLLM's proxy and beside the bare server, in one run.

    make bench-gateway    (options: --rounds N, --litellm FOLDER)

A model server in a process of its own streams fifty tokens to each question, one every ten milliseconds. It is asked
bare, through Usher (policy, ledger on disk, everything recorded before it is shown, answered by an adapter) and through
LiteLLM's proxy (no database), by turns. `burst_…`: all fifty tokens at once; `retrieve_…`: Usher answers by retrieval;
`…_one_…`: one request at a time; `…_leading_space_…`: tokens begin with their space, so that Usher holds the first word
back until the second token ends it. Then how soon an adapter is quarantined, what judging a thousand costs, and what
one that is trained here gives away. The last line is `RESULT {json}` with every figure by name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import gateway_eligibility
import gateway_leaks
import gateway_quarantine
import gateway_servers as servers
from gateway_load import Seen, Target, added, asked
from gateway_upstream import PACE, TOKENS

IN_FLIGHT = 16
REQUESTS = {"upstream": 160, "usher": 160, "usher_retrieve": 160, "litellm": 64}
"""In one round of one server."""
WARM = 24
"""Requests of each server before any is counted: LiteLLM's first ten take up to two seconds."""
Figures = dict[str, float]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--litellm", type=Path, default=servers.ROOT / ".venv-litellm")
    given = options.parse_args()
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        figures |= told(streams(Path(folder), given.litellm, given.rounds))
        figures |= told(gateway_quarantine.figures(Path(folder) / "quarantine"))
        figures |= told(gateway_eligibility.figures())
        figures |= told(gateway_leaks.figures(Path(folder) / "leaks"))
    print("RESULT " + json.dumps(figures))


def told(figures: Figures) -> Figures:
    """The figures, printed as they come."""
    print("  ".join(f"{name}={value}" for name, value in figures.items()), flush=True)
    return figures


def streams(folder: Path, environment: Path, rounds: int) -> Figures:
    """What each server adds to the first token, and how many streamed answers it gives for a second of one core."""
    with ExitStack() as stack:
        model = stack.enter_context(servers.upstream())
        usher = stack.enter_context(servers.usher(folder / "usher", model, adapter=True))
        retrieve = stack.enter_context(servers.usher(folder / "retrieve", model, adapter=False))
        lite = stack.enter_context(servers.litellm(environment, folder / "litellm", model))
        every = (model, usher, lite)
        many = by_turns(every, IN_FLIGHT, rounds, REQUESTS)
        one = by_turns(every, 1, rounds, dict.fromkeys(REQUESTS, 12))
        apart = by_turns(every, IN_FLIGHT, rounds, REQUESTS, spread=PACE * TOKENS)
        passages = by_turns((model, retrieve), IN_FLIGHT, 1, REQUESTS)
        servers.set_pace(model, PACE, leading=True)
        leading = by_turns((model, usher), IN_FLIGHT, 1, REQUESTS)
        servers.set_pace(model, 0.0, leading=True)
        burst = by_turns((usher, lite), IN_FLIGHT, 1, REQUESTS)
    return {
        **added("added_ttft", many["usher"], many["upstream"]),
        **added("added_ttft_one", one["usher"], one["upstream"]),
        **added("added_ttft_apart", apart["usher"], apart["upstream"]),
        **added("litellm_added_ttft_apart", apart["litellm"], apart["upstream"]),
        **added("added_ttft_leading_space", leading["usher"], leading["upstream"]),
        **added("litellm_added_ttft", many["litellm"], many["upstream"]),
        **added("litellm_added_ttft_one", one["litellm"], one["upstream"]),
        "usher_requests_per_core": round(many["usher"].per_core, 1),
        "litellm_requests_per_core": round(many["litellm"].per_core, 1),
        "upstream_requests_per_core": round(many["upstream"].per_core, 1),
        "vs_litellm_requests_per_core": round(many["usher"].per_core / many["litellm"].per_core, 2),
        "burst_usher_requests_per_core": round(burst["usher"].per_core, 1),
        "burst_litellm_requests_per_core": round(burst["litellm"].per_core, 1),
        "burst_vs_litellm_requests_per_core": round(burst["usher"].per_core / burst["litellm"].per_core, 2),
        "retrieve_requests_per_core": round(passages["usher_retrieve"].per_core, 1),
        **added("retrieve_added_ttft", passages["usher_retrieve"], passages["upstream"]),
        "usher_requests_per_second": round(many["usher"].requests / many["usher"].seconds, 1),
        "litellm_requests_per_second": round(many["litellm"].requests / many["litellm"].seconds, 1),
    }


def by_turns(
    targets: tuple[Target, ...], in_flight: int, rounds: int, requests: dict[str, int], spread: float = 0.0
) -> dict[str, Seen]:
    """What was seen of each, one round of each after the other; clients begin within `spread` seconds."""
    seen = {target.name: Seen() for target in targets}
    for target in targets:
        asyncio.run(asked(target, in_flight, WARM))
    for _ in range(rounds):
        for target in targets:
            seen[target.name] += asyncio.run(asked(target, in_flight, requests[target.name], spread))
    return seen


if __name__ == "__main__":
    main()
