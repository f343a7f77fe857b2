"""A policy as its authors wrote it: the rule file, the YAML documents beside it and the cases, each text as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from usher.errors import UserError
from usher_policy.cases import Case, read_case

MAX_RULES: Final = 64 * 1024 * 1024
"""Bytes of a rule file: the million rules that lint reads at most fit."""
MAX_BESIDE: Final = 4 * 1024 * 1024
"""Bytes of all documents and cases together."""
MAX_FILES: Final = 500
"""Documents and case files together."""
MAX_FILE_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class PolicySource:
    """A policy as it lies in a folder: the rule file's text, the YAML documents beside it and the files of cases, both
    by file name. What is stored is this, byte for byte."""

    rules_text: str
    documents: Mapping[str, str] = field(default_factory=dict)
    cases: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[bytes, ...]:
        """All of it, as bytes that no other policy has."""
        beside = (("document", self.documents), ("case", self.cases))
        texts = [part for kind, files in beside for name in sorted(files) for part in (kind, name, files[name])]
        return tuple(encoded(text) for text in (self.rules_text, *texts))


class TooLarge(UserError):
    """More than is read, let alone kept."""

    status = 413


class CaseFileError(ValueError):
    """A file of cases cannot be used; `line` counts from 1 (0: the file as a whole)."""

    def __init__(self, name: str, line: int, problem: str, remedy: str) -> None:
        super().__init__(f"{name}: {problem}; {remedy}")
        self.name, self.line, self.problem, self.remedy = name, line, problem, remedy


def encoded(text: str) -> bytes:
    """A text as bytes, also one with half of a surrogate pair, which lint refuses."""
    return text.encode(errors="surrogatepass")


def check_size(source: PolicySource) -> None:
    """Raises `TooLarge` for more than the bounds above, and `UserError` for file names that are none."""
    if not _within([source.rules_text], MAX_RULES):
        raise TooLarge("policy", f"has a rule file of more than {MAX_RULES >> 20} MiB", "give rights to roles")
    beside = [*source.documents.values(), *source.cases.values()]
    if len(beside) > MAX_FILES or not _within(beside, MAX_BESIDE):
        problem = f"has more than {MAX_FILES} files or {MAX_BESIDE >> 20} MiB beside the rules"
        raise TooLarge("policy", problem, "leave out cases that say the same")
    for name in (*source.documents, *source.cases):
        if len(name) > MAX_FILE_NAME or "/" in name or not name.isprintable() or not name.endswith(".yaml"):
            raise UserError("policy", "has a file whose name is none", "name it such as finance.yaml, without a folder")


def _within(texts: Iterable[str], most: int) -> bool:
    """Whether all of these have at most so many bytes together; not one is encoded that has more characters."""
    left = most
    for text in texts:
        left -= len(text) if len(text) > left or text.isascii() else len(encoded(text))
        if left < 0:
            return False
    return True


class _Plain(yaml.SafeLoader):
    """YAML of texts, times and what they are in: neither numbers, of which a long one is the work of hours, nor
    mappings merged into others, by which a page becomes more than memory holds."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """A `<<` is a key as any other."""


_Plain.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in known if tag.rpartition(":")[2] in ("bool", "null", "timestamp")]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _as_written(loader: _Plain, node: yaml.ScalarNode) -> Any:
    return loader.construct_scalar(node)


for _number in ("int", "float"):  # said outright, as in `!!int 7`
    _Plain.add_constructor(f"tag:yaml.org,2002:{_number}", _as_written)


def read_cases(files: Mapping[str, str]) -> list[Case]:
    """The cases of these files, file by file. Raises `CaseFileError`."""
    return [case for name in sorted(files) for case in _read(name, files[name])]


def _read(name: str, text: str) -> list[Case]:
    try:
        parsed = yaml.load(text, _Plain)  # noqa: S506  # it is a `SafeLoader` that makes less
    except Exception as error:  # its own errors, and whatever a time that is none makes its constructors raise
        mark = getattr(error, "problem_mark", None)
        raise CaseFileError(name, mark.line + 1 if mark else 0, "is not YAML", "mend its syntax") from error
    if parsed is None:
        return []
    if not isinstance(parsed, list):
        raise CaseFileError(name, 0, "is not a list of cases", "write a YAML list of {user, object, action, …}")
    return [_case(name, number, item) for number, item in enumerate(parsed, 1)]


def _case(name: str, number: int, item: Any) -> Case:
    if not isinstance(item, dict) or not isinstance(item.get("name", ""), str | int):
        raise CaseFileError(name, 0, f"case {number} is not a mapping", "write {user, object, action, expect}")
    try:
        return read_case(item, f"{name} case {number}")
    except (ValueError, TypeError, OverflowError) as error:
        remedy = "see the cases of the sample policy"
        raise CaseFileError(name, 0, str(error).removeprefix(f"{name} "), remedy) from error
