"""Reviewers' cases, kept step by step. What people type in them is sealed under a key of the case's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from usher.core.cases import Step
from usher.ports.data import Change


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """A case by its steps in order, from the first on, and what was typed at some of them by version: the title at
    the first. `erased`: all that was typed is gone, with somebody whose exchange it holds. `damaged`: what is stored of
    it was changed by somebody else and makes no case any more; then there is nothing but its id."""

    id: UUID
    steps: tuple[Step, ...]
    texts: Mapping[int, str]
    erased: bool = False
    damaged: bool = False


class CaseStore(Protocol):
    """A step is pending until the ledger has heard of it; it keeps its place meanwhile, and nobody sees it."""

    async def open(self, case: UUID, step: Step, title: str) -> Change: ...

    async def put(self, case: UUID, step: Step, text: str | None, count: int) -> Change | Step | None:
        """The change, if the step's version is the next one; else the newest step, pending or not, that took the
        place. None: there is no such case, or nothing is written in it any more. `count` exchanges, the ledger hears,
        are in it then."""

    async def read(self, case: UUID) -> CaseRecord | None: ...

    async def page(self, before: UUID | None, limit: int) -> list[CaseRecord]:
        """Newest first, with their titles alone; `before` is the id of the last one of the page before."""
