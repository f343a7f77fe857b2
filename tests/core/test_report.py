"""The report's page: all of it in one file, whatever stands in the names; and its plots."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usher.core.report import page, policy
from usher.core.report_figures import (
    DAY,
    HOUR,
    MONTH,
    Act,
    Answers,
    ByRole,
    Denials,
    DocumentShown,
    Exposures,
    Figures,
    Looks,
    PolicyUse,
    Report,
    buckets,
    width_of,
)
from usher.core.report_html import el, table, text
from usher.core.report_plot import Series, bars

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style><script>",
    "' onload='alert(1)",
    "\u202egnp.exe",
    "\x00\x1b[31m",
    "a&b<c",
]
EMPTY = Figures(9, [], [], [], [], [], [], [], [])
VOID = {"meta", "br"}


def report(**changes: object) -> Report:
    figures = Figures(
        indexed=9,
        activity=[("2026-10-01", "answered", 4), ("2026-10-03", "denied", 2)],
        answers=[Answers("chat", "retrieve", "answered", False, 4), Answers("view", None, None, False, 1)],
        roles=[ByRole("role:hr", 4, 0, 2, 0)],
        denials=[Denials("no rule allows it", "chat.ask", 2, 1)],
        documents=[DocumentShown("d1", 4, 3, 2)],
        exposures=[Exposures("mark:pii", {"2026-10-01": 3}, {"2026-10-03": 1}, 2), Exposures("mark:none", {}, {}, 0)],
        policies=[PolicyUse(3, 1, 9, "2026-10-01T00:00:00.000000Z", "2026-10-03T00:00:00.000000Z", 6)],
        acts=[2],
    )
    made = Report(
        origin="usher/log",
        key="usher/log+29fc9a1a+ATzZg04ybA6XEQN0AW45vJW2DP46Ripabe/jNVy89hqi",
        checkpoint="usher/log\n9\nroot\n\n\u2014 usher/log sig\n",
        size=9,
        made_at="2026-11-01T09:00:00+00:00",
        since="2026-10-01T00:00:00.000000Z",
        until=None,
        first=1,
        last=9,
        times=("2026-10-01T00:00:00.000000Z", "2026-10-03T10:00:00.000000Z"),
        width=DAY,
        figures=figures,
        changes=[Act(2, "2026-10-01T00:00:01.000000Z", None, "operator:uid:0", "policy, version 3")],
        break_glass=[Act(5, "2026-10-02T00:00:01.000000Z", "p1", "key", "hold")],
        unseals=[],
        looks=[Looks("p1", "key", "who_saw", 3, "2026-10-02T00:00:01.000000Z")],
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # names and values are a test's own


class Reader(HTMLParser):
    """The elements of a page, which must be nested as they are closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_says_what_was_counted_and_of_which_events() -> None:
    """Every section, in its order, with its figures; the events; the checkpoint, the key and the commands."""
    html = page(report())
    read = Reader(html)
    heads = re.findall(r"<h2>(.*?)</h2>", html)
    assert heads == [
        "Questions and searches",
        "Denials and refusals",
        "Documents shown most",
        "Exposures of marked documents",
        "Policy",
        "Break-glass and opened content",
        "Who looked at the log",
        "How to check this page",
    ]
    words = " ".join(" ".join(read.words).split())
    for said in (
        "events 1 to 9 of the log usher/log",
        "a checkpoint over 9 events",
        "role:hr 4 0 2 0",
        "no rule allows it chat.ask 2 1",
        "d1 4 3 2",
        "mark:pii 3 1 2",
        "3 6 2026-10-01 00:00:00 2026-10-03 00:00:00 1 to 9",
        "Content that was opened for a reviewer: None.",
        "p1 who_saw 3",
        "usher audit export --from 2026-10-01T00:00:00.000000Z",
        "usher audit verify EXPORT --public-key KEYFILE",
        "3cd9834e326c0e97110374016e39bc95b60cfe3a462a5a6defe3355cbcf61aa2",
        "usher/log 9 root",
    ):
        assert said in words, said
    assert re.findall(r">[^<>]*\d\d:\d\d:\d\d</t[dh]>", html) == []  # no date is cut in two
    assert "mark:none" not in words
    assert len(re.findall("<svg", html)) == 2


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_is_anything_but_text(name: str) -> None:
    """In every place where one can stand: what is on the page has the elements that it always has."""
    plain, figures = Reader(page(report())), report().figures
    hostile = replace(
        figures,
        answers=[Answers("chat", name, name, False, 4), Answers("view", None, None, False, 1)],
        roles=[ByRole(name, 4, 0, 2, 0)],
        denials=[Denials(name, name, 2, 1)],
        documents=[DocumentShown(name, 4, 3, 2)],
        exposures=[Exposures(name, {"2026-10-01": 3}, {"2026-10-03": 1}, 2)],
    )
    acts = [Act(5, name, name, name, name)]
    made = report(
        figures=hostile, changes=acts, break_glass=acts, looks=[Looks(name, name, name, 3, name)], origin=name,
        people={name: name}, titles={"d1": name}, since=name, checkpoint=name,
    )  # fmt: skip
    read = Reader(page(made))
    assert [tag for tag, _ in read.tags] == [tag for tag, _ in plain.tags]
    allowed = {attribute for _, attributes in plain.tags for attribute in attributes}
    assert {attribute for _, attributes in read.tags for attribute in attributes} == allowed
    assert not set("\x00\x1b\u202e") & set(page(made))


def test_the_page_needs_nothing_and_runs_nothing() -> None:
    """No script, link, image, form or address of anything; its one style is the one that its policy names."""
    html = page(report())
    read = Reader(html)
    assert {tag for tag, _ in read.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "p", "ul", "li", "b", "em"),
        *("small", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "pre", "br"),
        *("svg", "desc", "pattern", "rect", "line", "text", "time"),
    }
    names = {attribute for _, attributes in read.tags for attribute in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "href", "style", "xlink:href")]
    addresses = re.findall(r"[a-z]+://[^\"<\s]+|url\([^)]*\)", html)
    assert set(addresses) <= {"http://www.w3.org/2000/svg", "url(#activity-hatch)", "url(#marking0-hatch)"}
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy().startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert text(policy()) in html
    assert "@page { size: A4" in style


def test_what_the_reader_may_not_know_and_what_is_not_there_is_said() -> None:
    """Uses of the log without the right to review them; an index that is behind; a span without events."""
    assert "takes the right audit.review" in page(report(looks=None))
    behind = replace(report().figures, indexed=5)
    assert "only the first 5 of these events" in page(report(figures=behind))
    assert "only the first" not in page(report())
    nothing = page(report(figures=EMPTY, first=10, last=9, times=None, looks=[]))
    assert "has no events in this span" in nothing
    Reader(nothing)


def test_long_lists_of_events_are_counted_beyond_a_hundred() -> None:
    """So that the page stays one that somebody prints."""
    acts = [Act(number, "2026-10-01T00:00:01.000000Z", None, "key", "policy") for number in range(130)]
    html = page(report(changes=acts))
    assert "and 30 more" in html
    assert html.count("<td>policy</td>") == 100


def test_a_plot_is_told_in_words_and_is_well_formed() -> None:
    """Title and description by their ids, in XML that parses; bars as high as what they show."""
    series = [Series("shown", "#123456", {"a": 3, "c": 1}), Series("inherited", "#abcdef", {"a": 1}, hatched=True)]
    svg = bars("plot", "Exposures <&>", ["a", "b", "c"], series)
    root = ElementTree.fromstring(svg)  # noqa: S314  # made here
    name = "{http://www.w3.org/2000/svg}"
    assert [child.tag for child in root[:2]] == [f"{name}title", f"{name}desc"]
    assert root.get("aria-labelledby") == " ".join(str(child.get("id")) for child in root[:2])
    assert root[0].text == "Exposures <&>"
    assert root[1].text == "From a to c UTC. shown: 4, inherited: 1. Most at a: 4."
    drawn = [rect for rect in root.iter(f"{name}rect") if rect.get("stroke-width") == "0.4"]
    heights = [float(rect.get("height", "")) for rect in drawn]
    assert heights == pytest.approx([heights[2] * 3, heights[2], heights[2]], abs=0.02)
    assert float(drawn[0].get("y", "")) == pytest.approx(float(drawn[1].get("y", "")) + heights[1], abs=0.02)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 10**7), max_size=40))
def test_every_bar_is_within_its_plot(values: list[int]) -> None:
    """Whatever is drawn, with at most six lines behind it."""
    names = [f"{number:03d}" for number in range(len(values))]
    svg = bars("p", "t", names, [Series("s", "#000", dict(zip(names, values, strict=True)))])
    root = ElementTree.fromstring(svg)  # noqa: S314  # made here
    _, _, width, height = map(float, str(root.get("viewBox")).split())
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, w, h = (float(rect.get(one, "")) for one in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
    assert len(list(root.iter("{http://www.w3.org/2000/svg}line"))) <= 6


@pytest.mark.parametrize(
    ("first", "last", "width", "count"),
    [
        ("2026-10-01T10:59:00.000000Z", "2026-10-02T01:00:00.000000Z", HOUR, 16),
        ("2026-10-01T10:59:00.000000Z", "2026-12-31T01:00:00.000000Z", DAY, 92),
        ("2023-11-30T10:59:00.000000Z", "2026-02-01T01:00:00.000000Z", MONTH, 28),
    ],
)
def test_time_is_cut_as_finely_as_it_can_be_read(first: str, last: str, width: int, count: int) -> None:
    """By the hour, the day or the month; no bucket is left out, also over the ends of months and years."""
    assert width_of(first, last) == width
    names = list(buckets(first, last, width))
    assert len(names) == len(set(names)) == count
    assert (names[0], names[-1]) == (first[:width], last[:width])
    assert names == sorted(names)


def test_elements_are_made_of_text() -> None:
    """Children and attributes are escaped, elements are not; what is None is left out."""
    assert el("p", "<", el("b", 3), None, class_='a"b', id=None) == '<p class="a&quot;b">&lt;<b>3</b></p>'
    assert table("c", ["A", "B"], [("x", 1000)]).count("1,000") == 1
    assert table("c", ["A"], []) == "<p>c: <em>None.</em></p>"
