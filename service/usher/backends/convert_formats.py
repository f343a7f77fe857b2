"""Bytes of one document format to Markdown. Runs inside the conversion child, never in the server's process.

markitdown's own converters do html, docx and pptx; pypdfium2 (twenty times faster) does pdf, openpyxl does xlsx
(integers stay integers, empty cells stay empty, `|` is escaped) and the standard library does csv.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from xml.etree import ElementTree

SLIDE = re.compile(r"<!-- Slide number: (\d+) -->\s*(?=(# )?)")
HYPHENATED = re.compile("[\x02\ufffe]\\s*")
"""pdfium's mark for a hyphen at the end of a line, and the break behind it."""
PLAIN = {"escape_asterisks": False, "escape_underscores": False, "escape_misc": False}
"""markdownify's options for text that is quoted to people: no backslashes that the document does not have."""
CORE_TITLE = "{http://purl.org/dc/elements/1.1/}title"
DELIMITERS = (",", ";", "\t")


class Refused(Exception):
    """The file is not converted; the message is Usher's own words, with the remedy, and never the file's."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one file may become. Sizes in bytes."""

    output_bytes: int
    expanded_bytes: int
    entries: int


@dataclass(frozen=True, slots=True)
class Draft:
    """Markdown, the title in the document's metadata, if any, and remarks for the ingest report."""

    text: str
    title: str = ""
    notes: tuple[str, ...] = ()


def convert_bytes(data: bytes, suffix: str, bounds: Bounds) -> Draft:
    """Markdown of a document in the format that `suffix` (`.docx`) says.

    Raises `Refused` for what is wrong with the file and is known; anything else that a library raises means a damaged
    file.
    """
    if suffix in OFFICE_FOLDERS:
        check_container(data, suffix, bounds)
    draft = FORMATS[suffix](data, bounds)
    if len(draft.text) > bounds.output_bytes or len(draft.text.encode("utf-8", "replace")) > bounds.output_bytes:
        raise too_much_text(bounds)
    return draft


def too_much_text(bounds: Bounds) -> Refused:
    return Refused(f"its text is longer than {bounds.output_bytes:,} bytes; split the document")


def decode_utf8(data: bytes) -> str:
    """The text of strict UTF-8 bytes, without a byte order mark. Raises `Refused`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(
            f"it is not valid UTF-8 (first bad byte at offset {error.start}); save it with the encoding UTF-8"
        ) from None


def check_container(data: bytes, suffix: str, bounds: Bounds) -> None:
    """Refuse a zip that is not the Office file its suffix says, or would inflate beyond the bounds.

    Only the directory of the zip is read. Declared sizes may lie, but Python's zipfile stops at the declared size.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
    if len(entries) > bounds.entries:
        raise Refused(f"it has more than {bounds.entries:,} parts; save it anew in its own program")
    if sum(entry.file_size for entry in entries) > bounds.expanded_bytes:
        raise Refused(f"it would unpack to more than {bounds.expanded_bytes:,} bytes; split it or remove its media")
    names = {entry.filename for entry in entries}
    if "[Content_Types].xml" not in names or not any(name.startswith(OFFICE_FOLDERS[suffix]) for name in names):
        raise Refused(f"it is a zip file but no {suffix[1:]} document; give it the suffix of what it is")


def markdown_table(rows: Iterable[list[str]], bounds: Bounds) -> str:
    """A Markdown table whose header is the first row; empty rows are left out. Raises `Refused` beyond the bound."""
    kept: list[list[str]] = []
    size = 0
    for row in rows:
        cells = [cell_text(cell) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        size += sum(map(len, cells))
        if size > bounds.output_bytes:
            raise too_much_text(bounds)
        if cells:
            kept.append(cells)
    if not kept:
        return ""
    width = max(map(len, kept))
    if width * len(kept) > bounds.output_bytes:  # a far-away cell makes every row as wide
        raise too_much_text(bounds)
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in kept]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])


def cell_text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def from_csv(data: bytes, bounds: Bounds) -> Draft:
    """A table; the delimiter is the one that the first line has most of."""
    text = decode_utf8(data)
    first_line = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(DELIMITERS, key=first_line.count)
    csv.field_size_limit(bounds.output_bytes)
    return Draft(markdown_table(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), bounds))


def from_html(data: bytes, bounds: Bounds) -> Draft:
    from markitdown import StreamInfo
    from markitdown.converters import HtmlConverter

    stream = io.BytesIO(decode_utf8(data).encode())
    result = HtmlConverter().convert(stream, StreamInfo(charset="utf-8"), **PLAIN)
    return Draft(result.markdown, result.title or "")


def from_docx(data: bytes, bounds: Bounds) -> Draft:
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter

    converter = DocxConverter()  # type: ignore[no-untyped-call]  # markitdown leaves its constructor untyped
    return Draft(converter.convert(io.BytesIO(data), StreamInfo(), **PLAIN).markdown, core_title(data))


def from_pptx(data: bytes, bounds: Bounds) -> Draft:
    from markitdown import StreamInfo
    from markitdown.converters import PptxConverter

    converter = PptxConverter()  # type: ignore[no-untyped-call]  # markitdown leaves its constructor untyped
    text = converter.convert(io.BytesIO(data), StreamInfo(), **PLAIN).markdown
    return Draft(SLIDE.sub(lambda slide: "" if slide[2] else f"# Slide {slide[1]}\n\n", text), core_title(data))


def core_title(data: bytes) -> str:
    """The title in an Office file's core properties, or an empty string."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if "docProps/core.xml" not in archive.namelist():
            return ""
        # expat bounds entity expansion itself; the child's limits hold for the rest
        return ElementTree.fromstring(archive.read("docProps/core.xml")).findtext(CORE_TITLE) or ""  # noqa: S314


def from_pdf(data: bytes, bounds: Bounds) -> Draft:
    from pypdfium2 import PdfDocument, PdfiumError  # type: ignore[import-untyped]  # it ships no types

    try:
        pdf = PdfDocument(data)
    except PdfiumError as error:
        if "password" in str(error).lower():
            raise Refused("it is encrypted; save it without a password") from None
        raise
    pages = [HYPHENATED.sub("", page.get_textpage().get_text_bounded()).strip() for page in pdf]
    if not any(pages):
        note = "no page has text; if it was scanned, put it through character recognition first"
        return Draft("", pdf_title(pdf), (note,) if pages else ())
    if len(pages) == 1:
        return Draft(pages[0], pdf_title(pdf))
    headed = [f"## Page {number}\n\n{text}" for number, text in enumerate(pages, 1) if text]
    return Draft("\n\n".join(headed), pdf_title(pdf))


def pdf_title(pdf: Any) -> str:
    return str(pdf.get_metadata_dict().get("Title", ""))


def from_xlsx(data: bytes, bounds: Bounds) -> Draft:
    """Each sheet a heading and a table, as last calculated and saved; a formula that never was is an empty cell."""
    from openpyxl import load_workbook  # type: ignore[import-untyped]  # it ships no types

    book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    parts = []
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # a declared dimension may be wrong, or a million rows
        table = markdown_table(sheet_rows(sheet), bounds)
        if table:
            parts.append(f"## {cell_text(sheet.title)}\n\n{table}")
        if sum(map(len, parts)) > bounds.output_bytes:
            raise too_much_text(bounds)
    return Draft("\n\n".join(parts), book.properties.title or "")


def sheet_rows(sheet: Any) -> Iterator[list[str]]:
    for row in sheet.iter_rows():
        yield [shown(cell.value, cell.number_format) if cell.value is not None else "" for cell in row]


def shown(value: object, number_format: str) -> str:
    """A cell's value in words: ISO dates, percentages as percentages, whole numbers without a fraction."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | float() if "%" in (number_format or ""):
            decimals = len(number_format.partition(".")[2].partition("%")[0])
            return f"{value * 100:.{decimals}f}%"
        case float() if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        case datetime() if value.time() == time():
            return value.date().isoformat()
        case datetime():
            return value.isoformat(" ", "minutes")
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


OFFICE_FOLDERS = {".docx": "word/", ".pptx": "ppt/", ".xlsx": "xl/"}
FORMATS: dict[str, Callable[[bytes, Bounds], Draft]] = {
    ".csv": from_csv,
    ".docx": from_docx,
    ".html": from_html,
    ".pdf": from_pdf,
    ".pptx": from_pptx,
    ".xlsx": from_xlsx,
}
