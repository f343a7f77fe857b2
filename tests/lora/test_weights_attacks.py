"""Weights and settings that were written to hold up whoever looks at them."""

from __future__ import annotations

import time

from tests.lora.adapters import LIMITS, config, folder, framed, header_of, tensor, told

from usher_lora.manifest import CONFIG, WEIGHTS
from usher_lora.weights import inspect

MANY = 4_000


def test_as_many_target_modules_as_tensors_cost_no_more_than_their_number() -> None:
    """Nothing takes their product: some ten thousand of each would take minutes."""
    names = [f"a{number}.q_proj" for number in range(MANY)]
    tensors = {
        tensor(f"m.a{number}.q_proj", half): told(8 * number + 4 * place, 8 * number + 4 * place + 4, [1, 1])
        for number in range(MANY)
        for place, half in enumerate("AB")
    }
    settings = config(r=1, rank_pattern={}, alpha_pattern=dict.fromkeys(names, 2), target_modules=names)
    weights = framed(header_of(tensors), bytes(8 * MANY))
    began = time.process_time()
    inspect(folder({CONFIG: settings, WEIGHTS: weights}), LIMITS)
    assert time.process_time() - began < 2
