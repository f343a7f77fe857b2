"""The shadow check: Casbin itself, in a real child process, is asked what was decided."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.web.server_kit import Server, gone, settled_house
from tests.web.world import POLICY, World, world

from usher import authority
from usher.backends.shadow_casbin import CasbinChild
from usher.policy import shadow as shadow_module
from usher.policy.shadow import Shadow
from usher.policy.shadow_samples import QUESTIONS
from usher_policy.rules import Rules, read_rules
from usher_policy.vocabulary import Effect

QUESTION = "How many days of holiday has the walrus employee?"
DENIED = POLICY + "p, group:staff, coll:handbook, document.read, deny, purpose:is=unheard\n"
OPERATORS = ("p, role:operator, sys:system, system.operate, allow, always", "g, user:dave, role:operator")


@pytest.fixture
def usher(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One in which the check does not run."""
    with world(tmp_path_factory.mktemp("quiet")) as made:
        yield made


@contextmanager
def checking(usher: World) -> Iterator[Shadow]:
    """The check runs, as in a server."""
    shadow = usher.services.policies.shadow

    async def begin() -> asyncio.Task[None]:
        return asyncio.create_task(shadow.run())

    async def end(task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait({task})

    task = usher.run(begin())
    try:
        yield shadow
    finally:
        usher.run(end(task))


def until(usher: World, said: Callable[[], object], seconds: float = 20) -> float:
    """Wait until it is so; returns the seconds that it took."""
    began = time.monotonic()

    async def wait() -> None:
        while not said():
            assert time.monotonic() - began < seconds, "it did not come"
            await asyncio.sleep(0.02)

    usher.run(wait())
    return time.monotonic() - began


def differences(usher: World) -> list[dict[str, Any]]:
    return [event for event in usher.events() if event.get("act") == "shadow_difference"]


def child_of(shadow: Shadow) -> int | None:
    assert isinstance(shadow._casbin, CasbinChild)
    return shadow._casbin.pid


@pytest.mark.slow
def test_what_was_decided_is_asked_again_and_a_difference_is_told(
    usher: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Right decisions are only counted. One that Casbin would not have made, for its rules were read wrongly when they
    were compiled, is an alarm, a figure and an event within seconds, without a name or a word of the question."""

    def without_denies(text: str) -> Rules:
        rules = read_rules(text)
        return replace(rules, permissions=tuple(rule for rule in rules.permissions if rule.eft == Effect.ALLOW))

    with checking(usher) as shadow:
        assert usher.search(QUESTION).json()["hits"]
        until(usher, lambda: shadow.figures.asked >= 3)
        assert (shadow.figures.differed, differences(usher)) == (0, [])
        monkeypatch.setattr(authority, "read_rules", without_denies)
        usher.run(usher.apply(DENIED.replace("purpose:is=unheard", "always")))
        capsys.readouterr()
        shadow._noted = 0  # the next one is of those that are asked
        audit_id = usher.search(QUESTION).json()["audit_id"]
        until(usher, lambda: differences(usher))
        told = capsys.readouterr()
        child = child_of(shadow)
    assert child is not None
    assert gone([child])
    found = differences(usher)
    assert {(event["type"], event["exchange"], event["said"], event["casbin"]) for event in found} == {
        ("policy", audit_id, "allow", "deny")
    }
    assert all(event["access_class"] for event in found)
    assert shadow.figures.differed >= len(found)
    log = told.out + told.err
    assert "shadow_difference" in log
    assert not [word for word in ("walrus", "bob", "staff", "handbook") if word in log + repr(found)]


def test_beyond_the_bound_single_decisions_are_not_asked(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`/health/ready` and the figures say so, the server stays ready, and the version is asked about instead."""
    monkeypatch.setattr(shadow_module, "LOOK", 0.05)
    with checking(usher) as shadow:
        shadow._most_rules = 3
        usher.run(usher.apply_also(*OPERATORS))
        until(usher, lambda: shadow.figures.asked >= QUESTIONS)
        usher.search(QUESTION)
        ready, figures = usher.ask("GET", "/health/ready", None), usher.ask("GET", "/metrics", "dave")
        assert (shadow.figures.differed, len(shadow._waiting)) == (0, 0)
    assert (ready.status_code, ready.json()["parts"]["shadow check"]) == (200, "off above 3 rules")
    assert "usher_shadow_off 1.0" in figures.text
    assert f"usher_shadow_asked_total {float(shadow.figures.asked)}" in figures.text


def test_figures_are_for_operators(quiet: World) -> None:
    """Nobody else gets them; they are in Prometheus' format."""
    quiet.run(quiet.apply_also(*OPERATORS))
    assert [quiet.ask("GET", "/metrics", who).status_code for who in (None, "bob", "dave")] == [401, 403, 200]
    told = quiet.ask("GET", "/metrics", "dave")
    assert told.headers["content-type"].startswith("text/plain")
    names = (
        "usher_shadow_asked_total",
        "usher_shadow_dropped_total",
        "usher_shadow_differed_total",
        "usher_shadow_off",
    )
    assert [f"\n{name} " in told.text for name in names] == [True] * 4


def test_what_finds_no_place_is_dropped_and_counted(quiet: World) -> None:
    """Nothing of it waits for Casbin: with nobody to ask, decisions cost nothing and do not pile up."""
    shadow = quiet.services.policies.shadow
    grant = quiet.run(quiet.services.authority.admit(quiet.keys["bob"]))
    assert grant is not None
    began = time.perf_counter()
    for _ in range(shadow_module.EVERY * 1000):
        shadow.note(grant, True, "x")
    assert time.perf_counter() - began < 1
    assert len(shadow._waiting) == shadow_module.WAITING
    assert shadow.figures.dropped == 1000 - shadow_module.WAITING


@pytest.mark.slow
def test_a_child_that_dies_is_replaced(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was asked is dropped; after a pause the next decision gets an answer."""
    monkeypatch.setattr(shadow_module, "BACKOFF", (0.05, 0.1))
    with checking(usher) as shadow:
        usher.search(QUESTION)
        until(usher, lambda: shadow.figures.asked)
        first, before = child_of(shadow), shadow.figures.asked
        assert first is not None
        os.kill(first, 9)
        assert gone([first])
        shadow._noted = 0
        usher.search(QUESTION)
        until(usher, lambda: child_of(shadow) != first)
        shadow._noted = 0
        usher.search(QUESTION)
        until(usher, lambda: shadow.figures.asked > before)
        assert child_of(shadow) not in (None, first)


@pytest.mark.crash
def test_it_takes_a_twentieth_of_a_core(usher: World) -> None:
    """However much there is to ask."""
    many = [f"p, role:r{n}, coll:c{n}, document.read, allow, always" for n in range(10_000)]
    usher.run(usher.apply_also(*many))
    grant = usher.run(usher.services.authority.admit(usher.keys["bob"]))
    assert grant is not None
    with checking(usher) as shadow:
        for number in range(shadow_module.WAITING * shadow_module.EVERY):
            shadow.note(grant, True, str(number))
        until(usher, lambda: child_of(shadow) and shadow.figures.asked)
        pid = child_of(shadow)
        assert pid is not None
        began, used = time.monotonic(), _cpu(pid)
        usher.run(asyncio.sleep(8))
        share = (_cpu(pid) - used) / (time.monotonic() - began)
        assert shadow._waiting, "there was not enough to do"
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert 0 < share <= 0.05 + 0.02, share  # a piece of work more than the window has room for


def _cpu(pid: int) -> float:
    """Seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.crash
def test_fifty_thousand_rules_and_one_are_too_many(usher: World) -> None:
    """The check of single decisions is off, and two hundred questions are asked of the version: all as Casbin says."""
    own = len(POLICY.splitlines()) + len(OPERATORS)
    many = [f"p, role:r{n}, coll:c{n}, document.read, allow, always" for n in range(50_001 - own)]
    with checking(usher) as shadow:
        usher.run(usher.apply_also(*OPERATORS, *many[1:]))
        until(usher, lambda: shadow._version and shadow._version[0] == 2, 60)
        assert shadow.state() == "ok"  # exactly fifty thousand
        asked = shadow.figures.asked
        usher.run(usher.apply_also(*OPERATORS, *many))
        until(usher, lambda: shadow.figures.asked > asked + QUESTIONS - 10, 120)
        ready = usher.ask("GET", "/health/ready", None)
        assert shadow.figures.differed == 0
    assert ready.json()["parts"]["shadow check"] == "off above 50,000 rules"
    assert "usher_shadow_off 1.0" in usher.ask("GET", "/metrics", "dave").text


@pytest.mark.crash
@pytest.mark.loopback
def test_a_server_that_stops_leaves_no_process(graph: Path, tmp_path: Path) -> None:
    """The child is the server's own, starts with the first question, and ends with it; also when it is killed."""
    house, key = settled_house(graph, tmp_path)
    for end in (_stopped, _killed):
        with house.serving() as server, server.client(key) as client:
            before = server.children()
            assert client.post("/api/search", json={"q": QUESTION}).status_code == 200
            deadline = time.monotonic() + 30
            while not any(_is_the_check(pid) for pid in server.children() if pid not in before):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            children = server.children()
            end(server)
            assert gone(children)


def _is_the_check(pid: int) -> bool:
    """A process that is just being started still carries its parent's command line, and one that ended has none."""
    try:
        return b"shadow_casbin_child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def _stopped(server: Server) -> None:
    assert server.stop()[0] == 0


def _killed(server: Server) -> None:
    server.process.kill()
    server.process.wait()
