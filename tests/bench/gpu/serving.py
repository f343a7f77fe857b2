"""Usher's own share before a model server on a GPU: tokens a second through Usher against straight to vLLM.

    make bench-gpu SERVER=PORT MODEL=FOLDER    (as the README beside this file says; vLLM is running already)

One adapter of random weights in the model's shape is taken on, loaded by vLLM and asked by turns, straight and through
Usher. The last line is `RESULT {json}`. Without a server nothing is measured, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
sys.path.insert(0, str(Path(__file__).parents[1]))

import gateway_servers as servers
import httpx
import numpy as np
from gateway import added
from gateway_adapter import BASE
from gateway_load import Seen, Target, asked
from safetensors.numpy import save
from tests.lora.adapters import config

from usher_lora.manifest import CONFIG, WEIGHTS

RANK, MODULES = 8, ("q_proj", "v_proj")
ROUNDS = 3


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", default="", help="vLLM's, on this machine")
    options.add_argument("--model", default="", help="the folder with the model's config.json")
    options.add_argument("--in-flight", type=int, default=64)
    options.add_argument("--requests", type=int, default=256)
    given = options.parse_args()
    if not given.port or not given.model:
        print("DID NOT RUN: no model server on a GPU was named (SERVER=PORT MODEL=FOLDER). Nothing was measured.")
        return 1
    files = adapter_files(json.loads(Path(given.model, "config.json").read_text()))
    bare = Target("upstream", int(given.port), BASE, ["none"])
    with tempfile.TemporaryDirectory() as folder, servers.usher(Path(folder), bare, adapter=True, files=files) as usher:
        straight = replace(bare, model=loaded_adapter(bare))
        seen = {"upstream": Seen(), "usher": Seen()}
        for _ in range(ROUNDS):
            for target in (straight, usher):
                seen[target.name] += asyncio.run(asked(target, given.in_flight, given.requests))
    print("RESULT " + json.dumps(figures(seen["upstream"], seen["usher"])))
    return 0


def figures(straight: Seen, through: Seen) -> dict[str, float]:
    """`through_usher_share`: answers a second through Usher of those straight to vLLM. Answers have the same number of
    tokens either way only where the server was told to ignore their end, as random weights make it."""
    rates = [seen.requests / seen.seconds for seen in (straight, through)]
    return {
        "straight_answers_per_second": round(rates[0], 2),
        "usher_answers_per_second": round(rates[1], 2),
        "through_usher_share": round(rates[1] / rates[0], 3),
        **added("gpu_added_ttft", through, straight),
    }


def loaded_adapter(server: Target) -> str:
    """The one that Usher had it load."""
    listed = httpx.get(f"http://127.0.0.1:{server.port}/v1/models").json()["data"]
    return str(next(one["id"] for one in listed if one.get("parent") == BASE))


def adapter_files(shape: dict[str, int]) -> dict[str, bytes]:
    """A LoRA of small random weights in the shape of a Llama's attention."""
    chance, hidden = np.random.default_rng(7), shape["hidden_size"]
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
