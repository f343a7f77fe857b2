"""`usher audit erase`, `hold`, `release`, and the one road of what they propose: as the operator, and by a key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from litestar import Litestar
from tests.web.cli_kit import road_to
from tests.web.erasure_kit import ERASERS, company, pseudonym, reviewer
from tests.web.world import World
from typer.testing import CliRunner, Result

from usher import cli_audit_proposals, cli_road
from usher.audit import erasing
from usher.cli import app

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, company(tmp_path_factory.mktemp("cli"), {}) as (made, _):
        patch.setattr(erasing, "GRACE", 0.0)
        yield made


@pytest.fixture(scope="module")
def operators(usher: World) -> Litestar:
    return usher.operator_app()


@pytest.fixture
def command(usher: World, operators: Litestar, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line; its road leads to the world's operator app. `key`: as whom."""

    def command(*words: str, key: str | None = None) -> Result:
        given = [] if key is None else ["--key", usher.keys[key]]
        return CliRunner().invoke(app, ["audit", *words, *given])

    monkeypatch.setattr(cli_road, "road", road_to(operators))
    monkeypatch.setattr(cli_audit_proposals, "run", usher.run)
    return command


def shown(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])  # the log may come before it
    return found


def test_the_operator_asks_and_a_person_approves(usher: World, command: Run) -> None:
    """What is said leads on to the next command, each of them as whoever may; at the end it is done."""
    usher.run(usher.add("leaver"))
    whom = pseudonym(usher, "leaver")
    said = command("erase", "person", "leaver", "--reason", "They left.").output
    listed = shown(command("proposals", "--names", "--json"))["proposals"][0]
    assert f"usher audit approve {listed['id']} {listed['digest']}" in said
    assert (listed["user"], listed["subject"], listed["reason"]) == ("leaver", whom, "They left.")
    assert shown(command("proposals", "--json", key="dave"))["proposals"][0]["user"] is None
    said = command("approve", listed["id"], listed["digest"], key="dave").output
    assert f"usher audit carry-out {listed['id']}" in said
    assert "carried_out and done" in command("carry-out", listed["id"]).output
    assert "carried_out" in command("proposals", "--limit", "1").output


def test_a_person_asks_and_another_refuses(usher: World, command: Run) -> None:
    """With their keys; refused, it cannot be carried out."""
    whom = pseudonym(usher, "bob")
    made = shown(command("erase", "person", "--pseudonym", whom, "--reason", "A mistake.", "--json", key="carol"))
    assert shown(command("refuse", made["id"], "--json", key="dave"))["state"] == "refused"
    again = shown(command("erase", "person", "--pseudonym", whom, "--reason", "A mistake.", "--json", key="carol"))
    assert shown(command("withdraw", again["id"], "--json", key="carol"))["state"] == "withdrawn"
    assert isinstance(command("carry-out", made["id"]).exception, cli_road.Refused)


@pytest.fixture
def holding(usher: World) -> Iterator[None]:
    """Whoever may erase may hold too."""
    usher.run(usher.apply_also(*ERASERS, "p, role:eraser, sys:audit, audit.hold, allow, always"))
    yield
    usher.run(usher.apply_also(*ERASERS))


@pytest.mark.usefixtures("holding")
def test_a_hold_and_its_release_go_the_same_road(command: Run) -> None:
    """Each leads on to the same command, is done when it is approved, and is listed with what it does."""
    exchange = str(uuid4())
    said = command("hold", "exchange", exchange, "--reason", "why", key="carol").output
    [hold] = shown(command("proposals", "--limit", "1", "--json"))["proposals"]
    assert f"usher audit approve {hold['id']} {hold['digest']}" in said
    assert f"exchange, {exchange}, -, -" in command("proposals", "--limit", "1").output
    assert (
        "hold " + hold["id"] + ": carried_out and done"
        in command("approve", hold["id"], hold["digest"], key="dave").output
    )
    assert hold["id"] in command("holds").output
    assert shown(command("holds", "--json", key="dave"))["holds"][0]["id"] == hold["id"]
    release = shown(command("release", hold["id"], "--reason", "over", "--json", key="dave"))
    assert (release["kind"], release["state"], release["parts"]) == ("release", "open", [hold["id"]])
    assert shown(command("approve", release["id"], release["digest"], "--json", key="carol"))["done_at"] is not None
    assert shown(command("holds", "--json"))["holds"][0]["released_at"] is not None


@pytest.mark.usefixtures("holding")
def test_a_hold_that_was_approved_and_cut_off_is_carried_out_by_the_operator(usher: World, command: Run) -> None:
    """By the command that carries out whatever was approved; not before it was."""
    hold = shown(command("hold", "exchange", str(uuid4()), "--reason", "why", "--json", key="carol"))
    assert isinstance(command("carry-out", hold["id"]).exception, cli_road.Refused)

    async def approved() -> None:
        await usher.services.audit.proposals.approve(UUID(hold["id"]), hold["digest"], await reviewer(usher, "dave"))

    usher.run(approved())
    assert "carried_out and done" in command("carry-out", hold["id"]).output
    assert shown(command("holds", "--json"))["holds"][0]["id"] == hold["id"]


def test_breaking_the_glass_is_for_the_operator_where_nobody_may_approve(usher: World, command: Run) -> None:
    """Refused while somebody holds the right; then done at once, and listed."""
    usher.run(usher.add("loner"))
    pseudonym(usher, "loner")
    words = ("erase", "person", "loner", "--reason", "Nobody is here.", "--break-glass", "--json")
    assert isinstance(command(*words).exception, cli_road.Refused)
    assert command(*words, key="carol").exit_code != 0
    usher.run(usher.apply_also())
    alone = shown(command(*words))
    usher.run(usher.apply_also(*ERASERS))
    assert (alone["state"], alone["done_at"] is None) == ("alone", False)
    assert isinstance(command("close-review", alone["id"], key="dave").exception, cli_road.Refused)


def test_two_ways_to_name_somebody_are_bad_usage(command: Run) -> None:
    """And none is too."""
    for words in ((), ("bob", "--pseudonym", "x")):
        assert command("erase", "person", *words, "--reason", "x").exit_code != 0
