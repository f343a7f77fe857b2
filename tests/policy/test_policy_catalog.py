"""Requirements and reader lists of documents."""

from __future__ import annotations

import pytest

from usher_policy.catalog import readers_digest, requirements


def test_requirements_name_all_that_must_be_readable() -> None:
    """A document's collection, its reader list by digest, and its markings."""
    assert requirements("coll:a/b", ["user:b", "user:a"], ["mark:pii"]) == {
        "coll:a/b",
        readers_digest(["user:a", "user:b"]),
        "mark:pii",
    }
    assert requirements(None, [], []) == {readers_digest([])}


@pytest.mark.parametrize(
    ("collection", "readers", "markings", "problem"),
    [
        (None, None, [], "never public"),
        (None, None, ["mark:pii"], "never public"),
        ("finance", None, [], "coll:finance/payroll"),
        ("mark:x", None, [], "is not a collection"),
        ("coll:a", None, ["coll:b"], "a marking is"),
        ("coll:a", ["alice"], [], "no kind"),
        ("coll:a", ["coll:b"], [], "cannot be a reader"),
    ],
)
def test_a_document_that_is_nobodys_is_refused(
    collection: str | None, readers: list[str] | None, markings: list[str], problem: str
) -> None:
    """Neither collection nor readers, or a name of the wrong kind: an error with the remedy."""
    with pytest.raises(ValueError, match=problem):
        requirements(collection, readers, markings)


def test_a_reader_list_is_a_set() -> None:
    """Order and repetition mean nothing; a different member is a different list."""
    assert readers_digest(["user:a", "user:b", "user:a"]) == readers_digest(["user:b", "user:a"])
    assert readers_digest(["user:a"]) != readers_digest(["user:a", "user:b"])
