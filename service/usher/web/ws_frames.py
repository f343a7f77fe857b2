"""The frames of `/ws/chat`, version 1: JSON objects with a `type`, in both directions, and their JSON Schema."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args

from litestar import Response, get
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.json_schema import models_json_schema

from usher.chat import MAX_TOKENS
from usher.core.history import MAX_QUESTION
from usher.web.auth import PUBLIC

VERSION = 1
SCHEMA_PATH = "/ws-chat-v1.json"
"""Below `/schema`."""
MAX_ID = 64

OwnId = Annotated[str, Field(min_length=1, max_length=MAX_ID, description="Your own name for the question.")]
Known = Annotated[str, Field(max_length=MAX_ID, description="An id that a frame from here told.")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Auth(_In):
    """The first frame, unless the address has a `ticket`."""

    type: Literal["auth"]
    key: str = Field(max_length=500, description="An API key.")


class Ask(_In):
    """A question: in a new conversation, at the end of `conversation`, or after the exchange `after`. With
    `instead_of` it takes the place of that exchange, beside it; without a `question`, that one's is asked again."""

    type: Literal["ask"]
    id: OwnId
    question: str | None = Field(None, max_length=2 * MAX_QUESTION, description=f"Up to {MAX_QUESTION} characters.")
    conversation: Known | None = None
    after: Known | None = None
    instead_of: Known | None = None
    max_tokens: int | None = Field(None, ge=1, description=f"At most {MAX_TOKENS}.")
    temperature: float | None = Field(None, ge=0, le=2, strict=False, description="0 if it is left out.")


class Cancel(_In):
    """End the answer to this question; its `done` follows, with the outcome `cancelled`."""

    type: Literal["cancel"]
    id: OwnId


class Resume(_In):
    """After a lost connection: what follows delta `after` of an answer, and then the rest as it comes."""

    type: Literal["resume"]
    id: OwnId
    audit_id: Known
    after: int = Field(0, ge=0, description="`seq` of the last delta that you have.")


class _Out(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ready(_Out):
    """You are known: ask. What the server allows comes with it."""

    type: Literal["ready"] = "ready"
    version: Literal[1] = 1
    max_in_flight: int = Field(description="Questions that may be in flight on one socket.")
    max_frame_bytes: int = Field(description="A larger frame closes the socket.")
    max_question: int = Field(description="Characters of a question.")
    max_tokens: int = Field(description="Tokens of an answer.")
    resume_seconds: float = Field(description="How long an answer goes on after its connection was lost.")


class Route(_Out):
    """The question is recorded as `audit_id`; this is how it will be answered, and why."""

    type: Literal["route"] = "route"
    id: str
    audit_id: str
    conversation_id: str
    kind: str
    reasons: list[str]
    policy_version: int
    adapter: str | None = Field(None, description="The policy's name of the adapter that answers, where one does.")


class Source(_Out):
    """A passage: `n` is its number in the answer, `url` opens it."""

    n: int
    document: str
    path: str
    title: str
    chunk: str
    score: float
    url: str


class Sources(_Out):
    """The passages that the answer is made from."""

    type: Literal["sources"] = "sources"
    id: str
    sources: list[Source]


class Delta(_Out):
    """The next part of the answer; `seq` counts them from 1."""

    type: Literal["delta"] = "delta"
    id: str
    audit_id: str
    seq: int = Field(ge=1)
    text: str


class Usage(_Out):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Done(_Out):
    """The end: `outcome` is answered, no_answer or cancelled. `citations` and `usage` are null where the answer was
    read back from the record."""

    type: Literal["done"] = "done"
    id: str
    audit_id: str | None = Field(description="Null if it was cancelled before it had one.")
    outcome: str
    finish_reason: str
    citations: list[Source] | None
    usage: Usage | None


class Error(_Out):
    """With an `id`, the end of that question; without one, something about the socket. `retry_after`: seconds."""

    type: Literal["error"] = "error"
    id: str | None
    code: str
    message: str
    audit_id: str | None = None
    retry_after: int | None = None


ClientFrame = Annotated[Auth | Ask | Cancel | Resume, Field(discriminator="type")]
ServerFrame = Ready | Route | Sources | Delta | Done | Error

_CLIENT = (Auth, Ask, Cancel, Resume)
_SERVER = (Ready, Route, Sources, Delta, Done, Error)
_reading: TypeAdapter[Auth | Ask | Cancel | Resume] = TypeAdapter(ClientFrame)


class BadFrame(Exception):
    """A frame that is none of ours. `field` names what is wrong; `problem` says it, and quotes nothing."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")


class NotJson(Exception):
    """What came is no JSON object: whoever sent it speaks something else."""


def read(text: str) -> Auth | Ask | Cancel | Resume:
    """Raises `NotJson`, `BadFrame`."""
    try:
        return _reading.validate_json(text)
    except ValidationError as error:
        raise _told(error) from None


def named_id(text: str) -> str | None:
    """The `id` of a bad frame, if it has one."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return None
    id = frame.get("id") if isinstance(frame, dict) else None
    return id if isinstance(id, str) and 1 <= len(id) <= MAX_ID and id.isprintable() else None


def _told(error: ValidationError) -> Exception:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    kind, place = first["type"], [str(part) for part in first["loc"]]
    if kind in ("json_invalid", "model_attributes_type", "model_type", "dict_type"):
        return NotJson()
    if kind.startswith("union_tag"):
        return BadFrame("type", f"none of {', '.join(_tag(model) for model in _CLIENT)}")
    if kind == "extra_forbidden":
        named = place[1] if place[1].isidentifier() and len(place[1]) <= MAX_ID else "a field"
        return BadFrame(named, f"not a field of this frame, which are {_fields(place[0])}")
    return BadFrame(".".join(place[1:]), first["msg"].lower())


def _fields(tag: str) -> str:
    return ", ".join(next(model for model in _CLIENT if _tag(model) == tag).model_fields)


def _tag(model: type[BaseModel]) -> str:
    """The `type` of this model's frames."""
    return str(get_args(model.model_fields["type"].annotation)[0])


def schema() -> dict[str, Any]:
    """Every frame. `#/$defs/client` are those that a client sends, `#/$defs/server` those that it gets."""
    _, made = models_json_schema(
        [(model, "validation") for model in _CLIENT] + [(model, "serialization") for model in _SERVER]
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:usher:schema:ws-chat:{VERSION}",
        "title": f"The frames of /ws/chat, version {VERSION}",
        "oneOf": [{"$ref": "#/$defs/client"}, {"$ref": "#/$defs/server"}],
        "$defs": {**made["$defs"], "client": _one_of(_CLIENT), "server": _one_of(_SERVER)},
    }


def _one_of(models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    """JSON Schema's `oneOf`, with the discriminator that code generators read."""
    refs = {_tag(model): f"#/$defs/{model.__name__}" for model in models}
    return {
        "oneOf": [{"$ref": ref} for ref in refs.values()],
        "discriminator": {"propertyName": "type", "mapping": refs},
    }


@get(SCHEMA_PATH, opt={"access": PUBLIC}, include_in_schema=False, sync_to_thread=False)
def chat_schema() -> Response[dict[str, Any]]:
    return Response(schema(), media_type="application/schema+json")
