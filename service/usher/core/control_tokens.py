"""Marks by which chat templates tell turns apart, taken out of texts that others wrote.

Some tokenizers read such a mark in a text as the token itself: a document that holds one could end its message and
speak as the system. A blank after the first character leaves it readable, and a token of no model. The marks are those
of the templates of Llama, Mistral, Gemma, Qwen, Phi, DeepSeek and their kin.
"""

from __future__ import annotations

import re

_MARKS = re.compile(
    r"<(?=[|\uff5c])|<(?=/?s>)|<(?=/?(?:start|end)_of_turn>)|<(?=/?(?:bos|eos|pad|unk)>)|<(?=</?SYS>>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])",
    re.IGNORECASE,
)


def without_control_tokens(text: str) -> str:
    """The text with a blank in each mark. Idempotent."""
    return _MARKS.sub(lambda mark: mark[0] + " ", text)
