"""The versions of the policy, and how they differ: for whoever may read a whole policy."""

from __future__ import annotations

from usher.core.plan_words import Diff
from usher.errors import UserError
from usher.policy.acts import LOOK, Acts
from usher.policy.changesets import MAX_LIMIT
from usher.policy.editors import Editor
from usher.ports import StoredPolicy


class History:
    """The use case. Raises `UserError`, `NotPermitted`, `LedgerUnavailable`."""

    def __init__(self, acts: Acts) -> None:
        self._acts = acts

    async def versions(self, by: Editor, before: int | None = None, limit: int = 50) -> list[StoredPolicy]:
        """Every version that came into force, the newest first, those with smaller numbers than `before`; without the
        text of their rules."""
        if not 1 <= limit <= MAX_LIMIT:
            raise UserError("limit", f"is {str(limit)[:20]}", f"give a whole number from 1 to {MAX_LIMIT}")

        async def look(by: Editor) -> list[StoredPolicy]:
            await self._acts.editors.everywhere(by, *LOOK)
            await self._acts.courier.recover()
            return await self._acts.store.versions(before, limit)

        return await self._acts.viewed(by, {"question": "versions", "limit": limit, "before": before}, look)

    async def version(self, number: int, by: Editor) -> StoredPolicy:
        """One version, whole. Raises `NoSuchVersion`."""

        async def look(by: Editor) -> StoredPolicy:
            await self._acts.editors.everywhere(by, *LOOK)
            return await self._acts.planner.version(number)

        return await self._acts.viewed(by, {"question": "version", "version": number}, look)

    async def diff(self, before: int, after: int, by: Editor) -> Diff:
        """How version `after` differs from version `before`; number 0 stands for no policy at all."""

        async def look(by: Editor) -> Diff:
            await self._acts.editors.everywhere(by, *LOOK)
            planner = self._acts.planner
            return await planner.diff(await planner.version(before), await planner.version(after))

        return await self._acts.viewed(by, {"question": "diff", "before": before, "after": after}, look)
