"""The title that a person gives to a conversation."""

from __future__ import annotations

import unicodedata

from usher.errors import UserError

TITLE = "title"
MAX_TITLE = 200
"""Characters."""

_NOT_SHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")
"""They shape emoji and some scripts."""


def checked_title(title: str) -> str:
    """A title in composed characters, without outer white space. Raises `UserError`."""
    words = unicodedata.normalize("NFC", title).strip()
    if not words:
        raise UserError(TITLE, "is empty", "give a few words")
    if len(words) > MAX_TITLE:
        raise UserError(TITLE, f"has {len(words)} characters, more than {MAX_TITLE}", "give a shorter one")
    if any(unicodedata.category(character) in _NOT_SHOWN and character not in _JOINERS for character in words):
        raise UserError(TITLE, "has a control or invisible character", "leave that character out")
    return words
