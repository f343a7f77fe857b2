"""End to end over part of a real handbook with its access list; skipped where the corpora are absent."""

from __future__ import annotations

import asyncio
import json
import os
import tarfile
from pathlib import Path
from typing import IO, Any

import pytest
from tests.leak.house import house, recorded_documents

from usher.ingest import IngestOptions

CORPORA = Path(os.environ.get("USHER_CORPORA", Path(__file__).parents[3] / "shared" / "corpora"))
FILES = 40
LONG = bytes(5000)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CORPORA.is_dir(), reason=f"no corpora in {CORPORA} (set USHER_CORPORA)"),
]


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CORPORA / name).read_text("utf-8").splitlines()]


def _short(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes] | None:
    """To be read at once: going back in the archive means unpacking it again."""
    return archive.extractfile(member) if member.size < len(LONG) else None


def _part(folder: Path) -> tuple[dict[str, set[str]], list[str]]:
    """Write `FILES` short files, answers first and then spread over the departments; path -> roles, and questions."""
    questions = _lines("questions_handbook.jsonl")
    oracle = {line["path"]: set(line["allowed_roles"]) for line in _lines("acl_handbook.jsonl")}
    with tarfile.open(CORPORA / "handbook.tar.xz") as archive:
        short = {member.name: file.read() for member in archive if (file := _short(archive, member))}
    texts = {name.removeprefix("handbook/"): text for name, text in short.items()}
    gold = [path for question in questions for path in question["gold_paths"] if path in texts]
    others = sorted((path for path in oracle if len(texts.get(path, LONG)) < 2500), key=lambda path: path[::-1])
    chosen = list(dict.fromkeys([*gold[:25], *others[:: max(1, len(others) // FILES)]]))[:FILES]
    for path in chosen:
        file = folder / "handbook" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(texts[path])
    asked = [question["question"] for question in questions if set(question["gold_paths"]) & set(chosen)]
    return {path: oracle[path] for path in chosen}, asked


@pytest.mark.crash
def test_no_role_is_shown_what_its_access_list_denies(graph: Path, tmp_path: Path) -> None:
    """Search, citations, lists and recorded retrievals of twelve roles stay within the access list."""
    asyncio.run(_ask_everything(graph, tmp_path))


async def _ask_everything(graph: Path, tmp_path: Path) -> None:
    oracle, questions = _part(tmp_path)
    roles = sorted({role for names in oracle.values() for role in names})
    policy, acl = tmp_path / "policy.csv", tmp_path / "acl.jsonl"
    lines = [f"p, role:{role}, sys:chat, chat.ask, allow, always\ng, user:{role}, role:{role}\n" for role in roles]
    policy.write_text("".join(lines))
    readers = [{"path": path, "readers": [f"role:{role}" for role in names]} for path, names in oracle.items()]
    acl.write_text("".join(f"{json.dumps(line)}\n" for line in readers))
    options = IngestOptions(tmp_path / "handbook", source="handbook", acl=acl)
    async with house(tmp_path / "home", graph, policy, roles, options) as usher:
        shelves = {role: await usher.shelf(role) for role in roles}
        for role in roles:
            assert set(shelves[role].values()) == {path for path, names in oracle.items() if role in names}
        for question in questions[:6]:
            for role in roles:
                hits = await usher.search(role, question)
                cited = (await usher.ask(role, question))["usher"]["citations"]
                assert all(role in oracle[shown["path"]] for shown in [*hits, *cited])
        names = {await usher.services.ledger.pseudonym(role): role for role in roles}
        for pseudonym, document in await recorded_documents(usher.services):
            assert document in shelves[names[pseudonym]]
