"""Where a document is shelved and who may read it: ingest rules and access lists to requirements."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import yaml

from usher_policy.catalog import readers_digest, requirements
from usher_policy.vocabulary import is_name, split_name, typed


class ShelvingError(ValueError):
    """A rules or ACL file as a whole cannot be used; `line` counts from 1 (0: the file)."""

    def __init__(self, line: int, problem: str, remedy: str) -> None:
        super().__init__(f"{f'line {line}: ' if line else ''}{problem}; {remedy}")
        self.line, self.problem, self.remedy = line, problem, remedy


@dataclass(frozen=True, slots=True)
class IngestRule:
    """`glob` over paths relative to the source's root; the first rule with a collection that matches gives it, and
    the markings of all rules that match unite."""

    glob: str
    collection: str | None = None
    markings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AclLine:
    """One document's reader list (empty: it admits nobody) and markings, from its source system."""

    readers: tuple[str, ...]
    markings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shelving:
    """What an ingest run was told about access. `acl` is None where no access list was given."""

    collection: str | None = None
    rules: Sequence[IngestRule] = ()
    acl: Mapping[str, AclLine] | None = None
    bad_acl: Mapping[str, str] = field(default_factory=dict)
    """Paths whose ACL line cannot be used, with what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A document's requirements, and the reader list among them by its name."""

    requirements: frozenset[str]
    readers: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Refused:
    problem: str
    remedy: str


class Unlisted:
    """The access list does not name the document, and nothing else shelves it: left out, without complaint."""


def shelve(path: str, shelving: Shelving, known_roles: Collection[str]) -> Shelf | Refused | Unlisted:
    """Decide one document's requirements. Nothing is public: without a collection and a reader list it is refused."""
    if path in shelving.bad_acl:
        return Refused(shelving.bad_acl[path], "mend its line in the ACL file")
    line = None if shelving.acl is None else shelving.acl.get(path)
    matching = [rule for rule in shelving.rules if _glob(rule.glob).fullmatch(path)]
    collection = next((rule.collection for rule in matching if rule.collection), shelving.collection)
    if collection is None and line is None:
        if shelving.acl is not None:
            return Unlisted()
        return Refused("it has neither a collection nor readers", "name it in --rules or --acl, or give --collection")
    unknown = sorted(r for r in (line.readers if line else ()) if r.startswith("role:") and r not in known_roles)
    if unknown:
        return Refused(f"the active policy knows no {unknown[0]}", "apply a policy that has this role, or mend the ACL")
    markings = {mark for rule in matching for mark in rule.markings} | set(line.markings if line else ())
    readers = frozenset(line.readers) if line else None
    needed = requirements(collection, readers, markings)
    return Shelf(needed, {} if readers is None else {readers_digest(readers): readers})


def parse_rules_yaml(text: str) -> tuple[IngestRule, ...]:
    """A YAML list of `{glob, collection, markings}`. Raises `ShelvingError`."""
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ShelvingError(mark.line + 1 if mark else 0, "is not YAML", "mend its syntax") from error
    if not isinstance(parsed, list):
        raise ShelvingError(0, "is not a list of rules", "write a YAML list of {glob, collection, markings}")
    return tuple(_rule(number, item) for number, item in enumerate(parsed, 1))


def _rule(number: int, item: Any) -> IngestRule:
    if not isinstance(item, dict) or not isinstance(item.get("glob"), str):
        raise ShelvingError(0, f"rule {number} has no glob", "write {glob: 'hr/**', collection: hr}")
    unknown = sorted(map(str, set(item) - {"glob", "collection", "markings"}))
    if unknown:
        raise ShelvingError(0, f"rule {number} has the unknown key {unknown[0]}", "use glob, collection, markings")
    try:
        collection = None if item.get("collection") is None else collection_name(item["collection"])
        return IngestRule(_checked_glob(item["glob"]), collection, _markings(item.get("markings")))
    except ValueError as error:
        raise ShelvingError(0, f"rule {number}: {error}", "mend it") from error


def _checked_glob(glob: str) -> str:
    """A pattern that can match no path, or does not mean what it looks like, would leave a marking off silently."""
    for segment in glob.split("/"):
        if segment in ("", ".", ".."):
            raise ValueError("its glob is not in the plain form of paths, such as hr/**/*.md, relative to the folder")
        if "**" in segment and segment != "**":
            raise ValueError("its glob has ** beside other characters in one segment; write hr/**/*.md")
    return glob


def parse_acl(text: str) -> tuple[dict[str, AclLine], dict[str, str]]:
    """JSON lines of `{path, readers, markings}`: usable lines by path, and what is wrong with the others by path.

    Raises `ShelvingError` for a line without a path, and for a path named twice: nobody could say which holds.
    """
    lines: dict[str, AclLine] = {}
    bad: dict[str, str] = {}
    for number, raw in enumerate(text.split("\n"), 1):
        if not raw.strip():
            continue
        path, item = _acl_object(number, raw)
        if path in lines or path in bad:
            raise ShelvingError(number, "names a path for the second time", "keep one line for each path")
        try:
            lines[path] = _acl_line(path, item)
        except ValueError as error:
            bad[path] = str(error)
    return lines, bad


def _acl_object(number: int, raw: str) -> tuple[str, dict[str, Any]]:
    try:
        item = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ShelvingError(number, "is not JSON", "write one object on each line") from error
    if not isinstance(item, dict) or not isinstance(item.get("path"), str):
        raise ShelvingError(number, "has no path", 'write {"path": "a/b.md", "readers": ["role:hr"]}')
    return item["path"], item


def _acl_line(path: str, item: dict[str, Any]) -> AclLine:
    if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("its path leads outside the folder, or is not in its plain form")
    readers = item.get("readers")
    if not isinstance(readers, list):
        raise ValueError("its ACL line has no list of readers")
    for reader in readers:
        if not isinstance(reader, str) or not is_name(reader) or split_name(reader)[0] not in ("user", "group", "role"):
            raise ValueError("a reader is not a user:, group: or role: name")
    return AclLine(tuple(sorted(set(readers))), _markings(item.get("markings")))


def _markings(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(mark, str) for mark in value):
        raise ValueError("markings are not a list of names")
    return tuple(sorted({typed("mark", mark.removeprefix("mark:")) for mark in value}))


def collection_name(value: Any) -> str:
    """`coll:finance/payroll` from `finance/payroll` or from itself. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("the collection is not a text")
    return typed("coll", value.removeprefix("coll:"))


@lru_cache(maxsize=4096)
def _glob(glob: str) -> re.Pattern[str]:
    """The segment `**` matches any number of path segments (also none; at the end at least one, so that `hr/**` is what
    is below `hr`), `*` any part of one segment; all else is literal."""
    *inner, last = glob.split("/")
    folders = ["(?:[^/]++/)*" if segment == "**" else f"{_segment(segment)}/" for segment in inner]
    return re.compile("".join(folders) + (".+" if last == "**" else _segment(last)), re.DOTALL)


def _segment(text: str) -> str:
    """The first place is right for all but the last part (atomic groups), so that no pattern is slow."""
    first, *others = (re.escape(part) for part in text.split("*"))
    if not others:
        return first
    return "".join([first, *(f"(?>[^/]*?{part})" for part in others[:-1]), "[^/]*", others[-1]])
