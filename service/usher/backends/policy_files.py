"""A policy as files: a rule file, or a folder with one, the YAML documents and `cases/` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from usher.core.policy_documents import KNOWN
from usher.errors import UserError
from usher.policy_admin import PolicySource
from usher_policy.cases import Case, read_case

MAX_BYTES = 64 * 1024 * 1024


def read_source(path: Path) -> PolicySource:
    """Read a policy. Raises `UserError` naming the file, what is wrong and the remedy."""
    rules = path if path.is_file() else path / "policy.csv"
    if not rules.is_file():
        raise UserError("policy", f"{path} is no rule file and has no policy.csv", "name a CSV file or its folder")
    folder = rules.parent
    documents = {name: _text(folder / name) for name in KNOWN if (folder / name).is_file()}
    cases = [case for file in sorted((folder / "cases").glob("*.yaml")) for case in _cases(file)]
    return PolicySource(_text(rules), documents, cases)


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise UserError("policy", f"{path} is larger than {MAX_BYTES >> 20} MiB", "split the rules by role")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UserError("policy", f"{path} is not UTF-8 (byte {error.start})", "save it as UTF-8") from error


def _cases(path: Path) -> list[Case]:
    try:
        parsed = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise UserError("cases", f"{path} is not YAML", "mend its syntax") from error
    if not isinstance(parsed, list):
        raise UserError("cases", f"{path} is not a list of cases", "write a YAML list of {user, object, action, …}")
    return [_case(path, number, item) for number, item in enumerate(parsed, 1)]


def _case(path: Path, number: int, item: Any) -> Case:
    if not isinstance(item, dict):
        problem = f"{path.name} case {number} is not a mapping"
        raise UserError("cases", problem, "write {user, object, action, expect}")
    try:
        return read_case(item, f"{path.name} case {number}")
    except (ValueError, TypeError) as error:
        raise UserError("cases", str(error), "see the cases of the sample policy") from error
