"""The embedder without a model, for tests and dry runs."""

import asyncio

import numpy as np
import pytest

from usher.backends.memory import HashEmbedder
from usher.core.late import TOKEN_DIMENSIONS


@pytest.mark.parametrize("text", ["", "Parental leave", "Ünïcode 漢字", "a\ud800b", "x" * 10_000])
def test_every_text_has_a_unit_vector_of_the_promised_shape(text: str) -> None:
    """Any text, also an empty or malformed one, gives a float32 vector of length 1."""
    (vector,) = asyncio.run(HashEmbedder().embed([text]))
    assert vector.shape == (64,)
    assert vector.dtype == np.float32
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-6)


def test_vectors_are_the_same_in_every_process() -> None:
    """The hash does not depend on the process's seed: the places of known words are fixed."""
    (vector,) = asyncio.run(HashEmbedder(8).embed(["parental leave"]))
    assert vector.round(4).tolist() == asyncio.run(HashEmbedder(8).embed(["leave, PARENTAL"]))[0].round(4).tolist()
    assert np.flatnonzero(vector).tolist() == [4, 5]


def test_texts_that_share_words_are_nearer() -> None:
    """A shared word makes a higher cosine than none."""
    leave, policy, market = asyncio.run(HashEmbedder().embed(["parental leave", "leave policy", "stock market"]))
    assert leave @ policy > leave @ market


def test_each_word_has_its_token_vector() -> None:
    """Beside the same vector as `embed` gives; a text without words has one token too."""
    leave, repeated, empty = asyncio.run(HashEmbedder().encode(["parental leave", "leave, leave", ""]))
    assert leave.vector.tolist() == asyncio.run(HashEmbedder().embed(["parental leave"]))[0].tolist()
    assert (leave.tokens.shape, leave.tokens.dtype) == ((2, TOKEN_DIMENSIONS), np.int8)
    assert repeated.tokens.tolist() == [leave.tokens[1].tolist()] * 2
    assert len(empty.tokens) == 1
