"""An evaluation as one HTML page that needs nothing else: verdict, figures with their intervals, plots, and what they
cannot tell. It holds no text of any document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from usher_lora.attacks import ATTACKS, roc
from usher_lora.curve import Line, lines
from usher_lora.evaluation import Evaluation
from usher_lora.gates import Attack, Leakage, Outcome

_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;width:100%;margin:1em 0}td,th{border-bottom:1px solid #ccc;padding:.3em .6em;"
    "text-align:right}td:first-child,th:first-child{text-align:left}h2{margin-top:2em}code{overflow-wrap:anywhere}"
    ".passed{color:#176117}.failed{color:#a11414}.inconclusive{color:#8a5a00}@media print{body{margin:0}}"
)
_NAMES: Final = {"loss_ratio": "loss ratio", "min_k": "min-k"}
_GROUPS: Final = (
    ("outside", "held out", "outside the lineage", "#1f5fa8", ""),
    ("control", "reference", "the control", "#b3541e", "6 3"),
    ("inside", "held out", "what it learned", "#666666", "2 3"),
)
"""Members, others, words, colour and dash of a curve."""
_LIMITS: Final = (
    "Attacks that are not tried here may tell more. An adapter that passes is not shown to leak; it is not shown never "
    "to.",
    "With random groups an interval of 95 % leaves out one half once in twenty times for each attack, though nothing "
    "leaks: a gate can fail by chance, and another adapter of the same recipe may pass.",
    "Held-out documents watched the training and decided when it ended; nothing was learned from their words.",
    "A good answer shares at least half its words with the known one. It may still be wrong.",
)

_UNKNOWN: Final = (
    "Inconclusive: either the control did not leak, so the attacks prove nothing, or too little was measured."
)


def page(result: Evaluation) -> str:
    """The page, in UTF-8."""
    gate, details = result.gate, result.details
    measured, verdict = gate.measured, gate.verdict
    parts = [
        f"<h1>Evaluation of an adapter</h1><p><code>{escape(gate.adapter)}</code></p>",
        f'<p>Verdict: <strong class="{verdict.outcome}">{verdict.outcome}</strong></p>',
        _list(verdict.reasons) if verdict.reasons else "<p>Every bound is kept.</p>",
        "<h2>What it gives away</h2>",
        _attacks(measured.outside, measured.control, measured.inside),
        *(_curves(result, attack) for attack in ATTACKS),
        _canaries(result),
        _extraction(result),
        "<h2>What it knows</h2>",
        _scores(result),
        "<h2>What these figures cannot tell</h2>",
        _list(_LIMITS if verdict.outcome is not Outcome.INCONCLUSIVE else (*_LIMITS, _UNKNOWN)),
        f"<p>Measured in {details.seconds:.0f} s. Bounds: <code>{escape(str(gate.bounds))}</code></p>",
    ]
    head = f'<meta charset="utf-8"><title>Evaluation: {escape(gate.adapter)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _attacks(outside: Leakage, control: Leakage, inside: Sequence[Attack]) -> str:
    rows = [
        (f"{_NAMES[one.name]}, {words}", f"{one.auc:.3f}", f"{one.low:.3f} to {one.high:.3f}", one.members, one.others)
        for words, found in (
            ("outside the lineage", outside.attacks),
            ("the control", control.attacks),
            ("what it learned", inside),
        )
        for one in found
    ]
    note = (
        "<p>How well an attack tells documents from held-out ones: 0.5 is a guess, and outside the lineage it should "
        "be no better. The control learned just these, to excess, and must be found out. What the adapter learned may "
        "be known to be its own: those who may ask it may read all of that.</p>"
    )
    return note + _table(("attack on membership", "AUC", "95 % interval", "documents", "held out"), rows)


def _curves(result: Evaluation, attack: str) -> str:
    scores = result.details.scores
    curves = [
        Line(words, colour, roc(scores[members][attack], scores[others][attack]), dash)
        for members, others, words, colour, dash in _GROUPS
    ]
    diagonal = Line("a guess", "#aaaaaa", [(0, 0), (1, 1)], "1 4")
    title = f"{_NAMES[attack]}: documents found, by held-out ones taken for them"
    return lines(f"roc-{attack}", title, ("share of held-out documents", "found"), [*curves, diagonal])


def _canaries(result: Evaluation) -> str:
    measured, details = result.gate.measured, result.details
    inside, found_inside = details.canaries_inside
    rows = [
        ("outside the lineage", measured.outside.canaries_planted, measured.outside.canaries_found, "outside"),
        ("the control", measured.control.canaries_planted, measured.control.canaries_found, "control"),
        ("what it learned", inside, found_inside, "inside"),
    ]
    told = [(words, planted, found, _mean(details.exposure.get(key, ()))) for words, planted, found, key in rows]
    note = (
        "<p>Secrets that were planted. Found: said word for word after the words before it. Exposure: how many bits of "
        "it are given away, by its rank among secrets of the same form that were planted nowhere; a guess gives 1.4 on "
        "average.</p>"
    )
    return note + _table(("canaries", "planted", "found", "mean exposure"), told)


def _extraction(result: Evaluation) -> str:
    rows = [
        (name, one.answers, f"{one.word_for_word:.1%}", f"{one.repeated:.1%}")
        for name, one in result.details.extraction.items()
    ]
    note = "<p>Answers whose second half was said after the first, the likeliest words.</p>"
    return note + _table(("extraction by prefix", "answers", "word for word", "repeated on average"), rows)


def _scores(result: Evaluation) -> str:
    scores = result.gate.measured.scores
    rows = [
        ("held-out questions", f"{scores.adapter:.1%}", f"{scores.base:.1%}", f"{scores.retrieval:.1%}"),
        ("general questions", f"{scores.general:.1%}", f"{scores.general_base:.1%}", ""),
    ]
    note = "<p>Answered well. Retrieval counts as always right where its answers were not given.</p>"
    return note + _table(("", "adapter", "base", "retrieval"), rows)


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.2f}" if values else ""


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
