"""Policy versions as the operator makes them: checked, applied one after another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.ingest.faults import How, Killed, Plan
from tests.ingest.ingest_kit import OPERATOR, POLICY, House, Rooms, new_house

from usher.backends.policy_files import read_source, write_source
from usher.core.policy_documents import KNOWN, PolicyDocumentError, parse_documents
from usher.errors import UserError
from usher.policy_admin import PolicySource, check

CASE = "- {user: 'user:ann', object: 'coll:hr', action: document.read, expect: allow}\n"
SOUND = POLICY + "p, role:hr, coll:pay, document.read, allow, always\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> House:
    return new_house(tmp_path_factory.mktemp("made") / "house")


@pytest.fixture
def house(made: House, tmp_path: Path) -> House:
    """A house whose policy is version 1."""
    return made.copied(tmp_path / "house")


def _written(folder: Path, rules: str = SOUND, **files: str) -> Path:
    (folder / "cases").mkdir(parents=True)
    (folder / "policy.csv").write_text(rules)
    for name, text in files.items():
        place = folder / "cases" / "a.yaml" if name == "cases" else folder / f"{name}.yaml"
        place.write_text(text)
    return folder


@pytest.mark.slow
def test_each_application_is_the_next_version_with_its_digest_in_the_ledger(house: House) -> None:
    """The texts of its documents too are committed to."""

    async def story(rooms: Rooms) -> None:
        first = await rooms.policy.apply(PolicySource(SOUND, {"links.yaml": "hosts: [a.example.com]"}), OPERATOR)
        second = await rooms.policy.apply(PolicySource(POLICY), OPERATOR)
        assert (first.version, second.version) == (2, 3)
        assert first.digest != second.digest
        assert await rooms.policy.active() == {"version": 3, "digest": second.digest, "documents": []}

    house.using(story)
    events = house.events("policy")
    assert [(event["version"], len(event["documents"])) for event in events] == [(1, 0), (2, 1), (3, 0)]
    assert events[1]["by"] == "operator:uid:0"


@pytest.mark.slow
def test_a_policy_with_errors_is_refused_by_line_and_changes_nothing(house: House) -> None:
    """So is one whose cases fail, or with a document that cannot be used."""
    case = "- {user: 'user:bob', object: 'coll:hr', action: document.read, expect: allow}\n"
    bad = {
        "on line 8": PolicySource(POLICY + "p, role:a, coll:b, fly, allow, always\n"),
        "NUL character": PolicySource(SOUND + "# a\0b\n"),
        "fails 1 of its 1 case": read_source(_written(house.folder / "p", cases=case)),
        "links.yaml": PolicySource(SOUND, {"links.yaml": "hosts: 7"}),
        "routing.yaml": PolicySource(SOUND, {"routing.yaml": "{}"}),
    }

    async def story(rooms: Rooms) -> None:
        for problem, source in bad.items():
            assert not check(source).ok
            with pytest.raises(UserError, match=problem):
                await rooms.policy.apply(source, OPERATOR)
        assert (await rooms.policy.active())["version"] == 1

    house.using(story)
    assert len(house.events("policy")) == 1


def test_of_applications_at_once_none_is_lost_or_doubled(house: House) -> None:
    """Each that is taken has a version of its own; the others are told to try again."""

    async def story(rooms: Rooms) -> list[object]:
        applying = [rooms.policy.apply(PolicySource(f"{SOUND}# {n}\n"), OPERATOR) for n in range(5)]
        return await asyncio.gather(*applying, return_exceptions=True)

    outcomes = house.using(story)
    versions = [outcome.version for outcome in outcomes if not isinstance(outcome, BaseException)]  # type: ignore[attr-defined]  # AppliedPolicy
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert versions
    assert refused
    assert all(isinstance(error, UserError) and "another version is being activated" in str(error) for error in refused)
    assert sorted(versions) == list(range(2, 2 + len(versions)))
    assert [event["version"] for event in house.events("policy")] == [1, *sorted(versions)]


@pytest.mark.slow
@pytest.mark.parametrize("how", [How.ERROR_BEFORE, How.ERROR_AFTER])
@pytest.mark.parametrize("call", ["ledger.append", "outbox.finish"])
def test_an_application_that_failed_on_its_way_goes_before_the_next(house: House, how: How, call: str) -> None:
    """It is not refused for ever by its own predecessor, and each version is recorded once."""
    plan = Plan(None, how)

    async def story(rooms: Rooms) -> None:
        plan.only = call
        with pytest.raises(Killed):
            await rooms.policy.apply(PolicySource(SOUND), OPERATOR)
        applied = await rooms.policy.apply(PolicySource(POLICY), OPERATOR)
        assert applied.version == 3
        assert (await rooms.policy.active())["version"] == 3

    house.using(story, wrap=plan.wrap)
    assert [event["version"] for event in house.events("policy")] == [1, 2, 3]
    house.check_whole()


@pytest.mark.slow
def test_a_warning_is_given_where_only_the_operator_could_change_the_policy(house: House) -> None:
    """A rule that denies approval to everybody is none that grants it."""

    async def story(rooms: Rooms) -> None:
        alone = "no rule grants policy.approve"
        deny = SOUND + "p, role:hr, sys:policy, policy.approve, deny, always\n"
        assert alone in "".join((await rooms.policy.apply(PolicySource(deny), OPERATOR)).warnings)
        grants = SOUND + "p, role:hr, sys:policy, policy.approve, allow, always\n"
        assert alone not in "".join((await rooms.policy.apply(PolicySource(grants), OPERATOR)).warnings)

    house.using(story)


BAD_DOCUMENTS: Mapping[str, str] = {
    "hosts: [": "line 1",
    "hosts:\n  - a.example.com\n - b": "line 3",
    "hosts: docs.example.com": "not a list",
    "hosts: [https://docs.example.com]": "not a list",
    "hosts: [docs.example.com/path]": "not a list",
    "hosts: [localhost]": "not a list",
    "hosts: ['*.example.com']": "not a list",
    "hosts: [DOCS.example.com]": "not a list",
    "hosts: [7]": "not a list",
    "host: [docs.example.com]": "not a list",
    "{}": "not a list",
}


@pytest.mark.parametrize("text", BAD_DOCUMENTS)
def test_a_list_of_hosts_that_cannot_be_used_is_refused(text: str) -> None:
    """Never read as "none" or as "any": the file, the place and the remedy are named."""
    with pytest.raises(PolicyDocumentError) as refused:
        parse_documents({"links.yaml": text})
    told = f"line {refused.value.line} {refused.value}"
    assert BAD_DOCUMENTS[text] in told
    assert "links.yaml" in told


def test_a_retention_rule_about_what_nothing_else_names_is_warned_of() -> None:
    """Most likely a slip, by which a shorter rule would decide; a collection is known by what is above or below it."""
    rules = "p, role:hr, coll:hr/pay/old, document.read, allow, always\n"
    good = [{"collection": name} for name in ("hr", "hr/pay", "hr/pay/old", "hr/pay/old/1999")] + [{"role": "hr"}]
    for about, warned in [*((one, False) for one in good), ({"collection": "rh"}, True), ({"role": "rh"}, True)]:
        text = json.dumps({"rules": [{"name": "a", "days": 1, **about}]})
        report = check(PolicySource(rules, {"retention.yaml": text}))
        told = [finding for finding in report.findings if "retention.yaml" in finding.message]
        assert (report.ok, [finding.severity for finding in told]) == (True, ["warning"] * warned)


def test_hosts_are_taken_with_or_without_their_key() -> None:
    """An empty file is an absent one: no outside host."""
    assert parse_documents({"links.yaml": "hosts: [a.example.com]"}).link_hosts == {"a.example.com"}
    assert parse_documents({"links.yaml": "- a.example.com\n- b.example.com"}).link_hosts == {
        "a.example.com",
        "b.example.com",
    }
    for nothing in ("", "hosts:", "hosts: []", "# none\n"):
        assert parse_documents({"links.yaml": nothing}).link_hosts == frozenset()


def test_documents_that_this_release_does_not_read_are_refused() -> None:
    """Better than a rule that somebody believes to be in force."""
    for name in (*KNOWN, "other.yaml"):
        if name != "links.yaml":
            with pytest.raises(PolicyDocumentError, match=name):
                parse_documents({name: "x: 1"})


def test_a_policy_is_read_from_a_file_or_its_folder(tmp_path: Path) -> None:
    """With what lies beside it; files of other names are no part of it."""
    folder = _written(
        tmp_path / "p",
        links="hosts: []",
        notes="- 1",
        cases=CASE,
    )
    for path in (folder, folder / "policy.csv"):
        source = read_source(path)
        assert source.rules_text == SOUND
        assert source.documents == {"links.yaml": "hosts: []"}
        assert len(source.cases) == 1
        assert check(source).ok


@pytest.mark.parametrize(("name", "content"), [("policy.csv", b"p, role:\xff"), ("links.yaml", b"\xff")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    """With what is wrong with it."""
    folder = _written(tmp_path / "p")
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match="not UTF-8"):
        read_source(folder)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- {", "is not YAML"),
        ("[" * 5_000, "is not YAML"),
        ("user: ann", "is not a list of cases"),
        ("- {user: ann}", "case 1"),
        ("- 7", "case 1"),
        ("- {name: [a]}", "case 1"),
        ("# \0", "NUL character"),
        ("# \ud800", "surrogate"),
    ],
)
def test_cases_that_cannot_be_read_are_an_error_with_their_file(text: str, problem: str) -> None:
    """Of the policy's check, as a rule that cannot be read is."""
    report = check(PolicySource(SOUND, cases={"a.yaml": text}))
    assert not report.ok
    first = report.findings[0]
    assert first.message.startswith("a.yaml: ")
    assert problem in first.message
    assert first.remedy


def test_a_policy_goes_through_a_folder_and_comes_back_byte_for_byte(tmp_path: Path) -> None:
    """Comments, line ends and white space too; what lies there is not written over unasked."""
    source = PolicySource(SOUND + "# a comment\r\n\n  ", {"links.yaml": "hosts: [] # none"}, {"a.yaml": "[]\n\n"})
    assert write_source(tmp_path / "p", source) == ["policy.csv", "links.yaml", "cases/a.yaml"]
    assert read_source(tmp_path / "p") == source
    with pytest.raises(UserError, match="is not empty"):
        write_source(tmp_path / "p", source)
    other = PolicySource(SOUND)
    write_source(tmp_path / "p", other, over=True)
    assert read_source(tmp_path / "p") == other


def test_a_place_without_a_policy_is_named(tmp_path: Path) -> None:
    """A folder without `policy.csv`, and nothing at all."""
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match=r"has no policy\.csv"):
            read_source(path)
