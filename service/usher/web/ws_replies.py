"""What a socket says of an exchange: its frames made from the use case's values."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from usher.chat_answer import WHOLE, Citation
from usher.chat_exchange import CANCELLED, ChatRefused, Exchange
from usher.core.prompt import QuestionTooLong
from usher.errors import UserError
from usher.limits import LimitExceeded
from usher.live_again import Again
from usher.live_flow import Flow
from usher.threads import NoSuchExchange
from usher.web.cited import cited
from usher.web.openai_errors import error_body, stream_error
from usher.web.ws_frames import Done, Error, Route, Source, Sources, Usage

RETRY_SECONDS = 5
_PASSING = frozenset({"model_unavailable", "unavailable", "unrecorded"})
"""Codes of failures that may be over at the next try."""


def route(id: str, exchange: Exchange) -> Route:
    return Route(
        id=id,
        audit_id=exchange.audit_id,
        conversation_id=str(exchange.thread.conversation),
        kind=str(exchange.route.kind),
        reasons=list(exchange.route.reasons),
        policy_version=exchange.grant.scope.policy_version,
        adapter=None if exchange.speaker is None else exchange.speaker.name,
    )


def sources(id: str, exchange: Exchange) -> Sources:
    """The passages in the prompt, and no other."""
    found = exchange.retrieved
    shown = [(n, found.passages[n - 1]) for n in sorted(exchange.prompt.used)]
    citations = [Citation(n, passage, found.scores[passage.label.chunk]) for n, passage in shown]
    return Sources(id=id, sources=_sources(citations, exchange.grant.documents.link_hosts))


def end(id: str, flow: Flow) -> Done | Error:
    """The last frame of a question whose answer has ended."""
    ended, audit_id = flow.end, flow.exchange.audit_id
    assert ended is not None  # noqa: S101  # asked when it has ended
    if isinstance(ended, Exception):
        return failure(id, ended, audit_id)
    if not ended.whole:
        return _broken_off(id, ended.outcome, audit_id)
    total = ended.prompt_tokens + ended.completion_tokens
    return Done(
        id=id,
        audit_id=audit_id,
        outcome=ended.outcome,
        finish_reason=ended.finish_reason,
        citations=_sources(ended.citations, flow.exchange.grant.documents.link_hosts),
        usage=Usage(prompt_tokens=ended.prompt_tokens, completion_tokens=ended.completion_tokens, total_tokens=total),
    )


def end_again(id: str, again: Again) -> Done | Error:
    """The same, where the answer was read back from the record."""
    if again.outcome not in WHOLE:
        return _broken_off(id, again.outcome, str(again.row.id))
    return _done(id, str(again.row.id), again.outcome, "stop")


def cancelled(id: str, audit_id: str | None = None) -> Done:
    """The end of a question that was cancelled; without an `audit_id` before it had a route."""
    return _done(id, audit_id, CANCELLED, CANCELLED)


def _broken_off(id: str, outcome: str, audit_id: str) -> Done | Error:
    return cancelled(id, audit_id) if outcome == CANCELLED else told(id, outcome, audit_id)


def _done(id: str, audit_id: str | None, outcome: str, finish_reason: str) -> Done:
    return Done(id=id, audit_id=audit_id, outcome=outcome, finish_reason=finish_reason, citations=None, usage=None)


def failure(id: str | None, error: Exception, audit_id: str | None = None) -> Error:
    """What an error of a use case is called here."""
    if isinstance(error, ChatRefused):
        return told(id, error.code, error.audit_id)
    if isinstance(error, LimitExceeded):
        return Error(id=id, code=error.code, message=str(error), audit_id=audit_id, retry_after=error.retry_after)
    if isinstance(error, NoSuchExchange):
        return Error(id=id, code="not_found", message=str(error), audit_id=audit_id)
    if isinstance(error, UserError | QuestionTooLong):
        return Error(id=id, code="invalid_value", message=str(error), audit_id=audit_id)
    return told(id, str(stream_error(error)["error"]["code"]), audit_id)


def told(id: str | None, code: str, audit_id: str | None = None) -> Error:
    """An outcome in words."""
    message = str(error_body(code)["error"]["message"])
    retry = RETRY_SECONDS if code in _PASSING else None
    return Error(id=id, code=code, message=message, audit_id=audit_id, retry_after=retry)


def _sources(citations: Iterable[Citation], hosts: Collection[str]) -> list[Source]:
    return [Source(**cited(citation, hosts)) for citation in citations]
