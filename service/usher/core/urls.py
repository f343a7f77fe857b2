"""What a renderer, a linkifier or a browser could take for an address in running text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set
from dataclasses import dataclass
from functools import cache

_TLDS = (
    "com|net|org|edu|gov|mil|int|info|biz|dev|app|xyz|site|online|top|club|shop|store|tech|cloud|pro|web|name|mobi|"
    "asia|aero|coop|museum|link|page|live|blog|news|space|website|icu|vip|work|zip|mov|"
    "(?!js|ts|go|cs|kt|db|gz|xz)[a-z]{2}"  # of two letters: all but endings of file names that are no country
)
# Endings of file names that are no top-level domain: `node.js/express` is no address, `travel.md/x` may be one.
_FILES = (
    "js|ts|go|cs|kt|db|gz|xz|rb|pdf|docx?|xlsx?|pptx?|odt|ods|odp|rtf|txt|csv|tsv|jsonl?|ya?ml|toml|xml|html?|css|jsx|tsx"
    "|vue|sql|log|ini|cfg|conf|cpp|hpp|png|jpe?g|gif|svg|webp|tar|exe|dll|tmp|bak|eml|ics|tex|ipynb"
)
_REST = r"[^\"'`()\[\]{}|<>]"
_DOT = r"\\*\."
_SLASHES = r"(?:\\*[/\\]){2,}"
_HOST = (
    rf"(?:[a-z0-9_%-]+(?:{_DOT}[a-z0-9_-]+)*{_DOT}(?:[a-z]{{2,}}|xn--[a-z0-9-]+)|[0-9]+(?:\.[0-9]+){{3}}|localhost|\[)"
)
AFTER_NAME = "\ufdd0"
"""Before a word instead of the letter that it follows: that letter ends a host name in letters that are not ASCII."""
# What makes a host name an address: a slash, or a mark and more than the end of a sentence or quotation.
_CLOSING = r".,;:!?*_~\"'`)}|>"
_AFTER_HOST = rf"(?::[0-9]+)?\\*(?:/|[?#](?=[{_CLOSING}]*[^{_CLOSING}]))"
_FIRST_LABELS = rf"(?:(?<![a-z0-9_./\\-])[a-z0-9_][a-z0-9_-]*|(?<=[^\x00-\x7f]))(?:{_DOT}[a-z0-9_-]+)*"
_IP = rf"(?<![a-z0-9_./\\-])[0-9]{{1,3}}(?:{_DOT}[0-9]{{1,3}}){{3}}"
_NETWORK = r"/[0-9]{1,2}(?![\w/?#&=%]|[.-]\w)"
_CALLS = (
    "tel|smsto|sms|mms|callto|sips?|xmpp|skype|facetime(?:-audio)?|whatsapp|viber|magnet|ed2k|geo|bitcoin|ethereum"
    "|litecoin|monero|intent|market|webcal|spotify|steam|jar|cid|mid|ms-[a-z-]+"
)
_ADDRESS = re.compile(
    "|".join(
        (
            rf"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]+\\*:{_SLASHES}{_REST}*",  # any scheme with an authority
            rf":{_SLASHES}{_REST}*",  # what is left of one whose scheme is no scheme
            rf"(?<![a-z0-9])(?:https?|ftp|wss?)\\*:{_REST}+",  # browsers take one slash, or none
            rf"(?<![a-z0-9])(?:(?:java|vb|live)script|mailto|blob|filesystem|view-source)\\*:(?=.){_REST}*",
            rf"(?<![a-z0-9])(?:data\\*:(?:[a-z]+/|[,;])|file\\*:[/\\]){_REST}*",
            rf"(?<![a-z0-9/\\]){_SLASHES}{_HOST}{_REST}*",  # relative to the page's scheme
            rf"(?<![a-z0-9.])www[0-9]{{0,3}}{_DOT}{_REST}+",
            rf"(?<![a-z0-9.-])(?:{_CALLS})\\*:{_REST}+",  # opens a program, with no authority
            rf"{_IP}(?!{_NETWORK}){_AFTER_HOST}{_REST}*",
            rf"{_FIRST_LABELS}{_DOT}(?:{_TLDS}){_AFTER_HOST}{_REST}*",  # a host name without scheme
            rf"(?<={AFTER_NAME}){_AFTER_HOST}{_REST}*",
        )
    ),
    re.IGNORECASE,
)
# A host name under any other top-level domain, its dots not those that end a Chinese or Japanese sentence.
_OTHER_NAME = re.compile(
    rf"{_FIRST_LABELS}{_DOT}(?!(?:{_FILES})(?![a-z0-9_-]))(?:[a-z]{{2,}}|xn--[a-z0-9-]+){_AFTER_HOST}{_REST}*", re.I
)
_AUTHORITY = re.compile(r"((?:https?:)?//)?([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::[0-9]{1,5})?(?=[/?#]|\Z)", re.I | re.A)
_WHOLE = re.compile(
    r"https?://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::[0-9]{1,5})?(?:[/?#][\w.~/?#&=%+,;:@!$*'-]*)?", re.I | re.A
)
_FULL_STOPS = "\u3002\uff61"
_TRAILING = ".,;:!?*_~"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an address stands in a word. `allowed` ends where its authority does, the path is text like any other."""

    start: int
    end: int
    allowed: bool


def find_address(word: str, folded: str, start: int, hosts: Set[str]) -> Address | None:
    """The first address from `start` on; `folded` is `fold(word)`. `hosts` are lower-case names, matched exactly."""
    views = (folded,) if folded == word else (folded, word)  # a look-alike letter can also be a boundary
    matches = [found for view in views if (found := _ADDRESS.search(view, start))]
    if other := _OTHER_NAME.search(_with_full_stops(word, folded), start):
        matches.append(other)
    if not matches:
        return None
    found = min(matches, key=lambda match: match.start())
    end = found.start() + max(len(found[0].rstrip(_TRAILING)), 1)
    authority = _AUTHORITY.match(word[found.start() : end])
    if authority is not None and authority[2].lower() in hosts:
        return Address(found.start(), found.start() + authority.end(), allowed=True)
    return Address(found.start(), end, allowed=False)


def is_allowed_url(text: str, hosts: Set[str]) -> bool:
    """True if `text` is, whole, a plain http(s) URL of an allowed host: no user, no escapes, no blanks, and no other
    address in its path or query."""
    found = _WHOLE.fullmatch(text)
    if found is None or found[1].lower() not in hosts:
        return False
    return not any(pattern.search(text, found.end(1)) for pattern in (_ADDRESS, _OTHER_NAME))


def fold(text: str) -> str:
    """`text` with look-alikes of ASCII (full-width, mathematical, circled; the ideographic full stop) as ASCII, of the
    same length."""
    return text if text.isascii() else "".join(_fold_character(character) for character in text)


def _with_full_stops(word: str, folded: str) -> str:
    """`folded`, but with the ideographic full stops of `word`."""
    if folded == word:
        return word
    return "".join(seen if seen in _FULL_STOPS else plain for seen, plain in zip(word, folded, strict=True))


@cache
def _fold_character(character: str) -> str:
    if character.isascii():
        return character
    folded = "." if character in _FULL_STOPS else unicodedata.normalize("NFKC", character)
    same = len(folded) == 1 and folded.isascii() and (folded.isalnum() or folded in ":/.\\@-_%?#")
    return folded if same else character
