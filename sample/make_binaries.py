"""Writes the sample company's docx, pdf and xlsx files; their bytes are the same on every run.

Only for those who change the texts, as `python -m sample.make_binaries`: the files are kept in the repository.
"""

from __future__ import annotations

import io
import re
import textwrap
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sample import binary_texts

DOCUMENTS = Path(__file__).parent / "documents"
DATES = re.compile(rb"(?<=>)\d{4}-\d\d-\d\dT[\d:]+Z(?=<)")
WRITTEN = (2026, 11, 2, 9, 0, 0)
"""The date in every Office file, so that nothing in it tells when it was made."""

LINE_WIDTH = 92
LINES_PER_PAGE = 24


def pdf_bytes(title: str, pages: Sequence[Sequence[str]]) -> bytes:
    """A plain PDF (ISO 32000-1, 7.5): one font, one text line for each line of each page, no compression."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, lines in enumerate(pages):
        shown = "".join(f"({escaped(line)}) Tj T*\n" for line in lines)
        stream = f"BT /F1 10 Tf 14 TL 60 780 Td\n{shown}ET"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream.encode('cp1252'))} >>\nstream\n{stream}\nendstream")
    objects.append(f"<< /Title ({escaped(title)}) >>")
    return assembled(objects)


def assembled(objects: Sequence[str]) -> bytes:
    """The objects with their cross-reference table; the first is the catalogue, the last the information."""
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("cp1252")
    start = len(out)
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode()
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\n".encode()
    return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def set_in_pages(text: str) -> list[list[str]]:
    """Paragraphs and headings wrapped to lines, the lines cut into pages."""
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        lines += [*textwrap.wrap(paragraph.lstrip("# "), LINE_WIDTH), ""]
    return [lines[start : start + LINES_PER_PAGE] for start in range(0, len(lines), LINES_PER_PAGE)]


def docx_bytes(text: str) -> bytes:
    """A Word document with real headings, lists and tables."""
    import docx

    document = docx.Document()
    for block in text.strip().split("\n\n"):
        lines = block.split("\n")
        if block.startswith("#"):
            marks, _, heading = block.partition(" ")
            document.add_heading(heading, len(marks))
        elif block.startswith("| "):
            add_table(document, [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines])
        elif block.startswith("- "):
            for item in block.removeprefix("- ").split("\n- "):
                document.add_paragraph(item.replace("\n", " "), style="List Bullet")
        else:
            document.add_paragraph(" ".join(lines))
    return saved(document, document.core_properties)


def add_table(document: Any, rows: list[list[str]]) -> None:
    table = document.add_table(len(rows), len(rows[0]))
    for row, cells in zip(table.rows, rows, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text


def xlsx_bytes(sheets: dict[str, tuple[binary_texts.Row, ...]]) -> bytes:
    """A workbook; the first row of each sheet is its header."""
    import openpyxl  # type: ignore[import-untyped]  # it ships no types

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    return saved(book, book.properties)


def saved(document: Any, properties: Any) -> bytes:
    """The document's zip, written again with one date and with that date in its properties."""
    properties.title, properties.creator = "", "Brinehollow Tidal Works"
    first, out = io.BytesIO(), io.BytesIO()
    document.save(first)
    with zipfile.ZipFile(first) as old, zipfile.ZipFile(out, "w") as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == "docProps/core.xml":
                content = DATES.sub(b"2026-11-02T09:00:00Z", content)
            new.writestr(zipfile.ZipInfo(name, WRITTEN), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def documents() -> dict[str, bytes]:
    """Every binary document by its path."""
    made = {path: docx_bytes(text) for path, text in binary_texts.DOCX.items()}
    made |= {path: pdf_bytes(title_of(text), set_in_pages(text)) for path, text in binary_texts.PDF.items()}
    made |= {path: xlsx_bytes(sheets) for path, sheets in binary_texts.XLSX.items()}
    return made


def main() -> None:
    for path, content in documents().items():
        (DOCUMENTS / path).write_bytes(content)


def title_of(text: str) -> str:
    return text.strip().partition("\n")[0].removeprefix("# ")


if __name__ == "__main__":
    main()
