"""`/v1`: the API that OpenAI's clients speak. One model, `assistant`; history is data, and grants nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Annotated, Any, Literal

import anyio
import msgspec
from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType
from litestar.openapi import ResponseSpec
from litestar.params import BodyKwarg, HeaderParameter
from pydantic import BaseModel, ConfigDict, Field

from usher.authority import Grant
from usher.chat import MAX_TOKENS, Chat
from usher.chat_answer import Ended
from usher.chat_exchange import Exchange, tokens_of
from usher.core.history import Asked, split
from usher.services import Services
from usher.threads import Place
from usher.web.auth import KEY, needs
from usher.web.cited import cited
from usher.web.closing_stream import ClosingStream
from usher.web.openai_errors import ModelNotFound, error_body, error_response, stream_error
from usher.web.schema import BY_KEY, OPENAI_ERRORS, example, openai_errors
from usher_policy.vocabulary import Action

MODEL = "assistant"
MAX_BODY = 1024 * 1024
CONVERSATION_HEADER = "x-usher-conversation"
PING = b": ping\n\n"
CLIENT_LEFT = 499
"""The status in the access log of an answer that nobody waited for."""

AnyRequest = Request[Any, Any, State]

_EXAMPLES = example(
    "One question",
    {"model": MODEL, "messages": [{"role": "user", "content": "How much may a hotel cost per night?"}]},
)
_ANSWER = ResponseSpec(
    dict[str, Any],
    generate_examples=False,
    description="OpenAI's chat completion with `usher` beside it; with `stream`, server-sent events of its chunks, "
    "`usher` on the last one",
)
_ERRORS = {
    **OPENAI_ERRORS,
    **openai_errors(
        {
            404: "There is no such model, or no such conversation of yours",
            413: "The body is too large, or you have stored as much as one person may",
        }
    ),
}
_INTO = "The id of a conversation of your own, where the question goes. Default: where the turns that you resend stand."


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """OpenAI's request. Fields that are not listed are ignored; `user` is never identity."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(max_length=200, description=f"Always `{MODEL}`.")
    messages: list[Any] = Field(description="Turns with `role` and `content`; the last `user` turn is the question.")
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, description=f"At most {MAX_TOKENS}.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The newer name of `max_tokens`.")
    temperature: float | None = Field(None, ge=0, le=2, description="0 if it is left out.")
    n: Literal[1] | None = 1

    @property
    def tokens(self) -> int:
        return min(self.max_completion_tokens or self.max_tokens or MAX_TOKENS, MAX_TOKENS)


@get(
    "/models",
    opt={"access": needs(Action.CHAT_ASK, "sys:chat")},
    responses=OPENAI_ERRORS,
    summary="The one model",
)
async def models() -> dict[str, Any]:
    return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "usher"}]}


@post("/chat/completions", status_code=200, responses={200: _ANSWER, **_ERRORS}, summary="Ask a question")
async def chat_completions(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    request: AnyRequest,
    data: Annotated[ChatRequest, BodyKwarg(media_type=RequestEncodingType.JSON, examples=_EXAMPLES)],
    conversation: Annotated[str | None, HeaderParameter(name=CONVERSATION_HEADER, description=_INTO)] = None,
) -> Response[Any]:
    """An answer made of passages that you may read, as JSON or as server-sent events."""
    place = Place.named(conversation=conversation)
    if data.model != MODEL:
        raise ModelNotFound
    asked: Asked = split(data.messages)
    user, limits = grant.credential.user, services.limits
    limits.tokens(user)
    held = limits.stream(user)
    try:
        exchange = await services.chat.begin(grant, asked, data.tokens, data.temperature or 0.0, place)
    except BaseException:
        held.release()
        raise
    frames = services.chat.stream(exchange)

    async def over(*flowing: AsyncGenerator[Any, None]) -> None:
        """Once, however it ended."""
        try:
            await _ended(services.chat, exchange, *flowing, frames)
        finally:
            held.release()
            limits.spent(user, tokens_of(exchange))

    if not data.stream:
        try:
            return await _while_there(request, _whole(exchange, frames))
        finally:
            await over()
    usage = data.stream_options is not None and data.stream_options.include_usage
    return await _streamed(exchange, frames, usage, over)


async def _streamed(
    exchange: Exchange, frames: AsyncGenerator[str | Ended, None], usage: bool, over: Callable[..., Awaitable[None]]
) -> Response[Any]:
    """A stream from the first part on, or from the first sign of life; an error before it is a plain error."""
    try:
        first = await anext(frames)
    except BaseException:
        await over()
        raise
    if isinstance(first, Ended) and not first.whole:
        await over()
        return error_response(first.outcome, exchange.audit_id)
    flowing = _events(exchange, first, frames, usage)
    return ClosingStream(flowing, partial(over, flowing), media_type="text/event-stream", headers=_NO_STORE)


_NO_STORE = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def _while_there(request: AnyRequest, answering: Coroutine[Any, Any, Response[Any]]) -> Response[Any]:
    """The answer, given up when its client leaves: the server itself ends a handler only when it streams."""
    answer, leaving = asyncio.create_task(answering), asyncio.create_task(_left(request))
    try:
        await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else Response(None, status_code=CLIENT_LEFT)
    finally:
        answer.cancel()
        leaving.cancel()
        await asyncio.wait({answer, leaving})


async def _ended(chat: Chat, exchange: Exchange, *flowing: AsyncGenerator[Any, None]) -> None:
    """Nobody takes more of the answer: its generators are closed from the outermost on, and its end is recorded, also
    if it never began to flow."""
    with anyio.CancelScope(shield=True):
        for generator in flowing:
            await generator.aclose()
        await chat.abandon(exchange)


async def _left(request: AnyRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _whole(exchange: Exchange, frames: AsyncIterator[str | Ended]) -> Response[Any]:
    """The answer as one JSON object; a failure in the middle shows nothing of it."""
    texts: list[str] = []
    ended: Ended | None = None
    async for frame in frames:
        if isinstance(frame, Ended):
            ended = frame
        else:
            texts.append(frame)
    assert ended is not None  # noqa: S101  # the last frame of every stream
    if not ended.whole:
        return error_response(ended.outcome, exchange.audit_id)
    message = {"role": "assistant", "content": "".join(texts), "refusal": None}
    body = {
        **_head(exchange, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": ended.finish_reason}],
        "usage": _usage(ended),
        "usher": _usher(exchange, ended),
    }
    return Response(body, headers={"cache-control": "no-store"})


async def _events(
    exchange: Exchange, first: str | Ended, frames: AsyncIterator[str | Ended], usage: bool
) -> AsyncGenerator[bytes, None]:
    """The answer as server-sent events, those together that come together; the last chunk carries `usher`. An error
    ends it without `[DONE]`. Whoever takes it closes `frames`."""
    head, frame = _head(exchange, "chat.completion.chunk"), first
    before = _event({**head, "choices": [_choice({"role": "assistant", "content": ""})]})
    while not isinstance(frame, Ended):
        yield before + (_event({**head, "choices": [_choice({"content": frame})]}) if frame else PING)
        before = b""
        try:
            frame = await anext(frames)
        except Exception as error:
            yield _event(stream_error(error))
            return
    if not frame.whole:
        yield before + _event(error_body(frame.outcome))
        return
    last = [_event(chunk) for chunk in _last(head, exchange, frame, usage)]
    yield b"".join([before, *last, b"data: [DONE]\n\n"])


def _last(head: dict[str, Any], exchange: Exchange, ended: Ended, usage: bool) -> list[dict[str, Any]]:
    chunks = [{**head, "choices": [_choice({}, ended.finish_reason)]}]
    if usage:
        chunks.append({**head, "choices": [], "usage": _usage(ended)})
    chunks[-1]["usher"] = _usher(exchange, ended)
    return chunks


def _head(exchange: Exchange, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{exchange.audit_id}", "object": kind, "created": int(time.time()), "model": MODEL}


def _choice(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _usage(ended: Ended) -> dict[str, int]:
    total = ended.prompt_tokens + ended.completion_tokens
    return {
        "prompt_tokens": ended.prompt_tokens,
        "completion_tokens": ended.completion_tokens,
        "total_tokens": total,
    }


def _usher(exchange: Exchange, ended: Ended) -> dict[str, Any]:
    return {
        "audit_id": exchange.audit_id,
        "conversation_id": exchange.conversation.id,
        "route": _route(exchange),
        "policy_version": exchange.grant.scope.policy_version,
        "citations": [cited(citation, exchange.grant.documents.link_hosts) for citation in ended.citations],
    }


def _route(exchange: Exchange) -> dict[str, Any]:
    """`adapter` is the policy's name of the one that spoke, where one did."""
    route, speaker = exchange.route, exchange.speaker
    spoke = {} if speaker is None else {"adapter": speaker.name}
    return {"kind": str(route.kind), "reasons": list(route.reasons), **spoke}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


router = Router(
    "/v1",
    route_handlers=[models, chat_completions],
    opt={"access": KEY},
    security=BY_KEY,
    request_max_body_size=MAX_BODY,
    tags=["chat"],
)
