"""What a caller did wrong, in words that help: the field, what is wrong with it, and the remedy."""

from __future__ import annotations


class UserError(Exception):
    """Input that cannot be accepted. Over HTTP it is a problem with `status`, in the CLI a message and an exit code.

    `problem` follows the field's name ("is in the past"), `remedy` is what to do ("give a later instant"), both without
    a full stop. None of the three may hold a question, a document's text or a secret.
    """

    status = 400
    retry_after: int | None = None
    """Seconds after which the same may be accepted, where waiting helps."""

    def __init__(self, field: str, problem: str, remedy: str = "") -> None:
        super().__init__(f"{field} {problem}" + (f": {remedy}" if remedy else ""))
        self.field = field
        self.problem = problem
        self.remedy = remedy


class DatabaseUnavailable(Exception):
    """The metadata database does not answer in time. Whoever cannot be judged by it is denied."""


class DataFolderBusy(UserError):
    """Another process holds the data folder's lock."""

    status = 409
