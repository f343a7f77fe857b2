"""The YAML of a policy, from somebody hostile: told what is wrong, at once, and never an error of the reader's own."""

from __future__ import annotations

import time

import pytest

from usher.core.policy_documents import PolicyDocumentError, parse_documents
from usher.core.policy_source import CaseFileError, read_cases

CASE = "- {user: 'user:a', object: 'coll:b', action: document.read, expect: deny"
LONG = "1" + ":1" * 60_000
"""A number in base 60: reading it costs the square of its length."""
_MERGED = [f"m{n}: &m{n} {{x{n}: 1, <<: [{', '.join([f'*m{n - 1}'] * 9)}]}}" for n in range(1, 12)]
MERGED = "\n  ".join(["m0: &m0 {x: 1}", *_MERGED])
"""A page that becomes nine to the eleventh mappings."""
HOSTILE = {
    "merged": MERGED,
    "long": f"hosts: {LONG}",
    "marked long": f"hosts: !!int {LONG}",
    "no day": "hosts: 2001-99-99",
    "no time": "!!timestamp x",
    "no number": "!!int ''",
    "digits": f"hosts: {'9' * 5_000}",
    "deep": "[" * 600,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", ["links.yaml", "retention.yaml", "routing.yaml", "gates.yaml"])
def test_a_document_is_refused_by_name(name: str, text: str) -> None:
    """Soon, whatever it is."""
    began = time.monotonic()
    with pytest.raises(PolicyDocumentError) as refused:
        parse_documents({name: text})
    assert refused.value.name == name
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_cases_are_refused_by_file(text: str) -> None:
    """Soon, whatever they are."""
    began = time.monotonic()
    with pytest.raises(CaseFileError) as refused:
        read_cases({"a.yaml": f"- {text}"})
    assert refused.value.name == "a.yaml"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("now", ["0001-01-01T00:00:00+14:00", "'9999-12-31T23:59:59-12:00'"])
def test_a_time_that_is_no_time_in_utc_is_none(now: str) -> None:
    """At either end of the calendar."""
    with pytest.raises(CaseFileError):
        read_cases({"a.yaml": f"{CASE}, context: {{now: {now}}}}}"})


def test_what_cases_say_is_text() -> None:
    """A number is the text that it is written as; a time is one, and what an anchor names stands there again."""
    text = f"{CASE}, name: 007, context: &c {{now: 2026-01-07T12:00:00Z, purpose: audit}}}}\n{CASE}, context: *c}}"
    first, second = read_cases({"a.yaml": text})
    assert (first.name, first.context) == ("007", second.context)
    assert (first.context.now.hour, first.context.purpose) == (12, "audit")
