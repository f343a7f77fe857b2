"""What a verification finds."""

from __future__ import annotations

MAX_PROBLEMS = 50
"""Problems that are told; further ones only count."""


class Findings:
    """Problems as they are found, and the number of the first bad event."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.first_bad: int | None = None
        self.clean = True
        self._certain: int | None = None

    def add(self, problem: str, number: int | None = None) -> None:
        """Note a problem; `number` is the event that is itself missing or changed."""
        self.suspect(problem, number)
        if number is not None and (self._certain is None or number < self._certain):
            self._certain = number

    def suspect(self, problem: str, number: int | None = None) -> None:
        """Note a problem that shows at an event, whose cause may lie in one before it."""
        self.clean = False
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem if number is None else f"event {number}: {problem}")
        if number is not None and (self.first_bad is None or number < self.first_bad):
            self.first_bad = number

    def add_after(self, trusted: int, problem: str, upto: int | None = None) -> None:
        """Note a problem of some event after number `trusted`, up to `upto` if that is given: the next one, unless a
        changed one among them is known."""
        changed = self._certain
        known = changed is not None and trusted < changed and (upto is None or changed <= upto)
        self.add(problem, None if known else trusted + 1)
