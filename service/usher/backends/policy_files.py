"""A policy as files: a rule file, or a folder with one, the YAML documents and `cases/` beside it."""

from __future__ import annotations

from pathlib import Path

from usher.core.policy_documents import KNOWN
from usher.core.policy_source import MAX_RULES, PolicySource, check_size
from usher.errors import UserError


def read_source(path: Path) -> PolicySource:
    """Read a policy. Raises `UserError` naming the file, what is wrong and the remedy."""
    rules = path if path.is_file() else path / "policy.csv"
    if not rules.is_file():
        raise UserError("policy", f"{path} is no rule file and has no policy.csv", "name a CSV file or its folder")
    folder = rules.parent
    documents = {name: _text(folder / name) for name in KNOWN if (folder / name).is_file()}
    cases = {file.name: _text(file) for file in sorted((folder / "cases").glob("*.yaml"))}
    return PolicySource(_text(rules), documents, cases)


def write_source(folder: Path, source: PolicySource, *, over: bool = False) -> list[str]:
    """Write a policy as a folder that reads back as the same bytes; returns the files' names. A folder that is not
    empty is refused, unless `over`: then the files of the policy that lies there go first. Raises `UserError`."""
    check_size(source)
    if folder.is_dir() and any(folder.iterdir()) and not over:
        raise UserError("policy", f"{folder} is not empty", "name a folder that is not there yet, or give --force")
    cases = folder / "cases"
    cases.mkdir(parents=True, exist_ok=True)
    for old in [*(folder / name for name in KNOWN), *cases.glob("*.yaml")]:
        old.unlink(missing_ok=True)
    texts = {"policy.csv": source.rules_text, **source.documents}
    texts |= {f"cases/{name}": text for name, text in source.cases.items()}
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    return list(texts)


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_RULES:
        raise UserError("policy", f"{path} is larger than {MAX_RULES >> 20} MiB", "split the rules by role")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UserError("policy", f"{path} is not UTF-8 (byte {error.start})", "save it as UTF-8") from error
