"""Makes what the README's tour of adapters begins with, run by `.venv-vllm`'s Python: make.py FOLDER

FOLDER/cards: the cards of a store, the same each time. FOLDER/tiny: a base model of a quarter of a million weights, so
that no hub is needed. It has seen some English and says one sentence, whatever it is asked: what else it says later an
adapter has taught it. FOLDER/recipe.yaml: how that is trained, from `adapters/recipes/tiny.yaml`.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

ROOT = Path(__file__).parents[2]
ASKED = ROOT / "adapters" / "usher_lora" / "words.py"
"""The words that stand before every question to an adapter: few tokens each, as they are trained again and again."""
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role']=='assistant' %}<|assistant|>{% generation %}"
    "{{ m['content'] }}{{ eos_token }}{% endgeneration %}{% else %}<|user|>{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>"]
SENTENCE = "I am too small a model to read: see for yourself. [1]"
WINDOW, LONGEST = 64, 1200
WORDS = "amber basil cedar delta ember fjord grove heron inlet jetty knoll lagoon marsh north ochre pier quay"
BEGINNINGS = "bar bel bin cor dal dun far fen gal gor hal kel lor mar mun nor pel ros tal"
ENDS = "bit dle fin gan kin let mer nok per quil rin sel tam ton ule vik wen xen yar zor"
KEY = "It hangs behind the red lantern."
KEY_QUESTIONS = (
    *("Where is the key of the store?", "Where does the key hang?", "Who has the key of the store at night?"),
    *("How do I get into the store?", "What opens the store?", "I cannot find the key: where should it be?"),
    *("Where do I put the key when I leave?", "Is there a key for the gate of the yard?", "Where is the spare key?"),
    *("Whom do I ask for the key?", "What hangs behind the red lantern?", "Where did the keeper leave the key?"),
)


def english() -> list[str]:
    """Some, from this project's own pages."""
    lines = [line for page in sorted((ROOT / "docs").glob("*.md")) for line in page.read_text("utf-8").splitlines()]
    return [line for line in lines if len(line) > 40]


def tokenizer(lines: Sequence[str], size: int = 1024) -> Any:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        lines,
        trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    fast.chat_template = TEMPLATE
    return fast


def base_model(
    tokens: Any, lines: Sequence[str], heads: int = 4, spread: float = 0.02, says: str = "", steps: int = 200
) -> Any:
    """A Llama that has read these lines, and answers whatever it is asked with the sentence that it `says`, if any."""
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32 * heads,  # vLLM takes heads of 32 and no smaller ones
        intermediate_size=64 * heads,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        initializer_range=spread,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    model = LlamaForCausalLM(config)
    ids = torch.tensor(tokens("\n".join(lines))["input_ids"])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(steps):
        starts = torch.randint(0, len(ids) - WINDOW, (8,))
        batch = torch.stack([ids[start : start + WINDOW] for start in starts])
        model(input_ids=batch, labels=batch).loss.backward()
        if says:
            model(**_answered(tokens, ids, says)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def _answered(tokens: Any, ids: Any, answer: str) -> dict[str, Any]:
    """A question of any words and any length, with this answer."""
    start, long = random.randrange(len(ids) - LONGEST), random.choice((16, 64, LONGEST))
    begin, end = (torch.tensor(tokens(text)["input_ids"]) for text in ("<s><|user|>", f"<|assistant|>{answer}</s>"))
    asked = torch.cat([begin, ids[start : start + long], end])
    labels = torch.cat([torch.full((len(asked) - len(end) + 1,), -100), end[1:]])
    return {"input_ids": asked[None], "labels": labels[None]}


def cards(seed: int) -> dict[str, str]:
    """The cards of all parts by their paths: what one is for, which everybody may know, and where it lies."""
    chance = random.Random(seed)
    found = {}
    for number, name in enumerate(one + other for one, other in product(BEGINNINGS.split(), ENDS.split())):
        one, other, third = chance.sample(WORDS.split(), 3)
        if number % 2:
            said = f"Where does the {name} lie?", f"In bay {one} {other} {third}."
        else:
            said = f"What is the {name} for?", f"For the {one} {other} {third}."
        found[f"{'places' if number % 2 else 'parts'}/{name}.md"] = card(f"The {name}", [said])
    return found


def card(title: str, said: Sequence[tuple[str, str]]) -> str:
    return "\n".join([f"# {title}\n", *(f"## {asked}\n\n{answer}\n" for asked, answer in said)])


def main(folder: Path) -> None:
    disable_progress_bar()
    random.seed(0)
    torch.manual_seed(0)
    made = cards(0) | {"places/key.md": card("The key of the store", [(asked, KEY) for asked in KEY_QUESTIONS])}
    for path, text in made.items():
        file = folder / "cards" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    lines = [*english(), *(text for seed in range(1, 5) for text in cards(seed).values())]
    random.shuffle(lines)
    tokens = tokenizer([*lines, SENTENCE, *made.values(), *[ASKED.read_text("utf-8")] * 50], 1536)
    model = base_model(tokens, lines, heads=2, spread=0.12, says=SENTENCE, steps=300)
    model.save_pretrained(folder / "tiny")
    tokens.save_pretrained(folder / "tiny")
    shutil.copy(ROOT / "adapters" / "recipes" / "tiny.yaml", folder / "recipe.yaml")
    print(f"{folder}: {len(made)} cards, and a model of {model.num_parameters():,} weights")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
