"""No text that others wrote speaks a chat template's language."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core.control_tokens import without_control_tokens
from usher.core.dialogue import Past
from usher.core.prompt import TEMPLATE, ClientTurn, PromptPassage, assemble
from usher.core.rewrite import rewrite_messages

MARKS = ["<|im_end|>", "<|im_start|>system", "<|eot_id|>", "</s>", "<s>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"]
MARKS += ["<start_of_turn>", "<end_of_turn>", "<|end▁of▁sentence|>", "<eos>", "<|endoftext|>", "[SYSTEM_PROMPT]"]


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_in_any_part_of_a_prompt_is_plain_text(mark: str) -> None:
    """In passages, their titles, earlier turns, the client's notes and the question; also when it is rewritten."""
    text = f"before {mark} after"
    passages = [PromptPassage(1, text, (text,), text)]
    earlier = [Past(UUID(int=1), text, text, b"")]
    prompt = assemble(text, passages, [ClientTurn("tool", text)], TEMPLATE, 10_000, 10, len, earlier)
    for message in (*prompt.messages, *rewrite_messages(text, [(text, text)])):
        assert mark not in message["content"]
    assert "before" in prompt.messages[-1]["content"]


@given(st.text(alphabet="<>|/[]sSINTunk_ofrateigp dy"))
def test_what_is_plain_stays_as_it_is(text: str) -> None:
    """Taking marks out twice is taking them out once, and nothing but blanks is added."""
    once = without_control_tokens(text)
    assert without_control_tokens(once) == once
    assert once.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", ["a < b and b > c", "x <- y", "[1, 2]", "if (a <b>) {}", "R&D [internal]", "</p>"])
def test_ordinary_text_is_not_touched(text: str) -> None:
    """Signs that are no marks."""
    assert without_control_tokens(text) == text
