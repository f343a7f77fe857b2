"""End to end over the sample company: nobody is shown, told or prompted anything that their hand-written list lacks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.leak.house import House, house, recorded_documents

from usher.ingest import IngestOptions
from usher.ledger.verify import verify

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample"
PEOPLE = ("alice", "bob", "carol", "dave")

pytestmark = pytest.mark.slow


def _yaml(name: str) -> Any:
    return yaml.safe_load((SAMPLE / name).read_text("utf-8"))


def test_nobody_is_shown_what_they_may_not_read(graph: Path, tmp_path: Path) -> None:
    """Search, answers, citations, lists and every recorded retrieval stay within the list of readers by hand."""
    asyncio.run(_ask_everything(graph, tmp_path))


async def _ask_everything(graph: Path, tmp_path: Path) -> None:
    readers: dict[str, list[str]] = _yaml("readers.yaml")
    options = IngestOptions(SAMPLE / "documents", source="sample", rules=SAMPLE / "rules.yaml")
    async with house(tmp_path / "home", graph, ROOT / "policies" / "sample", PEOPLE, options) as usher:
        shelves = {person: await usher.shelf(person) for person in PEOPLE}
        for person, shelf in shelves.items():
            assert set(shelf.values()) == {path for path, names in readers.items() if person in names}
        told = {
            (person, n): await _ask(usher, person, entry["question"], readers)
            for n, entry in enumerate(_yaml("questions.yaml"))
            for person in PEOPLE
        }
        names = {await usher.services.ledger.pseudonym(person): person for person in PEOPLE}
        for pseudonym, document in await recorded_documents(usher.services):
            assert document in shelves[names[pseudonym]]
    _check_answers(told)
    verdict = verify(tmp_path / "home" / "ledger.sqlite")
    assert (verdict.ok, verdict.problems) == (True, ())


async def _ask(usher: House, person: str, question: str, readers: dict[str, list[str]]) -> str:
    hits = await usher.search(person, question)
    answer = await usher.ask(person, question)
    for path in [hit["path"] for hit in hits] + [cited["path"] for cited in answer["usher"]["citations"]]:
        assert person in readers[path], f"{person} was shown {path}"
    shown = " ".join([answer["choices"][0]["message"]["content"], *(hit["text"] for hit in hits)])
    return " ".join(shown.split())


def _check_answers(told: dict[tuple[str, int], str]) -> None:
    for n, entry in enumerate(_yaml("questions.yaml")):
        for person in entry["may_not"]:
            assert entry["answer"] not in told[person, n], f"{person} was told the answer to question {n}"
        for person in entry["may"]:
            assert entry["answer"] in told[person, n], f"{person} did not find the answer to question {n}"


def test_the_planted_question_stands_nowhere_in_plain_text(
    graph: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A question that was searched for and asked is in no file of the data folder, no key ring and no log line."""
    planted = "Who feeds the quincunx walrus at midnight?"

    async def plant() -> None:
        options = IngestOptions(SAMPLE / "documents" / "handbook", source="sample", collection="handbook")
        async with house(tmp_path / "home", graph, ROOT / "policies" / "sample", ["bob"], options) as usher:
            await usher.search("bob", planted)
            await usher.ask("bob", planted)
            _assert_absent(tmp_path, "quincunx")

    asyncio.run(plant())
    _assert_absent(tmp_path, "quincunx")
    out, err = capfd.readouterr()
    assert "quincunx" not in out + err


def _assert_absent(folder: Path, word: str) -> None:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert word.encode() not in file.read_bytes(), file
