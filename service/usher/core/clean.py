"""What leaves is clean: no link, image, autolink, reference definition, HTML tag or web address to a host that is not
allowed.

The filter does not read Markdown as some renderer does. It keeps four things from ever leaving, whatever they stand in
(code too: renderers differ about what is code): `](` unless it opens a plain link to an allowed host; `]:` where a
definition could begin; `<` before a letter, `/`, `!` or `?` unless it opens an autolink to an allowed host; and
anything that a renderer, a linkifier or a browser could take for an address. So a reference (`[text][name]`) may stay:
it has no definition to refer to.

Decided: bare e-mail addresses stay, `mailto:` and `tel:` go. A host name alone (`example.com`) stays; with a path or
query it goes, under any top-level domain. Links relative to the page go: an answer stands on no page of ours. A port
does not change a host.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

from usher.core.urls import AFTER_NAME, find_address, fold, is_allowed_url
from usher.core.visible import JOINER, Visible

REMOVED = "(link removed)"
LONGEST_TARGET = 2_000
DEEPEST_TARGET = 32
"""Parentheses inside each other in one link's target, as other implementations limit it."""
LONGEST_TAG = 400
LONGEST_WORD = 4_096

_WORD = re.compile(r"[!-;=-\\^-~]+")
_TAG_NAMES = (
    "a abbr article aside audio b base big blockquote body br button canvas caption center cite code col colgroup dd"
    " del details div dl dt em embed fieldset figcaption figure font footer form frame frameset h1 h2 h3 h4 h5 h6 head"
    " header hr html i iframe img input ins kbd label li link main map mark math meta nav noscript object ol optgroup"
    " option p param picture pre q s samp script section select small source span strike strong style sub summary sup"
    " svg table tbody td template textarea tfoot th thead time title tr track tt u ul var video wbr"
)
_TAGS = frozenset(_TAG_NAMES.split())
_CLOSE = re.compile(r"[<>]")
_NAME = re.compile(r"</?([A-Za-z][A-Za-z0-9-]*)")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s+[\w:@.-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+))*\s*/?>")
_AUTOLINK = re.compile(r"<(https?://[^\s<>]*)")
_BEFORE_LABEL = re.compile(r"(?:\w|[^\x00-\x7f\s])[.\uff0e]\Z")
SHORTEST_NAME = 2
"""Letters of a top-level domain that is not ASCII."""
_WORDS_ONLY = re.compile(r"[\w ,;!']*")
_TARGET = re.compile(r"\s*(?:<([^<>\n]*)>|(\S*))(?:\s+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?\s*")
_TARGET_MARK = re.compile(r"\\.|[()]|\n[ \t]*\n", re.DOTALL)


class Cleaner:
    """Streams an answer and takes out what points outside.

    The text of a link stays and its target goes (`[text] (link removed)`); `removed` counts what went, by kind. The
    output is the same however the input is cut into deltas, and cleaning it again changes nothing. Prose is held back
    to the last word; a link's target, a tag or a word at most to the limits above, and what exceeds them is broken or
    dropped, never released.
    """

    def __init__(self, allowed_hosts: Iterable[str]) -> None:
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._visible = Visible()
        self._held = ""
        self._last = ""
        self._label: int | None = None  # letters that are not ASCII since the dot of a name; None: there is none
        self._indexed = False  # the last "[" followed a letter or digit: an index, not a label
        self._swallowing = False  # inside a word that was too long
        self._removed: Counter[str] = Counter()

    @property
    def removed(self) -> Mapping[str, int]:
        """How many were taken out: `link`, `definition`, `tag`, `address`, `word` (longer than any should be)."""
        return dict(self._removed)

    def feed(self, text: str) -> str:
        """The next part of the answer that may leave."""
        self._held += self._visible.feed(text)
        return self._drain(final=False)

    def finish(self) -> str:
        """The rest, at the end of the answer."""
        self._held += self._visible.feed("", final=True)
        return self._drain(final=True)

    def _drain(self, *, final: bool) -> str:
        text, folded = self._held, fold(self._held)
        out: list[str] = []
        at = 0
        while at < len(text):
            end, piece = self._step(text, folded, at, final)
            if end == at:
                break
            out.append(piece)
            self._follow(piece)
            at = end
        self._held = text[at:]
        return "".join(out)

    def _follow(self, piece: str) -> None:
        if self._label is not None and len(piece) == 1 and _is_letter(piece):
            self._label += 1
        elif piece:
            self._label = 0 if _BEFORE_LABEL.search(self._last + piece[-2:]) else None
        self._last = piece[-1:] or self._last

    def _step(self, text: str, folded: str, at: int, final: bool) -> tuple[int, str]:
        """What becomes of the text at `at`: where it goes on, and what leaves. `at` itself: wait for more."""
        if text[at] == "<":
            return self._angle(text, at, final)
        if text[at] == "]":
            return self._bracket(text, at, final)
        word = _WORD.match(folded, at)
        if word is None:
            self._swallowing = False
            shapes_nothing = self._last.isascii() and JOINER.match(text[at])  # what it shaped was taken out
            return at + 1, "" if shapes_nothing else text[at]
        return self._word(text, folded, at, word.end(), final)

    def _word(self, text: str, folded: str, at: int, end: int, final: bool) -> tuple[int, str]:
        unfinished = end == len(text) and not final
        if self._swallowing:
            self._swallowing = unfinished
            return end, ""
        if end - at > LONGEST_WORD:
            self._swallowing = unfinished
            self._removed["word"] += 1
            return end, REMOVED
        if unfinished:
            return at, ""
        more = end < len(text) and not (text[end].isascii() or text[end].isspace())  # an address can go on there
        cleaned = self._without_addresses(text[at : end + more], folded[at : end + more], end - at)
        before, bracket, _ = (self._last + cleaned).rpartition("[")
        if bracket:
            self._indexed = before[-1:].isalnum() or before.endswith("_")
        return end, cleaned

    def _without_addresses(self, word: str, folded: str, length: int) -> str:
        """The first `length` characters of `word`, cleaned; what follows them is only looked at."""
        before = AFTER_NAME if (self._label or 0) >= SHORTEST_NAME else self._last or " "
        word, folded, end = before + word, before + folded, 1 + length
        out: list[str] = []
        at = 1
        while (address := find_address(word, folded, at, self._hosts)) is not None and address.start < end:
            out.append(word[at : address.start])
            if address.allowed:  # the slash ends its authority, whatever comes next
                out.append(word[address.start : address.end] + "/" * (not word.startswith("/", address.end)))
            else:
                self._removed["address"] += 1
                out.append(" " * word[: address.start].endswith("]") + REMOVED)
            at = min(address.end, end)
        return "".join(out) + word[at:end]

    def _angle(self, text: str, at: int, final: bool) -> tuple[int, str]:
        following = text[at + 1 : at + 2]
        if not following and not final:
            return at, ""
        if not ((following.isascii() and following.isalpha()) or following in tuple("/!?")):
            return at + 1, "<"
        end = self._tag_end(text, at, final)
        if end is None:
            return at, ""
        if end < 0:
            self._removed["tag"] += 1
            return at + 1, "< "
        if text.startswith(("<http://", "<https://"), at):
            return end, text[at:end]
        self._removed["tag"] += 1
        return end, "" if not self._last or self._last.isspace() else " "

    def _tag_end(self, text: str, at: int, final: bool) -> int | None:
        """Where the tag or allowed autolink at `at` ends; -1: it is neither; None: not known yet."""
        waits = not final and len(text) - at <= LONGEST_TAG
        name = _NAME.match(text, at)
        if name is None:
            return None if waits and len(text) == at + 2 and text[at + 1] == "/" else -1
        if name.end() == len(text) and waits:
            return None
        if name[1] in ("http", "https"):
            return self._autolink_end(text, at, waits)
        if name[1].lower() not in _TAGS:
            return -1
        close = _CLOSE.search(text, at + 1, at + LONGEST_TAG)
        if close is None:
            return None if waits else -1
        tag = _TAG.match(text, at)
        return tag.end() if tag is not None else -1

    def _autolink_end(self, text: str, at: int, waits: bool) -> int | None:
        link = _AUTOLINK.match(text, at, at + LONGEST_TAG)
        if link is None:
            return None if waits and len(text) - at < len("<https://") else -1
        if link.end() == len(text) and waits:
            return None
        closed = text.startswith(">", link.end()) and is_allowed_url(link[1], self._hosts)
        return link.end() + 1 if closed else -1

    def _bracket(self, text: str, at: int, final: bool) -> tuple[int, str]:
        following = text[at + 1 : at + 2]
        if not following and not final:
            return at, ""
        if following == "(":
            return self._link(text, at, final)
        if following == ":" and not self._indexed:
            self._removed["definition"] += 1
            return at + 1, "] "
        return at + 1, "]"

    def _link(self, text: str, at: int, final: bool) -> tuple[int, str]:
        end = _target_end(text, at + 2)
        if end is None:
            waits = not final and len(text) - at <= LONGEST_TARGET
            return (at, "") if waits else (at + 1, "] ")
        inside = text[at + 2 : max(end - 1, at + 2)]
        target = _TARGET.fullmatch(inside)
        if end < 0 or target is None or _WORDS_ONLY.fullmatch(inside):  # no link once it stands apart
            return at + 1, "] "
        url = target[1] or target[2] or ""
        if is_allowed_url(url, self._hosts):
            return end, f"]({url})"
        self._removed["link"] += 1
        return end, f"] {REMOVED}"


def _target_end(text: str, at: int) -> int | None:
    """Where the parenthesis of a link's target closes; -1: it is no target; None: it does not close in this text."""
    depth = 1
    for mark in _TARGET_MARK.finditer(text, at, at + LONGEST_TARGET):
        if mark[0] == "(":
            depth += 1
            if depth > DEEPEST_TARGET:
                return -1
        elif mark[0] == ")":
            depth -= 1
            if depth == 0:
                return mark.end()
        elif mark[0][0] == "\n":
            return -1
    return None


def _is_letter(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character)[0] in "LM"


def clean(text: str, allowed_hosts: Iterable[str]) -> str:
    """A whole text, cleaned."""
    cleaner = Cleaner(allowed_hosts)
    return cleaner.feed(text) + cleaner.finish()
