"""Documents and exchanges for data sets in tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from usher_lora.dataset import About, Document, Exchange, Made, assemble
from usher_lora.dataset_pairs import pairs

TOPICS = ("hotels", "trains", "meals", "phones", "laptops", "parking", "visitors", "keys", "badges", "printers")
ABOUT = About("role:desk", ("coll:handbook",), 1, 1, 7, ("mira.holt",))


def text(topic: str) -> str:
    return (
        f"# All about {topic}\n\nFor {topic} the company pays at most {len(topic)} hundred euros a year, by {topic} "
        f"list.\n\n## Who decides on {topic}?\n\nThe {topic} committee decides in the week that follows, in {topic} "
        f"order.\n\n- {topic} form: the sheet on which {topic} are asked for\n"
    )


def document(
    number: int, access_class: int = 1, said: str | None = None, names: Sequence[str] = ("coll:handbook",)
) -> Document:
    written = text(TOPICS[number % len(TOPICS)]) if said is None else said
    made = tuple(pairs(f"Paper {number}", written))
    return Document(UUID(int=number + 1), 1, access_class, names[0], tuple(names), written, made)


def documents(count: int = 10) -> list[Document]:
    return [document(number) for number in range(count)]


def made(some: Sequence[Document] | None = None, talks: Sequence[Exchange] = (), about: About = ABOUT) -> Made:
    return assemble(documents() if some is None else some, talks, about)


def rows(one: Made, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in one.files[name].splitlines()]


def sources(one: Made, name: str) -> set[str]:
    return {source["document"] for row in rows(one, name) for source in row["sources"]}
