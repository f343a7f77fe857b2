"""Names that deceive the eye: alphabets mixed within one name, and different names that look the same.

A small part of Unicode TR 39 (security mechanisms), enough for the alphabets whose letters pass for Latin ones; NFKC
and case folding do the rest. It is a help to whoever reviews a policy, not a proof that two names look different.
"""

# ruff: noqa: RUF001  (look-alike letters are what this table is made of)
from __future__ import annotations

import unicodedata
from typing import Final

_ALPHABETS: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"})
_TWINS: Final = {
    ord(twin): latin
    for latin, twins in {
        "a": "аαɑ",
        "b": "вьβ",
        "c": "сϲ",
        "d": "ԁ",
        "e": "еε",
        "g": "ցɡ",
        "h": "нһհ",
        "i": "іιı",
        "j": "ј",
        "k": "кκ",
        "l": "ӏ1|",
        "m": "м",
        "n": "ոпη",
        "o": "оοօ0",
        "p": "рρ",
        "q": "ԛ",
        "r": "г",
        "s": "ѕ",
        "t": "тτ",
        "u": "սυц",
        "v": "ѵν",
        "w": "ԝωш",
        "x": "хχ",
        "y": "уγү",
        "3": "з",
        "6": "б",
    }.items()
    for twin in twins
}
"""Cyrillic, Greek, Armenian and other letters by the Latin letter or digit that they pass for."""


def alphabets(raw: str) -> frozenset[str]:
    """Of the alphabets that have look-alikes in each other, those that `raw` has letters of."""
    if raw.isascii():
        return frozenset({"LATIN"}) if any(c.isalpha() for c in raw) else frozenset()
    names = (unicodedata.name(c, "").partition(" ")[0] for c in raw if c.isalpha())
    return frozenset(names) & _ALPHABETS


def skeleton(name: str) -> str:
    """A text that is equal for names that look alike: compatibility form, no case, no accents, twins made Latin."""
    folded = unicodedata.normalize("NFKD", name.casefold())
    bare = "".join(c for c in folded if not unicodedata.combining(c))
    return bare.casefold().translate(_TWINS).replace("rn", "m").replace("vv", "w").replace("-", "_")
