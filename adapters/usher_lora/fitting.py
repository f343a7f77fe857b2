"""A base model loaded, conversations as its tokens, and an adapter fitted to them, by trl and peft.

The one place, beside the evaluation, where the training libraries are used: each is imported in the function that needs
it, and nothing that came with a model is run.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from usher_lora.curve import loss_curve
from usher_lora.faults import AdapterFault
from usher_lora.manifest import CONFIG, WEIGHTS
from usher_lora.recipe import Training
from usher_lora.run_folder import mark_whole, write
from usher_lora.template import check_template
from usher_lora.training_set import Message, Row
from usher_lora.words import SYSTEM

IGNORED: Final = -100
"""The label of a token that nothing is learned from."""

Advance = Callable[[int, int], None]
"""Steps done, and all of them."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A base model with its tokenizer, and the chat template that marks the assistant's words."""

    model: Any
    tokenizer: Any
    template: str
    device: str
    bf16: bool

    def encoded(self, row: Row) -> dict[str, list[int]]:
        """The row's tokens; labels are those of the assistant's words alone."""
        told = self.tokenizer.apply_chat_template(
            chat(row.messages),
            chat_template=self.template,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        ids = list(told["input_ids"])
        labels = [one if said else IGNORED for one, said in zip(ids, told["assistant_masks"], strict=True)]
        return {"input_ids": ids, "labels": labels}


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained adapter on its base, still in memory, and how it went. `tokens`: those of this run."""

    model: Any
    history: list[dict[str, Any]]
    steps: int
    tokens: int
    seconds: float
    left_out: int
    resumed_at: int


def chat(messages: Sequence[Message]) -> list[dict[str, str]]:
    """As an adapter is asked in service: after the system message, unless the row has one of its own."""
    told = [{"role": message.role, "content": message.content} for message in messages]
    return told if told[0]["role"] == "system" else [{"role": "system", "content": SYSTEM}, *told]


def device_of(precision: str) -> tuple[str, bool]:
    """The device to train on, and whether in bf16."""
    import torch

    gpu = torch.cuda.is_available()
    fits = gpu and torch.cuda.is_bf16_supported()
    return ("cuda" if gpu else "cpu"), precision == "bf16" or (precision == "auto" and fits)


def available(device: str) -> int:
    """Bytes of memory that are free."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def load(path: Path, precision: str) -> Loaded:
    """The base of this folder. No code that came with it is run. Raises `AdapterFault`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    device, bf16 = device_of(precision)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        template = training_template(tokenizer)
        model = AutoModelForCausalLM.from_pretrained(
            path,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.bfloat16 if bf16 else torch.float32,
        )
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, AdapterFault):
            raise
        problem = f"cannot be loaded ({type(error).__name__})"
        raise AdapterFault("base model", problem, "name a causal language model that transformers knows") from None
    return Loaded(model.to(device), tokenizer, template, device, bf16)


def training_template(tokenizer: Any) -> str:
    """The tokenizer's own chat template, or the one that TRL has for it, which renders the same and marks what the
    assistant says. Raises `AdapterFault`."""
    from trl.chat_template_utils import get_training_chat_template, is_chat_template_stop_token_trained

    template = tokenizer.chat_template
    template = template.get("default") if isinstance(template, dict) else template
    if not check_template(template):
        try:
            template = get_training_chat_template(tokenizer)
        except ValueError:
            remedy = "put `{% generation %}` … `{% endgeneration %}` around the assistant's words in it"
            raise AdapterFault("chat template", "does not say which words are the assistant's", remedy) from None
        check_template(template)
    if not is_chat_template_stop_token_trained(tokenizer, chat_template=template):
        remedy = "put the token that ends a turn before `{% endgeneration %}`"
        raise AdapterFault("chat template", "leaves the end of an answer unlearned", remedy)
    return str(template)


def fit(
    loaded: Loaded,
    rows: Sequence[Row],
    held_out: Sequence[Row],
    lora: Mapping[str, Any],
    training: Training,
    folder: Path,
    last: Path | None = None,
    advance: Advance = lambda done, total: None,
) -> Fitted:
    """An adapter trained on `rows` and watched on `held_out`, where there are any, from the checkpoint `last` on."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import set_seed
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    learned, left_out = _short(loaded, rows, training.length)
    watched, _ = _short(loaded, held_out, training.length)
    if not learned:
        raise AdapterFault("training.length", "is below that of every example", "raise it")
    unknown = sorted(lora.keys() - {field.name for field in fields(LoraConfig)})
    if unknown:
        raise AdapterFault(f"lora.{unknown[0]}", "is no setting of PEFT's LoraConfig", "leave it out")
    set_seed(training.seed)
    trainer = SFTTrainer(
        model=loaded.model,
        args=SFTConfig(**_arguments(loaded, training, folder, bool(watched))),
        train_dataset=Dataset.from_list(learned),
        eval_dataset=Dataset.from_list(watched) if watched else None,
        processing_class=loaded.tokenizer,
        peft_config=LoraConfig(**lora, task_type="CAUSAL_LM"),
        callbacks=[_callback(folder, training.patience, advance)],
    )
    trainer.remove_callback(PrinterCallback)
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    history = trainer.state.log_history
    before = 0 if last is None else int(last.name.rpartition("-")[2])
    return Fitted(
        model=trainer.model,
        history=history,
        steps=trainer.state.global_step,
        tokens=_tokens(history) - _tokens([one for one in history if one["step"] <= before]),
        seconds=time.monotonic() - began,
        left_out=left_out,
        resumed_at=before,
    )


def _short(loaded: Loaded, rows: Sequence[Row], length: int) -> tuple[list[dict[str, list[int]]], int]:
    """The rows that are short enough, as tokens, and how many are not: a cut answer would teach to break off."""
    encoded = [loaded.encoded(row) for row in rows]
    kept = [one for one in encoded if len(one["input_ids"]) <= length]
    return kept, len(encoded) - len(kept)


def _tokens(history: Sequence[Mapping[str, Any]]) -> int:
    return max((int(one.get("num_tokens", 0)) for one in history), default=0)


def _arguments(loaded: Loaded, training: Training, folder: Path, watched: bool) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "seed": training.seed,
        "data_seed": training.seed,
        "num_train_epochs": training.epochs,
        "max_steps": training.steps or -1,
        "per_device_train_batch_size": training.batch,
        "per_device_eval_batch_size": training.batch,
        "gradient_accumulation_steps": training.accumulate,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": training.warmup,
        "max_length": training.length,
        "packing": training.packing,
        "gradient_checkpointing": training.gradient_checkpointing,
        "bf16": loaded.bf16,
        "use_cpu": loaded.device == "cpu",
        "dataloader_pin_memory": loaded.device != "cpu",
        "eval_strategy": "steps" if watched else "no",
        "eval_steps": training.evaluate_every,
        "save_strategy": "steps",
        "save_steps": training.evaluate_every,
        "save_total_limit": 2,
        "load_best_model_at_end": watched and training.patience > 0,
        "metric_for_best_model": "eval_loss" if watched else None,
        "greater_is_better": False if watched else None,
        "logging_steps": max(1, training.evaluate_every // 10),
        "logging_first_step": True,
        "report_to": "none",
        "disable_tqdm": True,
    }


def over(losses: Sequence[float], patience: int) -> bool:
    """Whether so many looks in a row, the last ones, found no lower loss than all before; 0: never. By what the log has
    alone, so that a training that was cut off ends where it would have."""
    return 0 < patience < len(losses) and not min(losses[-patience:]) < min(losses[:-patience])


def _callback(folder: Path, patience: int, advance: Advance) -> Any:
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not there where types are checked
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            advance(state.global_step, state.max_steps)
            if state.global_step == state.max_steps:
                control.should_log = True  # the last loss, and all tokens that were seen

        def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            write(folder.parent / "loss.svg", loss_curve(state.log_history).encode())

        def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if over([one["eval_loss"] for one in state.log_history if "eval_loss" in one], patience):
                control.should_training_stop = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not control.should_training_stop:  # from the end it would go on, one step too far
                mark_whole(folder / f"checkpoint-{state.global_step}")

    return Watch()


def served_files(model: Any, base: str) -> dict[str, bytes]:
    """What the model server reads of a trained adapter: written in one way, so that equal adapters are equal bytes.
    `base` is the base model's id."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {name: value.detach().cpu().contiguous() for name, value in sorted(state.items())}
    config = model.peft_config["default"].to_dict() | {"base_model_name_or_path": base, "inference_mode": True}
    settings = json.dumps(config, default=sorted, sort_keys=True, indent=1)  # a set is written in order
    return {CONFIG: settings.encode(), WEIGHTS: save(tensors, metadata={"format": "pt"})}


def peak_memory(device: str) -> int:
    """The most bytes that this process has held so far, on the device."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
