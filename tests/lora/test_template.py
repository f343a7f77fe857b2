"""A chat template is a program that came with a model: what reaches for code is refused before it is rendered."""

from __future__ import annotations

import pytest

from usher_lora.faults import AdapterFault
from usher_lora.template import MOST_CHARACTERS, check_template

PLAIN = "{% for m in messages %}<|{{ m['role'] }}|>{{ m.content | trim }}{% endfor %}"
MARKED = (
    "{{- bos_token }}{%- set ns = namespace(n=0) %}{%- for m in messages -%}{%- if m.role == 'assistant' -%}"
    "{%- generation -%}{{ m['content'] + eos_token }}{%- endgeneration -%}{% else %}{% if loop.index > 9 %}{% break %}"
    "{% endif %}{{ raise_exception('no') if m.role not in ['user'] }}{{ strftime_now('%Y') }}{% endif %}{% endfor %}"
)


def test_an_ordinary_one_passes() -> None:
    """And it is told whether it marks the assistant's words."""
    assert not check_template(PLAIN)
    assert check_template(MARKED)


@pytest.mark.parametrize(
    "code",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages['__class__'] }}",
        "{{ messages['_' ~ '_class__'] }}",
        "{{ messages|attr('\\x5f\\x5fclass__') }}",
        "{{ messages|attr('_' ~ '_class_' ~ '_') }}",
        "{{ messages|map(attribute='__class__')|list }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ cycler.next }}",
        "{{ self._TemplateReference__context }}",
        "{{ joiner }}",
        "{{ '{0.__class__}'|format(messages) }}",
        "{{ '{0.__class__}'.format(messages) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% generation %}{{ ''.__class__ }}{% endgeneration %}",
        "{% macro m() %}{{ caller() }}{% endmacro %}",
        "{% set x = namespace.__init__ %}",
    ],
)
def test_a_way_to_code_is_refused(code: str) -> None:
    """Attributes of Python's, other files, and the names by which sandboxes were left before."""
    with pytest.raises(AdapterFault, match=r"chat template (names what is Python's|reads another file)"):
        check_template(PLAIN + code)


@pytest.mark.parametrize("text", [None, "", " ", 7, "{% for %}", "{{", "{% generation %}", "x" * (MOST_CHARACTERS + 1)])
def test_what_is_no_template_is_refused(text: object) -> None:
    """Missing, not Jinja, too long."""
    with pytest.raises(AdapterFault, match=r"chat template (is|cannot)"):
        check_template(text)
