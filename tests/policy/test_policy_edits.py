"""Single edits of a rule file that somebody keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher_policy.edits import EditError, edited

TEXT = """\
# Who may what.

p, role:hr, coll:hr, document.read, allow, always
  # an indented comment
g,user:carol ,  role:hr

# the end
"""
CAROL, DAVE = "g, user:carol, role:hr", "g, user:dave, role:hr"


def test_comments_blank_lines_and_order_stay() -> None:
    """A line is taken out where it stands, however it is spaced; one that is added comes last, in its usual form."""
    assert edited(TEXT, ["g,user:dave,role:hr"], [CAROL]) == TEXT.replace("g,user:carol ,  role:hr\n", "") + DAVE + "\n"


def test_no_edit_changes_nothing() -> None:
    assert edited(TEXT, (), ()) == TEXT


@pytest.mark.parametrize(
    ("text", "after"), [("", "{}\n"), ("a", "a\n{}"), ("a\r\n", "a\r\n{}\r\n"), ("a\n ", "a\n \n{}")]
)
def test_line_ends_are_those_of_the_file(text: str, after: str) -> None:
    """Also where the last line has none."""
    assert edited(text, [DAVE], ()) == after.format(DAVE)


@pytest.mark.parametrize(
    ("add", "remove", "problem"),
    [
        ([], [DAVE], "no such line"),
        ([CAROL], [], "line 5 says it already"),
        ([DAVE], [DAVE], "both"),
        ([DAVE, "g,user:dave,role:hr"], [], "twice"),
        ([], [CAROL, CAROL], "twice"),
        (["# a comment"], [], "not one line"),
        ([""], [], "not one line"),
        ([f"{DAVE}\n{DAVE}"], [], "not one line"),
        ([f"{DAVE}\n# and a comment"], [], "not one line"),
        ([], ["\n"], "not one line"),
    ],
)
def test_an_edit_that_cannot_be_made_names_its_line_and_the_remedy(
    add: list[str], remove: list[str], problem: str
) -> None:
    with pytest.raises(EditError) as raised:
        edited(TEXT, add, remove)
    assert problem in raised.value.problem
    assert raised.value.line in (add or remove)
    assert raised.value.remedy in str(raised.value)


def test_the_first_of_equal_lines_is_named() -> None:
    with pytest.raises(EditError, match="line 2 says it"):
        edited(f"#\n{CAROL}\n{CAROL}\n", [CAROL], ())


def test_a_line_that_is_there_twice_is_taken_out_twice() -> None:
    """Nothing of it stays in force."""
    assert edited(f"{CAROL}\n#\ng,user:carol,role:hr\n", (), [CAROL]) == "#\n"


lines = st.sampled_from(
    [
        "",
        "  ",
        "# comment",
        "p, a, b",
        "p,a,b,c",
        " g, x, y ",
        "\tg,x,z",
        "#p, q",
        "nonsense",
        "g, x\r",
        "\r",
        "p, a\x0bb",
    ]
)
new = st.lists(st.sampled_from(["p, new, 1", "p, new, 2", "g, new, role:x%2C"]), unique=True)


@given(st.lists(lines).map("\n".join), new)
def test_what_is_added_and_removed_again_leaves_the_file_as_it_was(text: str, add: list[str]) -> None:
    """To the byte."""
    assert edited(edited(text, add, ()), (), add) == text


@given(st.lists(lines).map("\n".join), new, st.data())
def test_all_other_lines_stay_in_their_order(text: str, add: list[str], data: st.DataObject) -> None:
    """And each one removed is gone."""
    there = [line for line in text.split("\n") if line.strip() and not line.strip().startswith("#")]
    gone = data.draw(st.sets(st.sampled_from(there), max_size=2)) if there else set()
    gone = set({said(line): line for line in gone}.values())
    after = edited(text, add, sorted(gone)).split("\n")
    kept = [line for line in text.split("\n") if said(line) not in {said(line) for line in gone}]
    assert [line for line in after if line.strip()] == [line for line in kept if line.strip()] + [
        line for line in after if line.rstrip("\r") in add
    ]
    assert sorted(line.rstrip("\r") for line in after if line.rstrip("\r") in add) == sorted(add)


def said(line: str) -> tuple[str, ...]:
    return tuple(value.strip() for value in line.strip().split(","))
