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

    def add(self, problem: str, number: int | None = None) -> None:
        """Note a problem; `number` is the event that it is of."""
        self.clean = False
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem if number is None else f"event {number}: {problem}")
        if number is not None and (self.first_bad is None or number < self.first_bad):
            self.first_bad = number

    def add_after(self, trusted: int, problem: str) -> None:
        """Note a problem of some event after number `trusted`; it is the next one unless one is known already."""
        known = self.first_bad is not None and self.first_bad > trusted
        self.add(problem, None if known else trusted + 1)
