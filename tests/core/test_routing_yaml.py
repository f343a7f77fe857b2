"""`routing.yaml` and `gates.yaml`: read strictly, with the line of each mistake."""

from __future__ import annotations

import pytest

from usher.core.policy_documents import PolicyDocumentError, PolicyDocuments, parse_documents
from usher.core.routing import RouteKind, Routing, Rule
from usher.policy_admin import PolicySource, check
from usher_lora.gates import Bounds

WHOLE = """\
# Support asks the same things all day.
rules:
  - name: prices
    route: retrieve
    words: [Price, "STRASSE", größe]
  - name: help
    route: adapter+retrieve
    collection: support
    role: role:support
    min_per_day: 200
    adapters: [support, adapter:sales]
    max_age_days: 30
    max_changed_percent: 2.5
    otherwise: refuse
"""


def test_every_key_is_read() -> None:
    """Names with their kind or without; words in the form that they are compared in."""
    prices, help_ = parse_documents({"routing.yaml": WHOLE}).routing.sets[0]
    assert prices == Rule("prices", RouteKind.RETRIEVE, words=frozenset({"price", "strasse", "grösse"}))
    assert help_ == Rule(
        name="help",
        route=RouteKind.BOTH,
        collection="coll:support",
        role="role:support",
        min_per_day=200,
        adapters=("adapter:support", "adapter:sales"),
        max_age_days=30,
        max_changed_percent=2.5,
        otherwise=RouteKind.REFUSE,
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "rules:\n", "rules: []\n"])
def test_no_rules_are_the_default(text: str) -> None:
    """Retrieval only."""
    assert parse_documents({"routing.yaml": text}) == parse_documents({}) == PolicyDocuments()


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("{route: retrieve}", "has no `name`"),
        ("{name: a}", "has no `route`"),
        ("{name: A, route: retrieve}", "no rule's name"),
        ("{name: a, route: model}", "`route` is unknown"),
        ("{name: a, route: retrieve, when: now}", "'when' is unknown"),
        ("{name: a, name: a, route: retrieve}", "`name` is given twice"),
        ("{name: a, route: [retrieve]}", "`route` is unknown"),
        ("{name: a, route: adapter, collection: a//b}", "no coll: name"),
        ("{name: a, route: adapter, role: user:eve}", "no role: name"),
        ("{name: a, route: adapter, words: []}", "none, or too many"),
        ("{name: a, route: adapter, words: [two words]}", "no single word"),
        ("{name: a, route: adapter, words: ['.*']}", "no single word"),
        ("{name: a, route: adapter, words: all}", "`words` is no list"),
        ("{name: a, route: adapter, min_per_day: 5}", "there is no `role`"),
        ("{name: a, route: adapter, role: r, min_per_day: 0}", "`min_per_day` is no number"),
        ("{name: a, route: adapter, role: r, min_per_day: 010}", "`min_per_day` is no number"),
        ("{name: a, route: adapter, max_age_days: 1.5}", "`max_age_days` is no number"),
        ("{name: a, route: adapter, max_changed_percent: .nan}", "`max_changed_percent` is no number"),
        ("{name: a, route: adapter, max_changed_percent: 101}", "`max_changed_percent` is no number"),
        ("{name: a, route: adapter, adapters: []}", "none, or too many"),
        ("{name: a, route: adapter, adapters: [x, adapter:x]}", "names one twice"),
        ("{name: a, route: adapter, adapters: [role:x]}", "no adapter: name"),
        ("{name: a, route: adapter, otherwise: adapter}", "`otherwise` is unknown"),
        ("{name: a, route: retrieve, adapters: [x]}", "the rule asks for none"),
        ("{name: a, route: refuse, otherwise: retrieve}", "the rule asks for none"),
        ("just words", "is no mapping"),
    ],
)
def test_a_mistake_in_a_rule_is_told_with_its_line(rule: str, problem: str) -> None:
    """Nothing is guessed, nothing passed over."""
    with pytest.raises(PolicyDocumentError) as refused:
        parse_documents({"routing.yaml": f"rules:\n  - {{name: first, route: retrieve}}\n  - {rule}\n"})
    assert problem in refused.value.problem
    assert (refused.value.name, refused.value.line) == ("routing.yaml", 3)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("rules: {}\n", 1),
        ("rule: []\n", 1),
        ("- {name: a, route: retrieve}\n", 1),
        ("{}\n", 1),
        ("rules:\n  - {name: a, route: refuse}\n  - {name: a, route: refuse}\n", 3),
        ("rules: [\n", 2),
        ("rules:\n" + "  - {name: a, route: refuse}\n" * 201, 202),
        ("rules: " + "[" * 500, 0),
        ("rules: !!python/object/apply:os.system [id]\n", 1),
    ],
)
def test_a_text_that_is_no_list_of_rules_is_refused(text: str, line: int) -> None:
    """Also one that is nested without end, and one with another language's tags."""
    with pytest.raises(PolicyDocumentError) as refused:
        parse_documents({"routing.yaml": text})
    assert refused.value.line == line


def test_bounds_are_read_and_the_rest_keeps_its_default() -> None:
    """A gate that is not set is strict."""
    text = "leakage: {auc: 0.52, canaries: 1}\ncontrol:\n  auc: 0.8\ntask: {over_base: -0.1, general_loss: 0}\n"
    expected = Bounds(leak_auc=0.52, leak_canaries=1, control_auc=0.8, over_base=-0.1, general_loss=0.0)
    assert parse_documents({"gates.yaml": text}).gates == expected
    assert parse_documents({"gates.yaml": ""}).gates == Bounds()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("leakage: {auc: 0.9}", 1),
        ("leakage:\n  width: 0.5", 2),
        ("leakage:\n  canaries: 0.5", 2),
        ("leakage: {canaries: -1}", 1),
        ("control: {canaries: 0}", 1),
        ("control: {auc: 0.5}", 1),
        ("task: {over_base: much}", 1),
        ("task: {over_base: 1e0}", 1),
        ("task: {over_base: 0.1, over_base: 0.2}", 1),
        ("\nspeed: {}", 2),
        ("leakage: 0.5", 1),
        ("[]", 1),
    ],
)
def test_bounds_that_would_measure_nothing_are_refused(text: str, line: int) -> None:
    """A leak is not to be declared none, and what hardly leaks is no control."""
    with pytest.raises(PolicyDocumentError) as refused:
        parse_documents({"gates.yaml": text})
    assert (refused.value.name, refused.value.line) == ("gates.yaml", line)


def test_while_a_version_is_pending_both_count() -> None:
    """Both sets of rules, and the stricter of each bound."""
    old = parse_documents({"routing.yaml": WHOLE, "gates.yaml": "leakage: {auc: 0.6}\ncontrol: {auc: 0.9}\n"})
    both = old.intersect(parse_documents({}))
    assert both.routing == Routing((*old.routing.sets, ()))
    assert both.gates == Bounds(control_auc=0.9)
    assert old.intersect(old) == old


def test_a_rule_about_what_no_rule_of_the_policy_names_is_warned_of() -> None:
    """Most likely a slip, by which another rule would decide."""
    rules = (
        "p, role:support, coll:support, document.read, allow, always\n"
        "p, role:support, adapter:sales, adapter.use, allow, always\n"
    )
    report = check(PolicySource(rules, {"routing.yaml": WHOLE}))
    assert report.ok
    told = [finding.message for finding in report.findings if "routing.yaml" in finding.message]
    assert told == ["routing.yaml: help is about adapter:support, which no rule names"]


def test_a_role_is_named_by_itself_and_a_collection_by_one_above_it() -> None:
    """A rule about all of a collection is about what is below it; the role above another is another role."""
    rules = (
        "p, role:hr, coll:hr, document.read, allow, always\np, role:keeper, role:hr/x, policy.propose, allow, always\n"
    )
    text = "rules:\n" + "".join(
        f"  - {{name: {name}, route: refuse, {what}}}\n"
        for name, what in (("a", "collection: hr/x"), ("b", "role: hr/y"), ("c", "role: hr"), ("d", "role: keeper/z"))
    )
    report = check(PolicySource(rules, {"routing.yaml": text}))
    told = [finding.message for finding in report.findings if "routing.yaml" in finding.message]
    assert [line.split(" is about ")[1].split(",")[0] for line in told] == ["role:hr/y", "role:keeper/z"]
