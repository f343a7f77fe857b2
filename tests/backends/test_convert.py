"""Conversion of well-formed documents, one format after the other."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest
from sample.make_binaries import pdf_bytes
from tests.backends import convert_files

from usher.backends.convert import Limits, cleaned, title_of
from usher.ports import ConversionFailed, Converted


@pytest.fixture(scope="module")
def convert() -> Iterator[convert_files.Convert]:
    with convert_files.converting(Limits()) as (converter, runner):
        yield lambda data, name: runner.run(converter.convert(data, "." + name.rpartition(".")[2], name))


def test_markdown_is_kept_as_it_is(convert: convert_files.Convert) -> None:
    """Markdown needs no child: its text is the document's, byte order mark and line ends apart."""
    got = convert(b"\xef\xbb\xbf# Crane *log*\r\nde\xcc\x81ja\x00 vu\n", "a.md")
    assert got == Converted("# Crane *log*\nde\u0301ja vu\n", "Crane log", "text/markdown")


def test_text_that_is_not_utf8_is_refused(convert: convert_files.Convert) -> None:
    """cp1252 text is refused with the remedy, not read wrongly; its words are not in the reason."""
    with pytest.raises(ConversionFailed, match="save it with the encoding UTF-8") as failure:
        convert("Geheime Prämie: 40 €".encode("cp1252"), "a.txt")
    assert "Geheime" not in str(failure.value)


@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.html", "a.csv", "a.pdf", "a.docx", "a.pptx", "a.xlsx"])
def test_an_empty_file_is_an_empty_document(convert: convert_files.Convert, name: str) -> None:
    """A file of no bytes goes in without text, with a remark."""
    got = convert(b"", name)
    assert (got.text, got.title, got.notes) == ("", "a", ("the file is empty",))


def test_csv_becomes_a_table(convert: convert_files.Convert) -> None:
    """Any usual delimiter; `|` is escaped; short rows are filled up."""
    got = convert(b"part;price|EUR\n7;1,5\n8\n", "prices.csv")
    assert got.text == "| part | price\\|EUR |\n| --- | --- |\n| 7 | 1,5 |\n| 8 |  |"
    assert got.title == "prices"


def test_xlsx_keeps_whole_numbers_pipes_and_empty_cells(convert: convert_files.Convert) -> None:
    """No `7.0`, no `NaN`, no broken table; percentages and dates as people see them."""
    rows = [["part|no", "share", "since"], [7, 0.125, datetime.date(2031, 4, 1)], [None, 8.0, None], [], [2.5]]
    got = convert(convert_files.xlsx(rows, {"B2": "0.0%"}), "stock.xlsx")
    assert got.text == (
        "## Costs \\| 2031\n\n| part\\|no | share | since |\n| --- | --- | --- |\n"
        "| 7 | 12.5% | 2031-04-01 |\n|  | 8 |  |\n| 2.5 |  |  |"
    )
    assert got.title == "stock"


def test_pdf_gives_its_text_by_page(convert: convert_files.Convert) -> None:
    """Each page has a heading; the title is the one in the metadata."""
    got = convert(pdf_bytes("Hoist test", [["Load 40 t."], ["Brake held."]]), "t.pdf")
    assert got.text == "## Page 1\n\nLoad 40 t.\n\n## Page 2\n\nBrake held."
    assert got.title == "Hoist test"


def test_pdf_words_broken_at_a_line_end_are_joined(convert: convert_files.Convert) -> None:
    """A hyphen at the end of a line is no part of the word."""
    assert convert(pdf_bytes("", [["The gear-", "box is new."]]), "t.pdf").text == "The gearbox is new."


def test_pdf_without_text_says_so(convert: convert_files.Convert) -> None:
    """A scanned document is empty, with the remedy as a remark."""
    got = convert(pdf_bytes("", [[]]), "scan.pdf")
    assert got.text == ""
    assert "character recognition" in got.notes[0]


@pytest.mark.slow
def test_docx_gives_headings_and_plain_words(convert: convert_files.Convert) -> None:
    """Headings stay headings, and characters that Markdown knows are not escaped."""
    got = convert(convert_files.docx("Use part_no 7 * 2.", heading="Spares"), "a.docx")
    assert got.text == "# Spares\n\nUse part_no 7 * 2."
    assert got.title == "Spares"


@pytest.mark.slow
def test_pptx_gives_each_slide_a_heading(convert: convert_files.Convert) -> None:
    """A slide's title is its heading; one without is numbered."""
    got = convert(convert_files.pptx("Quarter", "Nothing new"), "a.pptx")
    assert got.text == "# Quarter\n\n# Slide 2\n\nNothing new"


@pytest.mark.slow
def test_html_gives_its_body(convert: convert_files.Convert) -> None:
    """Scripts and styles are no text; without a heading the title element names the document."""
    page = b"<html><head><title>Notice</title><style>p{}</style></head><body><p>Gate 3 is shut.<script>x()</script>"
    got = convert(page, "a.html")
    assert (got.text, got.title) == ("Gate 3 is shut.", "Notice")


@pytest.mark.parametrize(
    ("text", "metadata", "expected"),
    [
        ("```\n# no\n```\n## `Yes` [it](is)\n", "", "Yes it(is)"),
        ("~~~\n```\n# no\n~~~\n# Yes #\n", "", "Yes"),
        ("#hash\n", "Known", "Known"),
        ("---\nowner: x\ntitle: 'Front matter'\n---\ntext", "", "Front matter"),
        ("text", "", "file.name"),
        ("# " + "long " * 99, "", ("long " * 40)),
    ],
)
def test_the_title_is_the_first_heading_then_the_metadata_then_the_file_name(
    text: str, metadata: str, expected: str
) -> None:
    """Code is no heading; a title is plain text of at most 200 characters."""
    assert title_of(text, ".md", metadata, "folder/file.name.md") == expected


def test_cleaning_drops_control_characters_and_keeps_all_else() -> None:
    """Line ends become one kind; nothing is composed or otherwise changed."""
    assert cleaned("a\r\nb\rc\fd\x00\x1b[31m\te\u0301\u200d\x85\ufeff") == "a\nb\nc\nd[31m\te\u0301\u200d"
