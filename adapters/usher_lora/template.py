"""A base's chat template, looked at before anything renders it: no way out of the sandbox, and answers that are marked.

A template is a program that came with a model. It is rendered in Jinja's immutable sandbox, which stops what reaches
for Python's objects; here what would reach for them is refused before that, so that it is told and not tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from usher_lora.faults import AdapterFault

if TYPE_CHECKING:
    from jinja2 import Environment, nodes

MOST_CHARACTERS: Final = 100_000
_GADGETS: Final = frozenset(("cycler", "joiner", "lipsum", "self", "caller", "varargs", "kwargs"))
"""Names of Jinja's own that are ways to Python's objects, or to what is around the template."""
_FILTERS: Final = frozenset(("attr", "pprint", "format"))
_CODE: Final = "names what is Python's, which is no part of a conversation"
_REMEDY: Final = "take the base model from whom you trust, or write its chat template anew"


def check_template(text: object) -> bool:
    """Whether the template marks what the assistant said with `{% generation %}`. Raises `AdapterFault` for one that is
    missing, cannot be read, or reaches for code."""
    if not isinstance(text, str) or not text.strip():
        raise AdapterFault("chat template", "is missing", "take a base that was trained to chat, or write one for it")
    if len(text) > MOST_CHARACTERS:
        raise AdapterFault("chat template", "is too long", f"it has at most {MOST_CHARACTERS} characters")
    from jinja2 import TemplateError

    environment, marks = _environment()
    try:
        tree = environment.parse(text)
    except (TemplateError, RecursionError):
        raise AdapterFault("chat template", "is not Jinja", "write it anew") from None
    _check(tree)
    return bool(marks)


def _check(tree: nodes.Template) -> None:
    from jinja2 import nodes

    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        raise AdapterFault("chat template", f"reads another file in line {node.lineno}", _REMEDY)
    for one in tree.find_all(nodes.Getattr):
        _refuse_if(one.attr.startswith("_"), one)
    for name in tree.find_all(nodes.Name):
        _refuse_if(name.name in _GADGETS or name.name.startswith("__"), name)
    for const in tree.find_all(nodes.Const):
        _refuse_if(isinstance(const.value, str) and "__" in const.value, const)
    for item in tree.find_all(nodes.Getitem):
        _refuse_if(isinstance(item.arg, nodes.Const) and str(item.arg.value).startswith("_"), item)
    for used in tree.find_all(nodes.Filter):
        _refuse_if(used.name in _FILTERS, used)


def _refuse_if(found: bool, node: nodes.Node) -> None:
    if found:
        raise AdapterFault("chat template", f"{_CODE}, in line {node.lineno}", _REMEDY)


def _environment() -> tuple[Environment, list[int]]:
    """An environment that only parses, and the lines where an assistant's words begin."""
    from jinja2 import ext, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    marks: list[int] = []

    class Generation(ext.Extension):
        tags = {"generation"}  # noqa: RUF012 - the name and kind that Jinja's class has

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            marks.append(line)
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)

    return ImmutableSandboxedEnvironment(extensions=[Generation, "jinja2.ext.loopcontrols"]), marks
