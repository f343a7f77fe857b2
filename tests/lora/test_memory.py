"""How much memory a training needs is told before it begins, and where it will not do it does not begin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from usher_lora.faults import AdapterFault
from usher_lora.manifest import Peft
from usher_lora.memory import GIB, Memory, check_memory, estimate, shape_of, trained_modules
from usher_lora.recipe import Training

LLAMA = {
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 32,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}


def weights() -> dict[str, tuple[int, ...]]:
    """The shapes of Llama 3.1 8B."""
    sizes = {"q_proj": (4096, 4096), "k_proj": (1024, 4096), "v_proj": (1024, 4096), "o_proj": (4096, 4096)}
    fed = {"gate_proj": (14336, 4096), "up_proj": (14336, 4096), "down_proj": (4096, 14336)}
    made: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (128256, 4096), "lm_head.weight": (128256, 4096)}
    for layer in range(32):
        made |= {f"model.layers.{layer}.self_attn.{name}.weight": shape for name, shape in sizes.items()}
        made |= {f"model.layers.{layer}.mlp.{name}.weight": shape for name, shape in fed.items()}
        made[f"model.layers.{layer}.input_layernorm.weight"] = (4096,)
    return made


LINEAR = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")


def test_the_numbers_of_an_adapter_are_those_of_its_modules() -> None:
    """PEFT says 41,943,040 for rank 16 on every linear layer of Llama 3.1 8B."""
    assert sum(trained_modules(weights(), Peft(16, 32.0, LINEAR)).values()) == 41_943_040
    lower = Peft(16, 32.0, ("q_proj",), (("layers.0.self_attn.q_proj", 4),))
    assert sum(trained_modules(weights(), lower).values()) == (31 * 16 + 4) * 8192


@pytest.mark.parametrize("target", ["c_attn", "input_layernorm", "proj"])
def test_a_module_that_the_base_does_not_have_is_refused(target: str) -> None:
    """Also a part of a name, and what is no linear layer."""
    with pytest.raises(AdapterFault, match=f"has '{target}', which the base model does not"):
        trained_modules(weights(), Peft(8, 16.0, ("q_proj", target)))


def test_an_estimate_has_the_size_that_is_known() -> None:
    """Eight billion parameters in bf16 are 15 GiB; sequences and no checkpointing make the rest grow."""
    shape = shape_of(LLAMA, weights())
    usual = estimate(shape, 41_943_040, Training(), 2)
    assert 14.9 < usual.base / GIB < 15.0
    assert 0.6 < usual.adapter / GIB < 0.65
    assert 1 < usual.activations / GIB < 5
    assert estimate(shape, 41_943_040, replace(Training(), gradient_checkpointing=False), 2).activations > 30 * GIB
    assert estimate(shape, 41_943_040, replace(Training(), length=4096), 2).activations > 3 * usual.activations


def test_too_little_memory_is_refused_with_what_would_help() -> None:
    """A smaller batch where the base fits, another machine where it does not."""
    needed = Memory(10 * GIB, GIB, 4 * GIB)
    check_memory(needed, 15 * GIB)
    with pytest.raises(AdapterFault, match=r"memory is too little: 12.00 GiB .* about 15.00 GiB .* lower `batch`"):
        check_memory(needed, 12 * GIB)
    with pytest.raises(AdapterFault, match="a smaller base"):
        check_memory(needed, 10 * GIB)


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads"])
@pytest.mark.parametrize("value", [None, 0, "many", 2.5])
def test_a_base_of_another_kind_is_refused(key: str, value: object) -> None:
    """Its config.json says what is missing."""
    with pytest.raises(AdapterFault, match=f"config.json without {key}"):
        shape_of(LLAMA | {key: value}, weights())
