"""The questions in flight on one socket: each has its last frame, or its socket is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from usher.authority import Grant
from usher.chat import MAX_TOKENS
from usher.chat_answer import Ended
from usher.core.history import Asked
from usher.limits import LimitExceeded
from usher.live_again import Again
from usher.live_flow import Flow
from usher.retrieve import checked_question
from usher.services import Services
from usher.threads import Place
from usher.web import ws_replies as replies
from usher.web.ws_frames import Ask, Cancel, Delta, Error, Resume
from usher.web.ws_line import Judge, Line, Lost

MAX_IN_FLIGHT = 4


@dataclass(slots=True)
class _Question:
    """`flow` from when it has an answer."""

    task: asyncio.Task[None] | None = None
    flow: Flow | None = None
    cancelled: bool = False


class Questions:
    """`grant` gives the grant of now. Answers interleave on the line."""

    def __init__(self, services: Services, line: Line, grant: Callable[[], Grant]) -> None:
        self._services = services
        self._live = services.live
        self._line = line
        self._grant = grant
        self._open: dict[str, _Question] = {}

    def __contains__(self, id: object) -> bool:
        return id in self._open

    async def begin(self, frame: Ask | Resume) -> None:
        """Start on it, or say why not. Raises `Lost`."""
        if frame.id in self._open:
            await self._say("duplicate_id", "This id is of a question in flight: give each its own.")
            return
        if len(self._open) >= MAX_IN_FLIGHT:
            words = f"At most {MAX_IN_FLIGHT} questions may be in flight here: wait for an end, or cancel one."
            await self._line.send(Error(id=frame.id, code="too_many_in_flight", message=words, retry_after=1))
            return
        try:
            self._services.limits.request(self._grant().credential.user)
        except LimitExceeded as error:
            await self._line.send(replies.failure(frame.id, error))
            return
        self._open[frame.id] = question = _Question()
        question.task = asyncio.create_task(self._done(frame, question))

    async def cancel(self, frame: Cancel) -> None:
        """Let it end; its last frame follows. Raises `Lost`."""
        question = self._open.get(frame.id)
        if question is None or question.task is None:
            await self._say("not_in_flight", "No question with this id is in flight.")
        elif question.flow is not None:
            question.flow.stop()
        elif not question.cancelled:
            question.cancelled = True
            question.task.cancel()

    async def settled(self) -> None:
        """Returns when none is in flight any more."""
        if tasks := self._tasks():
            await asyncio.wait(tasks)

    async def end(self, lost: bool) -> None:
        """The socket is over. Where its connection was lost, answers go on and wait to be taken up; else they end."""
        for task in (tasks := self._tasks()):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        flows = [question.flow for question in self._open.values() if question.flow is not None]
        mine = [flow for flow in flows if not flow.is_read]  # the others are read over another socket by now
        if not lost:
            await asyncio.gather(*(self._live.cancel(flow) for flow in mine))
            return
        for flow in mine:
            self._live.unread(flow)

    def _tasks(self) -> set[asyncio.Task[None]]:
        return {question.task for question in self._open.values() if question.task is not None}

    async def _done(self, frame: Ask | Resume, question: _Question) -> None:
        """Do it; whatever comes of that, say it. A question whose socket is lost stays open for `end`."""
        try:
            await self._said(frame, question)
        except Lost:
            return
        del self._open[frame.id]

    async def _said(self, frame: Ask | Resume, question: _Question) -> None:
        try:
            await (self._ask(frame, question) if isinstance(frame, Ask) else self._resume(frame, question))
        except Lost:
            raise
        except asyncio.CancelledError:
            if not question.cancelled:
                raise
            await self._line.send(replies.cancelled(frame.id))
        except Exception as error:
            if question.flow is not None and not question.flow.is_read:
                await self._live.cancel(question.flow)
            await self._line.send(replies.failure(frame.id, error))

    async def _ask(self, ask: Ask, question: _Question) -> None:
        again = ask.question is None and ask.instead_of is not None
        asked = Asked("" if again else checked_question(ask.question or "", "question"))
        tokens = min(ask.max_tokens or MAX_TOKENS, MAX_TOKENS)
        place = Place.named(conversation=ask.conversation, after=ask.after, instead_of=ask.instead_of)
        flow = await self._live.begin(self._grant(), asked, tokens, ask.temperature or 0.0, place)
        question.flow = flow
        await self._line.send(replies.route(ask.id, flow.exchange))
        await self._line.send(replies.sources(ask.id, flow.exchange), self._judge(flow))
        await self._read(ask.id, question, flow)

    async def _resume(self, frame: Resume, question: _Question) -> None:
        again = await self._live.resume(self._grant(), frame.audit_id)
        if again.flow is not None:
            question.flow = again.flow
            await self._read(frame.id, question, again.flow, frame.after, again)
            return
        audit_id, judge = str(again.row.id), self._judge(None, again)
        for seq, text in enumerate(again.parts[frame.after :], frame.after + 1):
            await self._line.send(Delta(id=frame.id, audit_id=audit_id, seq=seq, text=text), judge)
        await self._line.send(replies.end_again(frame.id, again), judge)

    async def _read(self, id: str, question: _Question, flow: Flow, after: int = 0, again: Again | None = None) -> None:
        """Send what comes of an answer, each frame judged when it goes out."""
        audit_id, judge = flow.exchange.audit_id, self._judge(flow, again)
        async with aclosing(flow.read(after)) as parts:
            async for seq, text in parts:
                await self._line.send(Delta(id=id, audit_id=audit_id, seq=seq, text=text), judge)
        if flow.end is None:
            question.flow = None
            words = "This answer is read over another socket now."
            await self._line.send(Error(id=id, code="resumed_elsewhere", message=words, audit_id=audit_id))
            return
        whole = isinstance(flow.end, Ended) and flow.end.whole
        await self._line.send(replies.end(id, flow), judge if whole or again is not None else None)
        self._live.forget(flow)

    def _judge(self, flow: Flow | None, again: Again | None = None) -> Judge:
        """What is asked when a frame's turn has come, however long it waited for that."""
        return lambda: self._live.judge(self._grant(), flow, again)

    async def _say(self, code: str, words: str) -> None:
        await self._line.send(Error(id=None, code=code, message=words))
