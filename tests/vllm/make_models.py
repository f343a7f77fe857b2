"""Makes a tiny model and LoRA adapters for it, run by `.venv-vllm`'s Python: make_models.py FOLDER FACTS.json

The base is a Llama of a few hundred thousand weights that has seen some English; each adapter learns a few facts word
for word. The system message, which stands before every question, is few of its tokens. FACTS.json has
{adapter: [[question, answer], …]}. Written are FOLDER/base and FOLDER/<adapter>.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from sample.adapters.make import base_model, english, tokenizer
from transformers import LlamaForCausalLM

from usher_lora.words import SYSTEM

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTER_STEPS = 200
Facts = list[tuple[str, str]]


def adapt(folder: Path, name: str, tokens: Any, facts: Facts) -> None:
    """Train an adapter on the base that lies in the folder, and save it beside that."""
    model = LlamaForCausalLM.from_pretrained(folder / "base")
    lora = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=MODULES, task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW([one for one in lora.parameters() if one.requires_grad], 5e-3)
    for step in range(ADAPTER_STEPS):
        question, answer = facts[step % len(facts)]
        said = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        encoded = tokens.apply_chat_template(said, return_dict=True, return_assistant_tokens_mask=True)
        ids = torch.tensor([encoded["input_ids"]])
        labels = torch.where(torch.tensor([encoded["assistant_masks"]]) == 1, ids, -100)
        lora(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    lora.peft_config["default"].base_model_name_or_path = "base"  # what the server calls it
    lora.save_pretrained(folder / name)


def main(folder: Path, facts: dict[str, Facts]) -> None:
    random.seed(0)
    torch.manual_seed(0)
    lines = english()
    spoken = [f"{question} {answer}" for pairs in facts.values() for question, answer in pairs]
    tokens = tokenizer([*lines, *spoken, *[SYSTEM] * 30])
    base_model(tokens, lines).save_pretrained(folder / "base")
    tokens.save_pretrained(folder / "base")
    for name, pairs in facts.items():
        adapt(folder, name, tokens, pairs)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text("utf-8")))
