"""What is wrong with something of an adapter, in words that help."""

from __future__ import annotations


class AdapterFault(ValueError):
    """A file, a manifest or a lineage cannot be used. `problem` follows the field's name ("is above the limit"),
    `remedy` is what to do; none of the three holds a document's text."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field} {problem}: {remedy}")
        self.field, self.problem, self.remedy = field, problem, remedy
