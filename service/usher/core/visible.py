"""Text as it is seen: no invisible characters, no character references that hide what they stand for."""

from __future__ import annotations

import re
from html import unescape
from html.entities import html5

# Format and control characters (but tab and newline), surrogates, private "tag" letters, and fillers that show nothing.
_HIDDEN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f"
    "\\u202a-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\U000e0000-\\U000e0fff]"
)
_SURROGATE = re.compile("[\\ud800-\\udfff]")
# Joiners and variation selectors shape emoji and some scripts; after ASCII they shape nothing.
JOINER = re.compile("[\\u200c\\u200d\\ufe00-\\ufe0f]")
_AFTER_ASCII = re.compile("(?<![^\\x00-\\x7f])[\\u200c\\u200d\\ufe00-\\ufe0f]+")
_REFERENCE = re.compile(r"&(?:#[xX]?[0-9a-fA-F]{1,31};?|[A-Za-z][A-Za-z0-9]{1,31};)")
_UNFINISHED = re.compile(r"&(?:#[xX]?[0-9a-fA-F]{0,31}|[A-Za-z][A-Za-z0-9]{0,31})?\Z")


class Visible:
    """Streams text without what hides: see `feed`."""

    def __init__(self) -> None:
        self._held = ""
        self._last = ""

    def feed(self, text: str, *, final: bool = False) -> str:
        """Drops invisible characters and carriage returns; half a surrogate pair becomes U+FFFD.

        A character reference becomes its character (`&nbsp;`, `&quot;`, `&lt;`); where that could take part in
        another reference (a letter, a digit, `&`, `#`, `;`) or shows nothing, it is broken with a space instead.
        """
        text = self._held + self._seen(text)
        found = None if final else _UNFINISHED.search(text)
        cut = found.start() if found else len(text)
        self._held = text[cut:]
        return _REFERENCE.sub(_resolve, text[:cut])

    def _seen(self, text: str) -> str:
        if text.isascii() and text.isprintable():
            self._last = text[-1:] or self._last
            return text
        text = _HIDDEN.sub("", _SURROGATE.sub("\ufffd", text))
        if JOINER.search(text):
            text = _AFTER_ASCII.sub("", ("a" if self._last.isascii() else "\u00e9") + text)[1:]
        self._last = text[-1:] or self._last
        return text


def _resolve(found: re.Match[str]) -> str:
    reference = found[0]
    named = reference[1] != "#"
    if named and reference[1:] not in html5:
        return reference
    character = unescape(reference) if reference.endswith(";") else ""
    if character == "&":
        return "& "
    hidden = len(character) != 1 or (character.isascii() and (character.isalnum() or character in "#;"))
    if hidden or _HIDDEN.match(character) or JOINER.match(character) or _SURROGATE.match(character):
        return f"& {reference[1:]}"
    return character
