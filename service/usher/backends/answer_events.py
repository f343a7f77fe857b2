"""What the events of a streamed answer say, as OpenAI's API has them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from usher.backends.sse import Events, MalformedEvent
from usher.ports import Delta

_FINISHES = frozenset({"stop", "length", "content_filter"})


class Failed(Exception):
    """One attempt failed. `again`: another may succeed; `blame`: it speaks against the server."""

    def __init__(self, message: str, *, again: bool = False, blame: bool = True) -> None:
        super().__init__(message)
        self.again = again
        self.blame = blame


class Cut(Failed):
    """The stream broke off. Once the finish reason is there an answer is whole: this costs only the token counts."""


@dataclass(slots=True)
class Progress:
    """What has come of an answer over one attempt; `heard`: when its last event came."""

    heard: float = 0.0
    started: bool = False
    done: bool = False
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def last(self) -> Delta:
        return Delta("", self.finish_reason, self.prompt_tokens, self.completion_tokens)


def text_of(events: Events, part: bytes, progress: Progress) -> tuple[str, Failed | None]:
    """The text that a part of the stream completes, up to the answer's end, and what broke it off, if it did."""
    texts, now = list[str](), time.monotonic()
    try:
        for data in events.feed(part):
            if data.strip() == "[DONE]":
                if progress.finish_reason is None:
                    raise Cut("The model server ended its stream before the answer's end", again=True)
                progress.done = True
                break
            progress.heard = now
            texts.append(_read(data, progress))
    except MalformedEvent as error:
        return "".join(texts), Cut(f"The model server's stream is malformed: {error}")
    except Failed as failure:
        return "".join(texts), failure
    return "".join(texts), None


def _read(data: str, progress: Progress) -> str:
    """The text of one event; notes the finish reason and the token counts in `progress`."""
    event = _parsed(data)
    if not isinstance(event, dict):
        raise Failed("The model server's stream is malformed: an event is not an object")
    if event.get("error") is not None:
        raise Failed("The model server reported an error inside its stream")
    if isinstance(usage := event.get("usage"), dict):
        progress.prompt_tokens = _count(usage.get("prompt_tokens"))
        progress.completion_tokens = _count(usage.get("completion_tokens"))
    choices = event.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise Failed("The model server's stream is malformed: an event has no list of choices")
    return "".join(_choice(choice, progress) for choice in choices[:1])


def _parsed(data: str) -> object:
    """The JSON of an event, also where it has what only the slower reader knows: half a surrogate pair."""
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Failed("The model server's stream is malformed: an event is not JSON") from None


def _choice(choice: dict[str, Any], progress: Progress) -> str:
    delta = choice.get("delta") or {}
    text = delta.get("content") if isinstance(delta, dict) else None
    if text is not None and not isinstance(text, str):
        raise Failed("The model server's stream is malformed: a delta's content is not a text")
    if (reason := choice.get("finish_reason")) is not None:
        progress.finish_reason = reason if reason in _FINISHES else "stop"
    if not text or text.isascii():
        return text or ""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
