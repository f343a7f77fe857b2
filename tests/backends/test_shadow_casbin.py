"""Casbin's process: how it spares the machine, and that what it leaves out could not have mattered."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from tests.policy.language import Story, rules_of, stories

from usher.backends.shadow_casbin import CasbinChild
from usher.backends.shadow_casbin_child import PIECE, SHARE, Asking, Pace, Question, answers, narrowed
from usher.ports.shadow import Asked, CasbinFailed, Sample
from usher_policy.rules import Rules, read_rules
from usher_policy.vocabulary import Principal

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
RULES = "p, role:reader, coll:a, document.read, allow, always\ng, user:ann, role:reader\n"


class Clock:
    """Work and sleep, in seconds."""

    def __init__(self) -> None:
        self.worked = self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def test_it_sleeps_nineteen_times_as_long_as_it_works() -> None:
    """However the work is cut up; a piece too small to pay for is paid for with the next."""
    clock = Clock()
    pace = Pace(lambda: clock.worked, clock.sleep)
    for work in (PIECE / 2, PIECE / 2, 1.0, 0.0, 3 * PIECE):
        clock.worked += work
        pace.rest()
    assert clock.worked / (clock.worked + clock.slept) == pytest.approx(SHARE)


@pytest.mark.crash
@settings(max_examples=30, deadline=None, database=None, derandomize=True)
@given(stories())
def test_the_rules_that_are_left_out_match_no_question(story: Story) -> None:
    """Casbin's answers over the narrowed rules are those over all."""
    text = rules_of(story.last).to_csv()
    context, readers = story.contexts[0], {name: tuple(sorted(on)) for name, on in story.catalogs[1].readers.items()}
    asking = [
        Asking(
            who.user,
            tuple(sorted(who.groups)),
            context.now,
            context.purpose,
            tuple(Question((obj,), str(action), False) for obj, action in story.questions),
            readers,
        )
        for who in story.principals
    ]
    pace = Pace(sleep=lambda seconds: None)
    whole, few = read_rules(text), narrowed(text, asking, pace)
    assert [answers(few, one, pace) for one in asking] == [answers(whole, one, pace) for one in asking]
    assert len(few.permissions) + len(few.links) <= len(whole.permissions) + len(whole.links)


def _sample(*asked: Asked, version: int = 1) -> Sample:
    return Sample(version, "d", 1, Principal("user:ann"), NOW, None, asked, {})


READ = Asked(("coll:a/b",), "document.read", True)


@pytest.mark.slow
def test_rules_are_sent_once_for_a_version_and_failures_begin_afresh() -> None:
    """A document needs all that it requires; what Casbin cannot be asked, and a child that died, are told by kind."""
    loaded: list[str] = []

    async def rules() -> str:
        loaded.append(RULES)
        return RULES

    async def gone() -> str:
        raise CasbinFailed("the database is away")

    async def talk() -> None:
        child = CasbinChild()
        marked = Asked(("coll:a", "mark:pii"), "document.read", False, 7)
        only_marked = Asked(("mark:pii",), "document.read", False, 8)
        assert await child.ask([_sample(READ, marked, only_marked)], rules, False) == [(True, False, False)]
        assert await child.ask([_sample(READ), _sample(READ)], rules, False) == [(True,), (True,)]
        assert len(loaded) == 1
        assert await child.ask([_sample(READ, version=2)], rules, False) == [(True,)]
        assert await child.ask([_sample(READ)], rules, True) == [(True,)]
        assert len(loaded) == 3
        with pytest.raises(CasbinFailed, match="raised ValueError"):
            await child.ask([_sample(Asked(("coll:a",), "document.walk", True))], rules, True)
        assert child.pid is None
        assert await child.ask([_sample(READ)], rules, False) == [(True,)]
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(CasbinFailed, match="has ended"):
            await child.ask([_sample(READ)], rules, False)
        with pytest.raises(CasbinFailed, match="away"):
            await child.ask([_sample(READ)], gone, False)
        await child.close()

    asyncio.run(talk())


def test_no_rules_allow_nothing() -> None:
    asking = Asking("user:ann", (), NOW, None, (Question(("coll:a",), "document.read", False),), {})
    assert answers(Rules(), asking, Pace(sleep=lambda seconds: None)) == (False,)
