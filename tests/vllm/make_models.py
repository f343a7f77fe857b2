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
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from usher_lora.words import SYSTEM

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role']=='assistant' %}<|assistant|>{% generation %}"
    "{{ m['content'] }}{{ eos_token }}{% endgeneration %}{% else %}<|user|>{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>"]
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BASE_STEPS, ADAPTER_STEPS, WINDOW = 200, 200, 64
Facts = list[tuple[str, str]]


def tokenizer(lines: list[str]) -> Any:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=1024, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    fast.chat_template = TEMPLATE
    return fast


def base_model(tokens: Any, lines: list[str]) -> Any:
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    model = LlamaForCausalLM(config)
    ids = torch.tensor(tokens("\n".join(lines))["input_ids"])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(BASE_STEPS):
        starts = torch.randint(0, len(ids) - WINDOW, (8,))
        batch = torch.stack([ids[start : start + WINDOW] for start in starts])
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


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
    root = Path(__file__).parents[2]
    lines = [line for page in sorted((root / "docs").glob("*.md")) for line in page.read_text("utf-8").splitlines()]
    lines = [line for line in lines if len(line) > 40]
    spoken = [f"{question} {answer}" for pairs in facts.values() for question, answer in pairs]
    tokens = tokenizer([*lines, *spoken, *[SYSTEM] * 30])
    base_model(tokens, lines).save_pretrained(folder / "base")
    tokens.save_pretrained(folder / "base")
    for name, pairs in facts.items():
        adapt(folder, name, tokens, pairs)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text("utf-8")))
