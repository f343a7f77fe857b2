"""Citations of an answer: only passages that were in its prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable

HOLD = 80
"""Longest bracket that can be a citation list, in characters."""

# Invisible characters inside the brackets are no way around the check.
_BLANK = r" \t\u00a0\u00ad\u200b-\u200f\u2060-\u2064\ufeff"
_NUMBER = rf"[{_BLANK}]*[0-9][0-9{_BLANK}]*"
_LIST = rf"{_NUMBER}(?:[,;\u2013-]{_NUMBER})*"
_CITE = rf"\[(?=[^\]]{{1,{HOLD}}}\])(?P<list>{_LIST})\]"
_BEGUN = rf"\[[0-9,;\u2013{_BLANK}-]{{0,{HOLD}}}"
_TOKEN, _TOKEN_ALONE = (
    re.compile(rf"(?P<ticks>`+|~~~+)|(?P<line>\n)|(?P<cite>{space}{_CITE})|[^`~\n\[ ]+|.", re.DOTALL)
    for space in (" ?", "")
)
_OPEN, _OPEN_ALONE = (re.compile(rf"(?:`+|~+|{begun})\Z") for begun in (rf" ?{_BEGUN}| ", _BEGUN))
_ITEM = re.compile(r"([0-9]+)(?:([\u2013-])([0-9]+))?")
_INVISIBLE = re.compile(rf"[{_BLANK}]")
_BEFORE_FENCE = re.compile(r"[ \t>*+0-9.)-]*\Z")


class Citer:
    """Passes an answer on, citation by citation.

    `[3]`, `[1, 2]`, `[1-3]` and `[1][2]` are citations wherever they stand in prose, also right after a word. A number
    that is not in `allowed` is taken out of the text (with the space before it, if the bracket goes) and counted in
    `dropped`. Where nothing is in `allowed` the space stays, so that no word waits for what comes after it. Inside code
    (between backticks on one line, or in a fence) brackets are left alone, and so is anything in brackets that is not
    one to three digits: `[sic]`, `[x]`, `[2024]`.

    A citation may be split over any number of deltas. Run it before `clean.Cleaner`: taking something out can join
    what stood around it.
    """

    def __init__(self, allowed: Iterable[int]) -> None:
        self._allowed = frozenset(allowed)
        self._begun, self._tokens = (_OPEN, _TOKEN) if self._allowed else (_OPEN_ALONE, _TOKEN_ALONE)
        self._held = ""
        self._code = _Code()
        self._cited: dict[int, None] = {}
        self.dropped = 0

    @property
    def cited(self) -> tuple[int, ...]:
        """The numbers cited so far, in order of first use."""
        return tuple(self._cited)

    def feed(self, text: str) -> str:
        """The next part of the answer, up to a bracket or a space that may begin a citation."""
        text = self._held + text
        found = self._begun.search(text)
        cut = found.start() if found else len(text)
        self._held = text[cut:]
        return self._pass(text[:cut])

    def finish(self) -> str:
        """What was held back, at the end of the answer."""
        text, self._held = self._held, ""
        return self._pass(text)

    def _pass(self, text: str) -> str:
        return "".join(self._token(token) for token in self._tokens.finditer(text))

    def _token(self, token: re.Match[str]) -> str:
        if token["cite"] is None or self._code.inside:
            self._code.read(token)
            return token[0]
        kept = self._kept(token["list"])
        if kept is None:
            self._code.read(token)
            return token[0]
        return f"{' ' * token[0].startswith(' ')}[{kept}]" if kept else ""

    def _kept(self, listed: str) -> str | None:
        """The list without invented numbers; None if it is not a list of citations."""
        pieces = re.split(r"[,;]", _INVISIBLE.sub("", listed))
        items = [_ITEM.fullmatch(piece) for piece in pieces]
        numbers = [_numbers(item) for item in items if item is not None]
        if len(numbers) < len(pieces) or not all(numbers):
            return None
        kept = []
        for group in numbers:
            held = [n for n in group if n in self._allowed]
            self.dropped += len(group) - len(held)
            self._cited.update(dict.fromkeys(held))
            kept += held
        return ", ".join(str(n) for n in kept)


def _numbers(item: re.Match[str]) -> list[int]:
    """The numbers of `3` or `1-3`; none if it is not a citation (over three digits, a range that runs backwards)."""
    first, last = item[1], item[3] or item[1]
    if len(first) > 3 or len(last) > 3:
        return []
    return list(range(int(first), int(last) + 1))


class _Code:
    """Where the text stands: prose, a code span (ends with its line at the latest) or a fence."""

    def __init__(self) -> None:
        self._fence = ""
        self._span = ""
        self._line = True  # nothing but quote and list marks on this line so far

    @property
    def inside(self) -> bool:
        return bool(self._fence or self._span)

    def read(self, token: re.Match[str]) -> None:
        if token["line"]:
            self._span, self._line = "", True
        elif token["ticks"]:
            self._ticks(token["ticks"])
        else:
            self._line = self._line and _BEFORE_FENCE.fullmatch(token[0]) is not None

    def _ticks(self, ticks: str) -> None:
        fence = self._line and len(ticks) >= 3
        self._line = False
        if self._fence:
            if fence and ticks.startswith(self._fence):
                self._fence = ""
        elif fence:
            self._fence = ticks
        elif ticks[0] == "`" and self._span in ("", ticks):
            self._span = "" if self._span else ticks
