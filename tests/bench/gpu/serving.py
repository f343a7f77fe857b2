"""Usher's own share before a model server on a GPU: tokens a second through Usher against straight to vLLM.

    make bench-gpu SERVER=PORT MODEL=FOLDER    (as the README beside this file says; vLLM is running already)

Adapters of random weights in the model's shape, first one, then eight, then thirty-two, are taken on by a new Usher,
loaded by vLLM and asked by turns, straight and through Usher: each client by one adapter, with the same prompts and as
many tokens at most. The last line is `RESULT {json}`. Without a server nothing is measured, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import gateway_servers as servers
import httpx
import numpy as np
from gateway_adapter import BASE
from gateway_load import Seen, Target, added, asked
from safetensors.numpy import save
from tests.lora.adapters import config

from usher_lora.manifest import CONFIG, WEIGHTS
from usher_lora.words import SYSTEM

RANK, MODULES = 8, ("q_proj", "v_proj")
ADAPTERS, ROUNDS = (1, 8, 32), 3
LENGTHS = (128, 32, 224, 96, 160, 64, 192)
"""Tokens of answers, at most, by turns: those of one length would end all at once, and the next begin all at once."""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", default="", help="vLLM's, on this machine")
    options.add_argument("--model", default="", help="the folder with the model's config.json")
    options.add_argument("--in-flight", type=int, default=64)
    options.add_argument("--requests", type=int, default=256, help="of one round of one server")
    options.add_argument("--adapters", type=int, nargs="+", default=ADAPTERS)
    options.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="tokens of answers, by turns")
    given = options.parse_args()
    if not given.port or not given.model:
        print("DID NOT RUN: no model server on a GPU was named (SERVER=PORT MODEL=FOLDER). Nothing was measured.")
        return 1
    shape = json.loads(Path(given.model, "config.json").read_text())
    more = {"temperature": 0, "stream_options": {"include_usage": True}}
    before = [{"role": "system", "content": SYSTEM}]
    bare = Target("upstream", int(given.port), BASE, ["none"], more=more, before=before, lengths=given.lengths)
    found: dict[str, float] = {}
    for count in given.adapters:
        with tempfile.TemporaryDirectory() as folder:
            seen = by_turns(Path(folder), bare, [adapter_files(shape, n) for n in range(count)], given)
        found |= figures(count, *seen)
        print(json.dumps(found), flush=True)
    print("RESULT " + json.dumps(found))
    return 0


def by_turns(
    folder: Path, bare: Target, files: Sequence[dict[str, bytes]], given: argparse.Namespace
) -> tuple[Seen, Seen]:
    """What was seen straight and through Usher, a round of each after the other; the first of each is not counted."""
    others = adapters_of(bare)
    with servers.usher(folder, bare, adapter=True, files=files) as usher:
        targets = (
            replace(bare, models=sorted(adapters_of(bare) - others)),
            replace(usher, more=bare.more, lengths=bare.lengths),
        )
        if len(targets[0].models) != len(files):
            raise SystemExit(f"vLLM has {len(targets[0].models)} adapters of {len(files)}: is --max-cpu-loras enough?")
        seen = (Seen(), Seen())
        for turn in range(ROUNDS + 1):
            for target, so_far in zip(targets, seen, strict=True):
                told = asyncio.run(asked(target, given.in_flight, given.requests))
                if turn:
                    so_far += told
    return seen


def figures(count: int, straight: Seen, through: Seen) -> dict[str, float]:
    """`through_usher_share`: output tokens a second through Usher of those straight to vLLM."""
    rates = [seen.tokens / seen.seconds for seen in (straight, through)]
    return {
        f"straight_tokens_per_second_{count}": round(rates[0], 1),
        f"usher_tokens_per_second_{count}": round(rates[1], 1),
        f"through_usher_share_{count}": round(rates[1] / rates[0], 3),
        f"tokens_per_answer_{count}": round(straight.tokens / straight.requests, 1),
        f"usher_tokens_per_answer_{count}": round(through.tokens / through.requests, 1),
        f"usher_cpu_ms_per_answer_{count}": round(1000 * through.cpu / through.requests, 2),
        f"usher_cpu_share_of_a_core_{count}": round(through.cpu / through.seconds, 3),
        **added(f"gpu_added_ttft_{count}", through, straight),
    }


def adapters_of(server: Target) -> set[str]:
    """Those that Usher had it load."""
    listed = httpx.get(f"http://127.0.0.1:{server.port}/v1/models").json()["data"]
    return {str(one["id"]) for one in listed if one.get("parent") == BASE}


def adapter_files(shape: dict[str, int], seed: int) -> dict[str, bytes]:
    """A LoRA of small random weights in the shape of a Llama's attention."""
    chance, hidden = np.random.default_rng(seed), shape["hidden_size"]
    heads = shape["num_attention_heads"]
    width = shape.get("head_dim", hidden // heads)
    outs = {"q_proj": heads * width, "v_proj": shape.get("num_key_value_heads", heads) * width}
    tensors = {}
    for layer in range(shape["num_hidden_layers"]):
        for module in MODULES:
            place = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            for half, size in (("lora_A", (RANK, hidden)), ("lora_B", (outs[module], RANK))):
                tensors[f"{place}.{half}.weight"] = (chance.standard_normal(size) * 0.01).astype(np.float16)
    return {
        CONFIG: config(r=RANK, target_modules=list(MODULES), rank_pattern={}, alpha_pattern={}),
        WEIGHTS: save(tensors),
    }


if __name__ == "__main__":
    sys.exit(main())
