"""What the product puts on a person's screen, held against what the second model says that this person may see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from tests.leak.dialogue_oracle import NOT_SHOWN, Exchange, Talk, collapsed, on_screen, parent_on_screen, planted
from tests.leak.dialogue_play import Play, pick

from usher.authority import Grant
from usher.conversations import Said
from usher.feedback import Words
from usher.ports.feedback import Verdict
from usher.threads import NoSuchExchange
from usher.viewing import NotPermitted

Way = Callable[[Talk, Exchange], Awaitable[None]]


class Screen:
    """One person's, at one instant."""

    def __init__(self, play: Play, user: str, grant: Grant) -> None:
        self._play, self._user, self._grant = play, user, grant
        self._company, self._services = play.company, play.world.services
        self._talks = sorted(play.memory.of(user), key=lambda talk: -talk.used)

    def _sees(self, exchange: Exchange) -> bool:
        return self._company.reads_all(self._user, exchange.exposures)

    async def look(self, touched: Talk | None, n: int) -> None:
        """At the list, at the conversation that was touched last, and at every second time at one thing more."""
        if not self._company.chats(self._user):
            with pytest.raises(NotPermitted):
                await self._services.conversations.page(self._grant, None, 200)
            return
        if touched is not None:
            await self.look_at(touched)
        if self._talks and n % 2:
            await self.not_mine()
            talk = pick(self._talks, n // 2)
            exchange = pick(talk.exchanges, n // 3)
            ways: tuple[Way, ...] = (self.a_talk, self.a_search, self.an_answer_again, self.feedback, self.pages)
            await pick(ways, n // 2)(talk, exchange)

    async def look_at(self, talk: Talk) -> None:
        """In the list, and opened."""
        if self._company.chats(self._user):
            await self.the_list()
            if talk in self._talks:
                await self.a_talk(talk)

    async def no_more_than_may_be_seen(self, talk: Talk) -> None:
        """While a change is under way less may be shown for a moment, such as of a document that moves to where none
        has been before."""
        if not self._company.chats(self._user):
            return
        listed, _ = await self._services.conversations.page(self._grant, None, 200)
        told_of = {one.id: one.told_of for one in self._talks}
        assert all(one.hidden or self._company.reads_all(self._user, told_of[one.id]) for one in listed)
        if talk in self._talks:
            opened = await self._services.conversations.read(self._grant, talk.id, None, 200)
            visible = {exchange.id for exchange in talk.exchanges if self._sees(exchange)}
            assert visible.issuperset(said.id for said in opened.exchanges if said)

    async def everything(self) -> None:
        if self._company.chats(self._user):
            await self.the_list()
            for talk in self._talks:
                await self.a_talk(talk)

    async def the_list(self) -> None:
        """In the order of last use; a title is there, or the placeholder is."""
        listed, more = await self._services.conversations.page(self._grant, None, 200)
        assert [one.id for one in listed] == [talk.id for talk in self._talks]
        assert more is None
        for one, talk in zip(listed, self._talks, strict=True):
            self._titled(talk, one.title, one.hidden)

    def _titled(self, talk: Talk, title: str | None, hidden: bool) -> None:
        may = self._company.reads_all(self._user, talk.told_of)
        assert hidden == (not may)
        assert title is not None
        assert talk.is_titled(title) if may else title == NOT_SHOWN

    async def a_talk(self, talk: Talk, _: Exchange | None = None) -> None:
        """Each exchange whole where it may be seen, one placeholder for those between."""
        opened = await self._services.conversations.read(self._grant, talk.id, None, 200)
        self._titled(talk, opened.conversation.title, opened.conversation.hidden)
        assert opened.next is None
        expected = on_screen(self._company, talk)
        shown = [said and said.id for said in opened.exchanges]
        wanted = [exchange and exchange.id for exchange in expected]
        assert shown == wanted, f"shown {shown}, expected {wanted}"
        for said, exchange in zip(opened.exchanges, expected, strict=True):
            if said is not None and exchange is not None:
                self._same(said, exchange)

    def _same(self, said: Said, exchange: Exchange) -> None:
        assert (said.question, said.answer) == (exchange.question, exchange.answer)
        assert said.parent == parent_on_screen(self._company, exchange)
        readable = [path for path in self._company.documents if self._company.reads(self._user, path)]
        shown = planted((said.question, said.answer))
        assert shown <= self._company.words(readable) | exchange.typed, "a word on screen that may not be read"

    async def pages(self, talk: Talk, _: Exchange | None = None) -> None:
        """The same exchanges, a few at a time from the newest back."""
        found: list[Said | None] = []
        after: UUID | None = None
        while True:
            opened = await self._services.conversations.read(self._grant, talk.id, after, 2)
            found = [*opened.exchanges, *found]
            if (after := opened.next) is None:
                break
        seen = [said and said.id for said in found]
        assert list(collapsed(seen)) == [exchange and exchange.id for exchange in on_screen(self._company, talk)]

    async def a_search(self, _: Talk, exchange: Exchange) -> None:
        """For a word that an exchange held: exactly those that hold it and may be seen."""
        for word in sorted(planted((exchange.question, exchange.answer)))[:1]:
            found = await self._services.conversations.search(self._grant, word, 50)
            holding = [e for t in self._talks for e in t.exchanges if word in planted((e.question, e.answer))]
            assert {hit.row.id for hit in found.hits} == {e.id for e in holding if self._sees(e)}
            assert found.complete

    async def an_answer_again(self, _: Talk, exchange: Exchange) -> None:
        """A lost connection takes an answer up again: whole, or as if it had never been."""
        audit_id = str(exchange.id)
        if not self._sees(exchange):
            with pytest.raises(NoSuchExchange):
                await self._services.live.resume(self._grant, audit_id)
            return
        again = await self._services.live.resume(self._grant, audit_id)
        assert "".join(again.parts) == exchange.answer

    async def feedback(self, _: Talk, exchange: Exchange) -> None:
        """Given and read again while the answer may be seen; else there is no such answer."""
        given = self._play.feedback.get(exchange.id)
        try:
            if given is None:
                self._play.feedback[exchange.id] = exchange.seen[:100]
                await self._services.feedback.give(self._grant, exchange.id, Verdict.UP, Words(exchange.seen[:100]))
            else:
                read = await self._services.feedback.own(self._grant, exchange.id)
                assert read.words == Words(given)
            assert self._sees(exchange)
        except NoSuchExchange:
            if given is None:
                del self._play.feedback[exchange.id]
            assert not self._sees(exchange)

    async def not_mine(self) -> None:
        """The newest conversation of somebody else is as one that never was."""
        theirs = [talk for talk in self._play.memory.talks if talk.owner != self._user][-1:]
        for talk in theirs:
            with pytest.raises(NoSuchExchange):
                await self._services.conversations.read(self._grant, talk.id, None, 200)
