"""The record's format: what an event and a content row are as bytes, and how they are hashed.

Writer and verifier share this module and nothing else. The bytes that are stored are the bytes that are hashed: a
leaf is `SHA-256(0x00 || event)` (RFC 6962, section 2.1), an event is one compact ASCII JSON object that begins with
its number and its time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated
from uuid import UUID

import msgspec

FORMAT = 1
"""Version of the file's layout (SQLite's `user_version`). A reader refuses a higher one."""

DROPPED_BYTES = 32
"""Of the `ciphertext` of a content row that was dropped: the SHA-256 of what stood there. What is sealed is never that
short: nonce, key and tag alone are 60 bytes."""

EMPTY_DIGEST = hashlib.sha256(b"").digest()

_JSON = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False, check_circular=False)
_encode = msgspec.json.Encoder().encode
_MAX = 1.7976931348623157e308
_Plain = None | bool | int | Annotated[float, msgspec.Meta(ge=-_MAX, le=_MAX)] | str
_Flat = _Plain | list[_Plain] | dict[str, _Plain]
_Nested = _Plain | list[_Flat] | dict[str, _Flat]
_Deep = _Plain | list[_Nested] | dict[str, _Nested]
_sha256 = hashlib.sha256
_RESERVED = frozenset({"number", "time", "type", "audit_id", "who", "content"})


class _Body(msgspec.Struct):
    """A body of JSON values and nothing else, as deep as those of events are; a struct, for msgspec keeps its types."""

    body: dict[str, _Deep]


class EventType(StrEnum):
    """What an event records. The first five are the leaves of one exchange, in their order."""

    REQUEST = "request"
    DECISION = "decision"
    RETRIEVAL = "retrieval"
    GENERATION = "generation"
    ANSWER = "answer"
    POLICY = "policy"
    LABEL = "label"
    DOCUMENT = "document"
    VIEW = "view"
    CONVERSATION = "conversation"
    FEEDBACK = "feedback"
    KEY = "key"
    PERSON = "person"
    OPERATOR = "operator"
    AUDIT_READ = "audit_read"
    APPROVAL = "approval"
    HOLD = "hold"
    RETENTION = "retention"
    ERASURE = "erasure"
    CASE = "case"
    ADAPTER = "adapter"
    RECOVERY = "recovery"


EXCHANGE_TYPES = frozenset(
    {EventType.REQUEST, EventType.DECISION, EventType.RETRIEVAL, EventType.GENERATION, EventType.ANSWER}
)
CHAT = "chat"
"""`operation` of a request that opens an exchange, which an `answer` ends."""
SEARCH = "search"
"""`operation` of a request that ends with its `retrieval` (or with a decision that denies)."""


class Kind(StrEnum):
    """What a content row holds. A `query` row is what was searched for, if that is not the question as it was asked; a
    `client` row is a turn of the client program that stood in the prompt: its role on the first line, then its text."""

    QUESTION = "question"
    QUERY = "query"
    CLIENT = "client"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Who:
    """Who acted: a pseudonym, never a name; roles as evaluated; the credential's kind, never the credential."""

    pseudonym: str
    roles: tuple[str, ...] = ()
    credential: str = ""

    def as_json(self) -> dict[str, object]:
        return {"pseudonym": self.pseudonym, "roles": self.roles, "credential": self.credential}


@dataclass(frozen=True, slots=True)
class Entry:
    """An event to be recorded. Number, time and (in an `answer`) the commitment to content are the sequencer's.

    `body` holds JSON values; its keys stand beside the envelope's and must not repeat them. A `request` says its
    `operation`, `CHAT` or `SEARCH`. Neither names nor text belong here.
    """

    type: EventType
    audit_id: str | None = None
    who: Who | None = None
    body: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContentRow:
    """A piece of a question or an answer, sealed. `position` counts from 0 within its exchange."""

    audit_id: str
    position: int
    kind: Kind
    conversation: str
    pseudonym: str
    commitment: bytes
    ciphertext: bytes


TAKES_AWAY = frozenset({EventType.RETENTION, EventType.ERASURE})
"""Events that name, in `exchanges`, the audit ids whose content was dropped with them, in the same commit."""


@dataclass(frozen=True, slots=True)
class Commitment:
    """What a terminal `answer` says of its content rows: how many, and `rows_digest` of them in order."""

    rows: int
    digest: bytes


def fragment(entry: Entry) -> bytes:
    """An entry's JSON object without what the sequencer adds. Raises `ValueError` for a body that is not JSON."""
    body = entry.body
    if not _RESERVED.isdisjoint(body):
        raise ValueError(f"body: {sorted(_RESERVED.intersection(body))} belong to the envelope; use other names")
    if entry.type is EventType.REQUEST and body.get("operation") not in (CHAT, SEARCH):
        raise ValueError(f"body: a request needs an operation, {CHAT!r} or {SEARCH!r}")
    if entry.audit_id is None and entry.type in EXCHANGE_TYPES:
        raise ValueError(f"audit_id: a {entry.type} needs the id of its exchange")
    who = entry.who.as_json() if entry.who else None
    envelope = {"type": entry.type, "audit_id": entry.audit_id, "who": who, **body}
    try:
        return _json(body, envelope)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"body: not JSON ({type(error).__name__}); use strings, numbers, lists and objects") from None


def _json(body: Mapping[str, object], envelope: Mapping[str, object]) -> bytes:
    """This is on the path of every event, so the faster of two encoders has the first try. It would write more than
    JSON has (a NaN as null, bytes as text), and not ASCII alone: then the strict one has the say."""
    try:
        msgspec.convert({"body": body}, _Body)
        encoded = _encode(envelope)
        if encoded.isascii():
            return encoded
    except (msgspec.MsgspecError, TypeError, UnicodeError):
        pass
    return _JSON.encode(envelope).encode("ascii")


def encode(number: int, micros: int, part: bytes, content: Commitment | None = None) -> bytes:
    """The event's bytes: `part` (from `fragment`) with its number, time and, if given, commitment to content."""
    head = f'{{"number":{number},"time":"{rfc3339(micros)}",'.encode("ascii")
    if content is None:
        return head + part[1:]
    tail = b',"content":{"rows":%d,"digest":"%s"}}' % (content.rows, content.digest.hex().encode("ascii"))
    return head + part[1:-1] + tail


def leaf_hash(event: bytes) -> bytes:
    """RFC 6962 leaf hash: `SHA-256(0x00 || event)`."""
    return _sha256(b"\x00" + event).digest()


def tail_text(origin: str, size: int, root: bytes) -> bytes:
    """What the MAC beside the stored tree is of: which log, how many events, and the root over them."""
    return _netstrings("usher ledger tail", origin, str(size), root.hex())


def row_digest(row: ContentRow) -> bytes:
    """What an `answer` commits to of one content row. The ciphertext enters as its hash, so that the digest of a row
    that was dropped can still be formed from what is kept."""
    place = _netstrings(row.audit_id, str(row.position), row.kind, row.conversation, row.pseudonym)
    return _sha256(row.commitment + remains(row.ciphertext) + place).digest()


def is_dropped(ciphertext: bytes) -> bool:
    """Whether a content row's ciphertext is only what `remains` of one."""
    return len(ciphertext) == DROPPED_BYTES


def remains(ciphertext: bytes) -> bytes:
    """What is kept of a ciphertext that is dropped: its SHA-256. Of one that was dropped already, the same again."""
    return ciphertext if is_dropped(ciphertext) else _sha256(ciphertext).digest()


def content_aad(audit_id: str, position: int, kind: str, conversation: str) -> bytes:
    """The associated data of a content row's ciphertext: a row moved elsewhere does not open."""
    return _netstrings("usher content", conversation, audit_id, kind, str(position))


def _netstrings(*texts: str) -> bytes:
    """Texts in one string of bytes that no other texts give: each with its length in bytes before it."""
    joined = "".join([f"{len(text)}:{text}," for text in texts])
    if joined.isascii():  # as ids and kinds are: this is on the path of every row that is opened
        return joined.encode("ascii")
    parts = [text.encode() for text in texts]
    return b"".join(b"%d:%b," % (len(part), part) for part in parts)


def label_aad(conversation: str, name: str) -> bytes:
    """The associated data of a text about a conversation that is kept elsewhere, such as its title."""
    return _netstrings("usher label", conversation, name)


def conversation_info(conversation: str) -> bytes:
    """HKDF `info` that derives a conversation's key from its subject's key."""
    return b"usher conversation " + conversation.encode()


def subject_key_aad(pseudonym: str) -> bytes:
    """The associated data under which a subject's key is wrapped."""
    return b"usher subject key " + pseudonym.encode()


def subject_name_aad(pseudonym: str) -> bytes:
    """The associated data under which a subject's name is sealed by the subject's key."""
    return b"usher subject name " + pseudonym.encode()


def rfc3339(micros: int) -> str:
    """Microseconds since 1970 as RFC 3339 UTC with six decimals, so that text order is time order."""
    seconds, rest = divmod(micros, 1_000_000)
    return f"{_to_the_second(seconds)}.{rest:06d}Z"


@lru_cache(maxsize=8)
def _to_the_second(seconds: int) -> str:
    """Many events are of one second, and this is on the path of each."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def micros_of(text: str) -> int:
    """The inverse of `rfc3339`. Raises `ValueError`."""
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def uuid7() -> str:
    """A time-ordered random id (RFC 9562, section 5.7)."""
    millis = time.time_ns() // 1_000_000
    value = (millis & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(UUID(int=value & ~(0x3 << 62) | 0x2 << 62))
