"""Random people, documents and rights, and what people chat about meanwhile: nothing that somebody may not read now
comes to their screen or into a prompt made for them, and all that they may is there."""

from __future__ import annotations

import re
from functools import cached_property
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.leak.dialogue_oracle import Exchange, Talk, Turn, placed
from tests.leak.dialogue_oracle import Place as Put
from tests.leak.dialogue_play import PAPERS, RIGHTS, TOPICS, Change, Play, pick
from tests.leak.dialogue_screen import Screen
from tests.leak.dialogue_world import DULL, DialogueWorld, dialogue_world

from usher.authority import Grant
from usher.core.history import Asked
from usher.threads import Place

STEPS = 2_000
PARTS, EXAMPLES, STEPS_EACH = 4, 10, 58

SMALL = st.integers(0, 11)
CHANGES = st.tuples(st.sampled_from((*RIGHTS, *PAPERS)), SMALL, SMALL, SMALL)
SEALINGS = st.tuples(st.just("seal"), SMALL, SMALL, SMALL)
TAMPERED = st.lists(
    st.sampled_from(("true", "true", "dull", "spaced", "edited", "claimed", "foreign", "alone", "gone")), min_size=1
)


class Dialogue(RuleBasedStateMachine):
    """One company on the stage of the one Usher of this module."""

    world: ClassVar[DialogueWorld]
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.nth = 0
        self.admitted: dict[str, Grant] = {}

    @cached_property
    def play(self) -> Play:
        """A company of its own. Not before the first step: Hypothesis gives up some runs there."""
        play = Play(self.world, self._meanwhile)
        self.world.run(play.begin())
        return play

    @invariant()
    def what_is_seen(self) -> None:
        """Whoever was concerned looks, and now and then another."""
        if "play" not in vars(self):
            return
        Dialogue.steps += 1
        self.nth += 1
        people = list(self.play.company.people)
        looking = [self.play.user, *([pick(people, self.nth // 4)] if self.nth % 4 == 0 else [])]
        for user in dict.fromkeys(looking):
            self.world.run(self._look(user))

    async def _look(self, user: str) -> None:
        """Each second time as one who was admitted when the play began, and has had a connection open since."""
        if user not in self.admitted or self.nth % 4 < 2:
            grant = await self.world.grant(user)
            self.admitted.setdefault(user, grant)
        else:
            grant = self.admitted[user]
        screen = Screen(self.play, user, grant)
        await screen.look(self.play.talk, self.nth)

    async def _meanwhile(self) -> None:
        """Both the old state and the new one must allow: whose conversation was touched last looks at it."""
        talk, company = self.play.talk, self.play.company
        if talk is not None and company.before is not None:
            screen = Screen(self.play, talk.owner, await self.world.grant(talk.owner))
            await screen.no_more_than_may_be_seen(talk)

    def teardown(self) -> None:
        if "play" in vars(self):
            self.world.run(self._look_at_everything())

    async def _look_at_everything(self) -> None:
        for user in self.play.company.people:
            await Screen(self.play, user, await self.world.grant(user)).everything()

    # Who asks what

    def _user(self, n: int) -> str:
        return pick(list(self.play.company.people), n)

    def _talk(self, who: int, n: int) -> Talk | None:
        """One of the person's; who has none asks something first."""
        user = self._user(who)
        if not self.play.memory.of(user):
            self.asks_anew(who, n, 1, dull=False)
        talks = self.play.memory.of(user)
        return pick(talks, n) if talks else None

    def _question(self, user: str, n: int, quoting: int) -> str:
        """A plain question or a follow-up, every third time with an earlier answer quoted in it."""
        topic = pick(TOPICS, n)
        asked = f"And about {topic}?" if n > 7 else f"What does the rule on {topic} say?"
        mine = self.play.memory.exchanges(user)
        return f'You said: "{pick(mine, n).seen}" {asked}' if mine and quoting % 3 == 0 else asked

    @rule(who=SMALL, topic=SMALL, quoting=SMALL, dull=st.booleans())
    def asks_anew(self, who: int, topic: int, quoting: int, dull: bool) -> None:
        user = self._user(who)
        self.world.model.dull = dull
        self.world.run(self.play.ask(user, Put(None), Place(), self._question(user, topic, quoting)))

    @rule(who=SMALL, where=SMALL, topic=SMALL, quoting=SMALL, dull=st.booleans(), leave=st.booleans())
    def goes_on(self, who: int, where: int, topic: int, quoting: int, dull: bool, leave: bool) -> None:
        user = self._user(who)
        if (talk := self._talk(who, where)) is not None:
            self.world.model.dull = dull
            put, place = placed(talk, talk.exchanges[-1]), Place(talk.id)
            self.world.run(self.play.ask(user, put, place, self._question(user, topic, quoting), leave=leave))

    @rule(who=SMALL, where=SMALL, which=SMALL, topic=SMALL, quoting=SMALL)
    def branches_off(self, who: int, where: int, which: int, topic: int, quoting: int) -> None:
        """After an earlier exchange, or instead of it: asked anew in other words, or once more as it was."""
        user = self._user(who)
        if (talk := self._talk(who, where)) is None:
            return
        self.world.model.dull = False
        at = pick(talk.exchanges, which)
        question = self._question(user, topic, quoting)
        if which % 3 == 0:
            self.world.run(self.play.ask(user, placed(talk, at), Place(after=at.id), question))
        elif which % 3 == 1:
            self.world.run(self.play.ask(user, placed(talk, at.parent), Place(instead_of=at.id), question))
        else:
            self.world.run(self._asks_once_more(user, at))

    async def _asks_once_more(self, user: str, at: Exchange) -> None:
        if self.play.company.reads_all(user, at.exposures) or not self.play.company.chats(user):
            put, place = placed(at.talk, at.parent), Place(instead_of=at.id)
            await self.play.ask(user, put, place, at.question, again=at)
        else:
            told = await self.world.ask(user, Asked(""), Place(instead_of=at.id))
            assert told.refused == "instead_of"

    @rule(who=SMALL, where=SMALL, topic=SMALL, at_once=st.booleans(), change=CHANGES | SEALINGS)
    def asks_while_something_changes(self, who: int, where: int, topic: int, at_once: bool, change: Change) -> None:
        user = self._user(who)
        talk = self._talk(who, where)
        self.world.model.dull, self.world.model.at_once = False, at_once
        put, place = (placed(talk, talk.exchanges[-1]), Place(talk.id)) if talk else (Put(None), Place())
        self.world.run(self.play.ask_while(user, put, place, self._question(user, topic, 1), change))

    @rule(who=SMALL, where=SMALL, which=SMALL, topic=SMALL, tampered=TAMPERED, named=st.booleans())
    def sends_it_all_again(
        self, who: int, where: int, which: int, topic: int, tampered: list[str], named: bool
    ) -> None:
        """As OpenAI's clients do; what they send may be laid out anew, changed, invented or somebody else's."""
        user = self._user(who)
        if (talk := self._talk(who, where)) is not None:
            self.world.model.dull = bool(topic % 2)
            path = pick(talk.exchanges, which).path()
            turns = [self._resent(e, pick(tampered, n)) for n, e in enumerate(path)]
            asked = self._question(user, topic, 1)
            self.world.run(self.play.resend(user, turns, talk if named else None, asked))

    def _resent(self, exchange: Exchange, how: str) -> Turn:
        question, answer = exchange.question, exchange.seen
        fake = self.play.word("fake")
        others = [e.seen for t in self.play.memory.talks if t.owner != exchange.talk.owner for e in t.exchanges]
        turns: dict[str, Turn] = {
            "true": (question, answer),
            "spaced": (question, re.sub(r"\s*\[1\]\s*", "", answer).replace(" ", " \n ")),
            "edited": (question, f"{answer} And {fake}."),
            "claimed": (f"Is it {fake}?", answer),
            "foreign": (question, others[-1] if others else f"{fake}!"),
            "alone": (None, answer),
            "gone": (question, f"It is {fake}."),
            "dull": (question, DULL),
        }
        return turns[how]

    # What changes

    @rule(change=CHANGES)
    def something_changes(self, change: Change) -> None:
        self.world.run(self.play.change(change))

    @rule(change=st.tuples(st.sampled_from(RIGHTS), SMALL, SMALL, SMALL))
    def a_right_changes(self, change: Change) -> None:
        self.world.run(self.play.change(change))

    @rule(who=SMALL, where=SMALL, delete=st.booleans())
    def tidies_up(self, who: int, where: int, delete: bool) -> None:
        """A conversation is renamed, with words of an answer in it, or deleted."""
        user = self._user(who)
        talk = self._talk(who, where)
        if talk is not None and self.play.company.chats(user):
            self.world.run(self.play.delete(talk) if delete and where % 2 else self.play.rename(talk))

    @precondition(lambda self: self.nth % 25 == 24)
    @rule()
    def starts_again(self) -> None:
        """The server goes down and comes up."""
        self.world.run(self.world.close())
        self.world.run(self.world.open())


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.crash) for part in range(1, PARTS))])
def test_nothing_appears_that_may_not_be_read_now_and_all_that_may_is_there(part: int) -> None:
    """Over a thousand steps (and, at length, as many again), each followed by looks at the screens of those concerned.
    In parts, which two processes share; to have a failure made small, add `Phase.shrink`, which takes minutes."""
    Dialogue.steps = 0
    with dialogue_world() as Dialogue.world:
        run_state_machine_as_test(
            Dialogue,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS_EACH,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    assert Dialogue.steps >= STEPS // PARTS
