"""Single edits of a rule file that somebody keeps: its comments, blank lines and order stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from usher_policy.lines import Row, rows

_Key = tuple[str, tuple[str, ...]]


class EditError(ValueError):
    """An edit that cannot be made: the `line` as it was given, what is wrong with it, and the remedy."""

    def __init__(self, line: str, problem: str, remedy: str) -> None:
        self.line, self.problem, self.remedy = line, problem, remedy
        super().__init__(f"{line[:120]!r}: {problem}; {remedy}")


def edited(text: str, add: Sequence[str], remove: Sequence[str]) -> str:
    """The rule file without some lines and with others, which come last. White space around values tells no lines
    apart. What the lines mean is for `lint` to judge.

    Raises EditError for what is not one rule's line, for a line to remove that is not there, for one to add that is,
    and for one that is asked for twice.
    """
    adding, removing = _asked(add), _asked(remove)
    for key in adding.keys() & removing.keys():
        raise EditError(adding[key], "it is both to be added and to be removed", "ask for one of the two")
    kept, found = _split(text, adding.keys() | removing.keys())
    for key, line in removing.items():
        if key not in found:
            raise EditError(line, "the policy has no such line", "look at the policy as it is now")
    for key, line in adding.items():
        if key in found:
            raise EditError(line, f"line {found[key]} says it already", "leave it out")
    return "\n".join(_ended(kept, [", ".join((kind, *values)) for kind, values in adding]))


def _asked(lines: Sequence[str]) -> dict[_Key, str]:
    """The lines that are asked for, by what they say."""
    asked: dict[_Key, str] = {}
    for line in lines:
        key = _key(_row(line))
        if key in asked:
            raise EditError(line, "it is asked for twice", "ask for it once")
        asked[key] = line
    return asked


def _row(line: str) -> Row:
    found = list(rows(line))
    if len(found) != 1 or "\n" in line.strip():
        raise EditError(line, "it is not one line of a rule file", "write p, … or g, … as in the file")
    return found[0]


def _key(row: Row) -> _Key:
    return row.kind, row.values


def _split(text: str, sought: Collection[_Key]) -> tuple[list[str], dict[_Key, int]]:
    """The lines of a file, but for those that are sought; and where the first of each of these is."""
    places: set[int] = set()
    found: dict[_Key, int] = {}
    for row in rows(text):
        if _key(row) in sought:
            places.add(row.line)
            found.setdefault(_key(row), row.line)
    return [line for number, line in enumerate(text.split("\n"), start=1) if number not in places], found


def _ended(kept: list[str], added: list[str]) -> list[str]:
    """The lines that are added after the last one, with line ends as the file has them."""
    if kept and kept[-1]:
        return kept + added
    carriage = "\r" if len(kept) > 1 and kept[-2].endswith("\r") else ""
    return [*kept[:-1], *(line + carriage for line in added), ""]
