"""Files for the conversion tests, made on the spot, and a converter that runs in one event loop."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from usher.backends.convert import ChildConverter, Limits
from usher.ports import Converted

Convert = Callable[[bytes, str], Converted]
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


@contextmanager
def converting(limits: Limits) -> Iterator[tuple[ChildConverter, asyncio.Runner]]:
    converter = ChildConverter(limits)
    with asyncio.Runner() as runner:
        yield converter, runner
        runner.run(converter.close())


def docx(*paragraphs: str, heading: str = "") -> bytes:
    import docx

    document = docx.Document()
    if heading:
        document.add_heading(heading, 1)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def pptx(title: str, body: str) -> bytes:
    import pptx

    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[5])
    first.shapes.title.text = title
    deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_textbox(0, 0, 9, 9).text_frame.text = body
    out = io.BytesIO()
    deck.save(out)
    return out.getvalue()


def xlsx(rows: list[list[object]], formats: dict[str, str] | None = None) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Costs | 2031"
    for row in rows:
        book.active.append(row)
    for cell, number_format in (formats or {}).items():
        book.active[cell].number_format = number_format
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def zip_of(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def inflating_docx(mebibytes: int) -> bytes:
    """A small docx whose document part unpacks to `mebibytes` of empty paragraphs."""
    body = b"<w:p><w:r><w:t>x</w:t></w:r></w:p>" * (2**20 * mebibytes // 34)
    document = f'<w:document xmlns:w="{WORD}"><w:body>'.encode() + body + b"</w:body></w:document>"
    return zip_of({"[Content_Types].xml": CONTENT_TYPES, "_rels/.rels": ROOT, "word/document.xml": document})


def linking_docx(url: str) -> bytes:
    """A docx with a picture that lives at `url`, which a converter might fetch."""
    drawing = (
        f'<w:document xmlns:w="{WORD}" xmlns:r="{OFFICE}" xmlns:a="{DRAWING}/main" xmlns:p="{DRAWING}/picture" '
        f'xmlns:wp="{DRAWING}/wordprocessingDrawing"><w:body><w:p><w:r><w:t>before</w:t></w:r></w:p><w:p><w:r>'
        "<w:drawing><wp:inline><a:graphic><a:graphicData><p:pic><p:blipFill>"
        '<a:blip r:link="rId1"/></p:blipFill></p:pic></a:graphicData></a:graphic></wp:inline></w:drawing>'
        "</w:r></w:p></w:body></w:document>"
    )
    links = (
        f'<Relationships xmlns="{PACKAGE}"><Relationship Id="rId1" Type="{OFFICE}/image" TargetMode="External" '
        f'Target="{url}"/></Relationships>'
    )
    parts = {"[Content_Types].xml": CONTENT_TYPES, "_rels/.rels": ROOT, "word/document.xml": drawing.encode()}
    return zip_of(parts | {"word/_rels/document.xml.rels": links.encode()})


DRAWING = "http://schemas.openxmlformats.org/drawingml/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
CONTENT_TYPES = (
    b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    b'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    b'<Override PartName="/word/document.xml" ContentType='
    b'"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
ROOT = (
    f'<Relationships xmlns="{PACKAGE}"><Relationship Id="rId1" Type="{OFFICE}/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
).encode()
