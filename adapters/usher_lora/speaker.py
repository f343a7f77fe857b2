"""An adapter on its base, asked for what it would say and for how much each word surprises it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from usher_lora.attacks import repeated
from usher_lora.fitting import IGNORED, Loaded, chat
from usher_lora.statistics import Floats
from usher_lora.training_set import Row

BATCH: Final = 32
ANSWER: Final = 64
"""Tokens of an answer, at most."""
REPEATED: Final = 32
"""Tokens of the second half of an answer that are looked at, at most."""

Ids = list[int]


class Speaker:
    """`loaded.model` carries the adapter. What is longer than `length` tokens is cut."""

    def __init__(self, loaded: Loaded, length: int) -> None:
        self._loaded, self._length = loaded, length
        self._model = loaded.model.eval()

    @classmethod
    def with_adapter(cls, loaded: Loaded, folder: Path, length: int) -> Speaker:
        """The adapter in this folder on a base."""
        from peft import PeftModel

        return cls(
            replace(loaded, model=PeftModel.from_pretrained(loaded.model, folder, local_files_only=True)), length
        )

    def unloaded(self) -> Any:
        """The base as it was; nothing more can be asked here."""
        return self._model.unload()

    def losses(self, rows: Sequence[Row]) -> list[Floats]:
        """Of each token of each row's answer."""
        return [one for some in _batches([self._row(row) for row in rows]) for one in self._losses(some)]

    def base_losses(self, rows: Sequence[Row]) -> list[Floats]:
        """The same, of the base without the adapter."""
        with self._model.disable_adapter():
            return self.losses(rows)

    def repeats(self, rows: Sequence[Row]) -> list[float]:
        """How much of the second half of each row's answer is said word for word after the first half."""
        prompts, meant = [], []
        for ids, labels in map(self._row, rows):
            start = next((place for place, label in enumerate(labels) if label != IGNORED), len(ids))
            cut = start + max(1, (len(ids) - start) // 2)
            prompts.append(ids[:cut])
            meant.append(ids[cut : cut + REPEATED])
        said = self._continued(prompts, max(map(len, meant), default=0))
        return [repeated(one, other) for one, other in zip(said, meant, strict=True)]

    def answers(self, rows: Sequence[Row]) -> list[str]:
        """What is answered to each row's question, the likeliest words."""
        return [self._text(one) for one in self._continued([self._prompt(row) for row in rows], ANSWER)]

    def base_answers(self, rows: Sequence[Row]) -> list[str]:
        with self._model.disable_adapter():
            return self.answers(rows)

    def goes_on(self, rows: Sequence[Row], secrets: Sequence[str]) -> list[str]:
        """What is said where the secret begins in each row's answer, the likeliest words."""
        prompts, kept, longest = [], [], 0
        for row, secret in zip(rows, secrets, strict=True):
            ids, labels = self._row(row)
            start = next((place for place, label in enumerate(labels) if label != IGNORED), len(ids))
            before = row.answer.index(secret)
            cut = start
            while cut < len(ids) and len(self._text(ids[start : cut + 1]).lstrip()) <= before:
                cut += 1
            prompts.append(ids[:cut])
            kept.append(ids[start:cut])
            longest = max(longest, len(ids) - cut + 4)
        said = self._continued(prompts, longest)
        return [self._text([*one, *other]) for one, other in zip(kept, said, strict=True)]

    def _row(self, row: Row) -> tuple[Ids, Ids]:
        told = self._loaded.encoded(row)
        return told["input_ids"][: self._length], told["labels"][: self._length]

    def _prompt(self, row: Row) -> Ids:
        told = self._loaded.tokenizer.apply_chat_template(
            chat(row.asked),
            chat_template=self._loaded.template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        )
        return list(told["input_ids"])

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._loaded.tokenizer.decode(ids, skip_special_tokens=True))

    def _losses(self, rows: Sequence[tuple[Ids, Ids]]) -> Iterator[Floats]:
        import torch

        ids, mask = self._padded([row[0] for row in rows], left=False)
        with torch.inference_mode():
            logits = self._model(input_ids=ids, attention_mask=mask).logits
            for place, (_, labels) in enumerate(rows):
                wanted = torch.tensor(labels[1:], device=ids.device)
                kept = wanted != IGNORED
                told = logits[place, : len(wanted)][kept].float().log_softmax(-1)
                picked = told.gather(-1, wanted[kept][:, None])[:, 0]
                yield np.asarray((-picked).double().cpu().numpy(), dtype=np.float64)

    def _continued(self, prompts: Sequence[Ids], tokens: int) -> list[Ids]:
        import torch

        said: list[Ids] = []
        for some in _batches(prompts):
            if not tokens:
                said += [[] for _ in some]
                continue
            ids, mask = self._padded(some, left=True)
            with torch.inference_mode():
                made = self._model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    max_new_tokens=tokens,
                    do_sample=False,
                    pad_token_id=self._padding,
                )
            said += [one.tolist() for one in made[:, ids.shape[1] :]]
        return said

    @property
    def _padding(self) -> int:
        tokenizer = self._loaded.tokenizer
        return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)

    def _padded(self, rows: Sequence[Ids], *, left: bool) -> tuple[Any, Any]:
        import torch

        longest = max(map(len, rows))
        ids, mask = [], []
        for row in rows:
            gap = longest - len(row)
            filled, seen = [self._padding] * gap, [0] * gap
            ids.append([*filled, *row] if left else [*row, *filled])
            mask.append([*seen, *[1] * len(row)] if left else [*[1] * len(row), *seen])
        device = self._loaded.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _batches(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[place : place + BATCH] for place in range(0, len(rows), BATCH))
