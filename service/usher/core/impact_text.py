"""The words of an impact as text: lines for a terminal, and Markdown for a comment on a change.

Names are put into code spans, so that none of them is markup, a link or somebody's mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from usher.core.impact_words import GroupWords, ImpactWords, Listed, Shelf, Side, Whom

MAX_MARKDOWN: Final = 50_000
"""Characters. Comments on the usual platforms may have 65,536, and others say something there too."""

_BARE = ("user:", "coll:", "mark:")
_TICKS = re.compile("`+")


def code(name: str) -> str:
    """A code span of Markdown with exactly this text, whatever is in it but line ends, which names have not."""
    fence = "`" * (max(map(len, _TICKS.findall(name)), default=0) + 1)
    space = " " if name[:1] in "` " or name[-1:] in "` " else ""
    return f"{fence}{space}{name}{space}{fence}"


def lines(words: ImpactWords) -> list[str]:
    """One line for each group and side; one alone if nothing changes for anybody."""
    if not words.groups:
        return ["nobody gains or loses anything"]
    told = [line for group in words.groups for line in _sentences(group)]
    return [*told, *_others(words)]


def markdown(words: ImpactWords, most: int = MAX_MARKDOWN) -> str:
    """The same as a list under its sum, in at most `most` characters (of 1,000 or more): groups that would go beyond
    are counted."""
    head = f"**{_counted(words.gaining, 'gain')}, {_counted(words.losing, 'lose')}.**\n"
    room = most - len(head) - 200  # the sentence on what is left out fits
    told: list[str] = []
    for number, group in enumerate(words.groups):
        text = "".join(f"- {line}\n" for line in _sentences(group))
        if len(text) > room:
            left = words.groups[number:]
            people = words.more_people + sum(_how_many(group.whom) for group in left)
            told.append(f"- and {people} others, in {words.more_groups + len(left)} groups\n")
            return "\n".join([head, "".join(told)])
        room -= len(text)
        told.append(text)
    told += [f"- {line}\n" for line in _others(words)]
    return "\n".join([head, "".join(told)]) if told else "**Nobody gains or loses anything.**\n"


def _sentences(group: GroupWords) -> Iterator[str]:
    several = _how_many(group.whom) > 1
    whom = _whom(group.whom)
    for side, one, many in ((group.gained, "gains", "gain"), (group.lost, "loses", "lose")):
        if side:
            yield f"{whom} {many if several else one} {_joined(_things(side))}"


def _others(words: ImpactWords) -> list[str]:
    if not words.more_groups:
        return []
    return [f"and {words.more_people} others, in {words.more_groups} groups"]


def _how_many(whom: Whom) -> int:
    return whom.people.count + whom.strangers.count + whom.anyone_in.count


def _whom(whom: Whom) -> str:
    parts: list[str] = []
    if whom.people.count == 1:
        parts.append(_name(whom.people.names[0]))
    elif whom.people:
        parts.append(f"{whom.people.count} people ({_names(whom.people)})")
    if whom.strangers:
        parts.append(f"{_names(whom.strangers)} (not in the directory)")
    if whom.anyone_in:
        parts.append(f"anyone in {_names(whom.anyone_in)}")
    return _joined(parts)


def _things(side: Side) -> Iterator[str]:
    yield from map(_shelf, side.shelves.told)
    if side.shelves.more:
        yield f"{side.shelves.more} more places ({_documents(side.shelves.more_documents)})"
    for right in side.rights:
        yield f"{code(right.action)} on {_names(right.objects)}"
    if side.reads:
        yield f"the right to read {_names(side.reads, keep=True)}, which opens nothing more by itself"


def _shelf(shelf: Shelf) -> str:
    marked = f", some marked {_joined(map(_name, shelf.markings))}" if shelf.markings else ""
    count = f"({_documents(shelf.documents)}{marked})"
    if shelf.place.startswith("readers:"):
        readers = _names(shelf.readers) if shelf.readers else "nobody"
        return f"what the reader list of {readers} opens {count}"
    return f"{'' if shelf.whole else 'a part of '}{_name(shelf.place)} {count}"


def _documents(count: int) -> str:
    return f"{count} document{'' if count == 1 else 's'}"


def _names(listed: Listed, *, keep: bool = False) -> str:
    told = [code(name) if keep else _name(name) for name in listed.names]
    return _joined([*told, f"{listed.more} more"] if listed.more else told)


def _name(name: str) -> str:
    """A name without its kind, where the sentence says it."""
    return code(name.partition(":")[2] if name.startswith(_BARE) else name)


def _joined(parts: Iterable[str]) -> str:
    found: Sequence[str] = list(parts)
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}" if found else ""


def _counted(people: int, verb: str) -> str:
    who = "nobody" if people == 0 else "1 person or group" if people == 1 else f"{people} people and groups"
    return f"{who} {verb}{'' if people > 1 else 's'}"
