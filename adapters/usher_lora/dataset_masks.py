"""Personal data that a rule can tell: taken out of questions and answers before anything is learned from them.

Numbers that have a checksum are taken only where it holds. What rules cannot tell is said in `CANNOT`, which stands in
every data card: nobody should believe that a masked text names nobody.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

CANNOT: Final = (
    "names of people who are not in the directory, and names that the directory knows by something else than its ids",
    "names in the directory that are shorter than three letters, or that nobody wrote as a name",
    "postal addresses, dates of birth, and numbers that no checksum or label marks",
    "descriptions by which somebody is known without any name",
    "numbers and addresses that are spelled out, split over lines, or altered to be read by people only",
    "identity numbers of countries whose form has no rule here",
)
"""What the rules cannot catch."""

LEAST_LETTERS: Final = 3

_EMAIL: Final = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}")
_IBANS: Final = (
    re.compile(r"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b"),
    *(
        re.compile(rf"\b[A-Z]{{2}}\d{{2}}(?:[ -][A-Z0-9]{{4}}){{{n}}}(?:[ -][A-Z0-9]{{1,3}})?\b")
        for n in range(7, 1, -1)
    ),
)
_CARD: Final = re.compile(r"(?<![\d.,-])\d(?:[ -]?\d){12,18}(?![\d-])")
_PHONE: Final = re.compile(
    r"(?<![\w.,/-])(?:\+\d{1,3}|00\d{1,3}|\(\+?\d{1,5}\)|0\d{1,4})(?:[ ./-]?\(?\d{1,5}\)?){1,6}(?![\w-])"
)
_LABELLED: Final = re.compile(
    r"(?i)\b((?:social security|tax|passport|employee|personnel|staff|insurance|customer|patient|identity|id|ssn|"
    r"steuer-id|personalnummer|ausweisnummer)\b(?:[ -]?(?:number|no\.?|nr\.?|id|card))?\s*(?:is|:|=|#)?\s*)"
    r"([A-Z]{0,3}[- ]?\d[\dA-Z/-]{3,20})\b"
)
_SSN: Final = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")
_ADDRESS: Final = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_WORDS: Final = re.compile(r"[^\W\d_]+")

_JOINERS: Final = re.compile("(?<=[\u0020-\u024f])[\u200c\u200d]|[\u200c\u200d](?=[\u0020-\u024f])")
"""Invisible ones, where no script has a use for them."""
_WIDE: Final = (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B), 0xFF0B, 0xFF0D, 0xFF0E, 0xFF20)
_SPACES: Final = (0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)
_UNSEEN: Final = (0xAD, 0x200B, 0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2060, 0x206A))
_PLAIN: Final = (
    dict.fromkeys(_SPACES, " ")
    | dict.fromkeys((0x2010, 0x2011, 0x2012, 0xFE63), "-")
    | dict.fromkeys(_UNSEEN)
    | {one: chr(one - 0xFEE0) for one in _WIDE}
)
"""What type is set with and rules do not know: spaces and hyphens that do not break, signs that nobody sees, wide
letters and digits."""

Rule = tuple[str, re.Pattern[str], Callable[[re.Match[str]], bool]]


class Masks:
    """The rules, and the names of a directory. `counts` says how often each kind was masked."""

    def __init__(self, people: Iterable[str] = ()) -> None:
        self.counts: Counter[str] = Counter()
        names = _names(people)
        self._rules: tuple[Rule, ...] = (
            ("e-mail", _EMAIL, _always),
            *(("iban", pattern, _is_iban) for pattern in _IBANS),
            ("card", _CARD, _is_card),
            ("id", _SSN, _always),
            ("address", _ADDRESS, _is_address),
            ("phone", _PHONE, _is_phone),
            *(() if names is None else (("person", names, _always),)),
        )

    def masked(self, text: str) -> str:
        """The text, plainly set, with `[e-mail]`, `[iban]`, `[card]`, `[id]`, `[address]`, `[phone]` and `[person]` in
        the place of what was told."""
        text = _LABELLED.sub(self._numbered, plain(text))
        for kind, pattern, holds in self._rules:
            text = pattern.sub(partial(self._mask, kind, holds), text)
        return text

    def _mask(self, kind: str, holds: Callable[[re.Match[str]], bool], found: re.Match[str]) -> str:
        if not holds(found):
            return found[0]
        self.counts[kind] += 1
        return f"[{kind}]"

    def _numbered(self, found: re.Match[str]) -> str:
        self.counts["id"] += 1
        return f"{found[1]}[id]"


def plain(text: str) -> str:
    """The text with plain spaces, hyphens, letters and digits, and each letter with its accents as one character."""
    return unicodedata.normalize("NFC", _JOINERS.sub("", text.translate(_PLAIN)))


def _names(people: Iterable[str]) -> re.Pattern[str] | None:
    """The ids of people as they stand, and the names that they are made of (`jane.doe` is also Jane Doe)."""
    wanted: set[str] = set()
    for person in map(plain, people):
        parts = _WORDS.findall(person.partition("@")[0])
        if len(person) >= LEAST_LETTERS:
            wanted.add(re.escape(person))
        if len(parts) > 1:
            wanted.add(r"[\s.,_-]+".join(map(re.escape, parts)))
            wanted.add(r"[\s.,_-]+".join(map(re.escape, reversed(parts))))
    longest_first = sorted(wanted, key=lambda name: (-len(name), name))
    return re.compile(rf"(?i)(?<!\w)(?:{'|'.join(longest_first)})(?!\w)") if longest_first else None


def _always(_: re.Match[str]) -> bool:
    return True


def _digits(text: str) -> str:
    return "".join(filter(str.isdecimal, text))


def _is_card(found: re.Match[str]) -> bool:
    """Luhn's checksum."""
    digits = [int(digit) for digit in reversed(_digits(found[0]))]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return any(digits) and (sum(digits[::2]) + doubled) % 10 == 0


def _is_iban(found: re.Match[str]) -> bool:
    """The checksum of ISO 13616."""
    text = re.sub(r"[ -]", "", found[0])
    return 15 <= len(text) <= 34 and int("".join(str(int(one, 36)) for one in text[4:] + text[:4])) % 97 == 1


def _is_phone(found: re.Match[str]) -> bool:
    """Long enough, and no amount, date or year."""
    digits = _digits(found[0])
    return 7 <= len(digits) <= 17 and not re.fullmatch(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}", found[0])


def _is_address(found: re.Match[str]) -> bool:
    return all(int(part) < 256 for part in found[0].split("."))
