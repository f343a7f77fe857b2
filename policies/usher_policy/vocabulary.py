"""The words of a policy: typed names, actions, effects, and who is asking.

A typed name is `kind:raw`, such as `user:alice` or `coll:finance/payroll`. In it, what would corrupt a rule file or
deceive its reader is percent-encoded, so that every raw name has exactly one typed form (the canonical one) and two
raw names never share one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Final
from urllib.parse import quote, unquote

MAX_NAME: Final = 200
"""The longest raw name, in characters."""

SUBJECT_KINDS: Final = frozenset({"user", "group", "role"})
REQUIREMENT_KINDS: Final = frozenset({"coll", "readers", "mark"})
KINDS: Final = SUBJECT_KINDS | REQUIREMENT_KINDS | {"adapter", "sys"}
SYSTEM_OBJECTS: Final = frozenset({"sys:chat", "sys:policy", "sys:audit", "sys:keys", "sys:directory", "sys:system"})

RESERVED: Final = frozenset(",\"'#%()[]*?;\\")
"""Written percent-encoded: Casbin's files break on them (brackets and quotes too), or they look like a pattern."""

_ASCII_NAME: Final = re.compile(r"[A-Za-z0-9_.@/+:=~!$&-]{1,200}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
"""Unicode categories that do not show, or show differently from reader to reader."""


class Effect(StrEnum):
    """What a rule does when it applies. One deny outweighs every allow."""

    ALLOW = "allow"
    DENY = "deny"


class Action(StrEnum):
    """Everything that can be asked for, as `resource.verb`."""

    DOCUMENT_READ = "document.read"
    DOCUMENT_INGEST = "document.ingest"
    ADAPTER_USE = "adapter.use"
    ADAPTER_TRAIN = "adapter.train"
    ADAPTER_APPROVE = "adapter.approve"
    ADAPTER_PUBLISH = "adapter.publish"
    CHAT_ASK = "chat.ask"
    POLICY_READ = "policy.read"
    POLICY_PROPOSE = "policy.propose"
    POLICY_APPROVE = "policy.approve"
    POLICY_ACTIVATE = "policy.activate"
    POLICY_ROLLBACK = "policy.rollback"
    AUDIT_READ = "audit.read"
    AUDIT_IDENTIFY = "audit.identify"
    AUDIT_UNSEAL = "audit.unseal"
    AUDIT_REVIEW = "audit.review"
    AUDIT_EXPORT = "audit.export"
    AUDIT_HOLD = "audit.hold"
    AUDIT_ERASE = "audit.erase"
    KEY_ISSUE = "key.issue"
    DIRECTORY_WRITE = "directory.write"
    SYSTEM_OPERATE = "system.operate"


_OF_RESOURCE: Final[Mapping[str, tuple[str, ...]]] = {
    "adapter": ("adapter",),
    "chat": ("sys:chat",),
    "policy": ("sys:policy", "coll", "role"),
    "audit": ("sys:audit", "coll"),
    "key": ("sys:keys",),
    "directory": ("sys:directory",),
    "system": ("sys:system",),
}


def objects_of(action: Action) -> tuple[str, ...]:
    """The kinds of object, or exact `sys:` objects, that `action` can be asked about."""
    if action is Action.DOCUMENT_READ:
        return ("coll", "readers", "mark")
    if action is Action.DOCUMENT_INGEST:
        return ("coll",)
    return _OF_RESOURCE[action.partition(".")[0]]


def fits(action: Action, obj: str) -> bool:
    """Whether `action` belongs to the kind of the typed name `obj`."""
    return not {obj, obj.partition(":")[0]}.isdisjoint(objects_of(action))


@lru_cache(maxsize=65_536)
def typed(kind: str, raw: str) -> str:
    """The typed name of `raw`, with reserved and invisible characters percent-encoded.

    Injective: a raw name that is not in Unicode's NFC keeps its difference, its non-ASCII letters are encoded.
    Raises ValueError where there is no such name: unknown kind, empty, over 200 characters, not Unicode, a collection
    with an empty, `.` or `..` segment, a `sys:` object that does not exist, a reader list that is not a digest.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of name; write one of {', '.join(sorted(KINDS))} before the colon")
    if not raw or len(raw) > MAX_NAME:
        raise ValueError(f"a {kind}: name of {len(raw)} characters; it must have 1 to {MAX_NAME}")
    name = f"{kind}:{raw if _ASCII_NAME.fullmatch(raw) else _encode(raw)}"
    _check_shape(kind, raw, name)
    return name


def _check_shape(kind: str, raw: str, name: str) -> None:
    if kind == "coll" and any(part.strip() in ("", ".", "..") for part in raw.split("/")):
        raise ValueError("a collection with an empty, '.' or '..' segment; write a path such as finance/payroll")
    if kind == "sys" and name not in SYSTEM_OBJECTS:
        raise ValueError(f"there is no {name!r}; it must be one of {', '.join(sorted(SYSTEM_OBJECTS))}")
    if kind == "readers" and _DIGEST.fullmatch(raw) is None:
        raise ValueError("a reader list without its digest; write readers: and 64 lower-case hex digits")


def _encode(raw: str) -> str:
    try:
        composed = unicodedata.is_normalized("NFC", raw)
        inner = "".join(c if _plain(c) and (composed or c.isascii()) else quote(c, safe="") for c in raw)
    except UnicodeEncodeError:
        raise ValueError("a name with half of a surrogate pair; write valid Unicode") from None
    return re.sub(r"^ +| +$", lambda spaces: "%20" * len(spaces[0]), inner)


def _plain(char: str) -> bool:
    return char == " " or (char not in RESERVED and unicodedata.category(char) not in _UNSEEN)


@lru_cache(maxsize=65_536)
def split_name(name: str) -> tuple[str, str]:
    """Kind and raw text of a typed name. Raises ValueError unless `name` is in canonical form."""
    kind, colon, encoded = name.partition(":")
    if not colon:
        raise ValueError(f"{name[:40]!r} has no kind; write it as kind:name, such as user:alice or role:hr")
    try:
        raw = unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"{name[:40]!r} has percent codes that are not UTF-8; write each character's UTF-8") from None
    canonical = typed(kind, raw)
    if canonical != name:
        raise ValueError(f"{name[:40]!r} is not in its one written form; write {canonical}")
    return kind, raw


def is_name(name: str, kinds: frozenset[str] = KINDS) -> bool:
    """Whether `name` is a typed name in canonical form, of one of `kinds`."""
    try:
        return split_name(name)[0] in kinds
    except ValueError:
        return False


@lru_cache(maxsize=65_536)
def ancestors(name: str) -> tuple[str, ...]:
    """What is above a collection or a role by its path, nearest first: `coll:a/b/c` -> `coll:a/b`, `coll:a`. A right
    on those covers it. Others have none."""
    if not name.startswith(("coll:", "role:")):
        return ()
    parts = name.split("/")
    return tuple("/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))


@dataclass(frozen=True)
class Principal:
    """Who is asking: a `user:` name that a credential proved, and the `group:` names its provider gives now."""

    user: str
    groups: frozenset[str] = frozenset()

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """The user and the groups, sorted: what rules can name of this principal directly."""
        return tuple(sorted({self.user, *self.groups}))

    @property
    def problem(self) -> str | None:
        """Why this is no principal, or None. A `role:` never comes from a credential."""
        if not is_name(self.user, frozenset({"user"})):
            return "the principal's user is not a user: name"
        if not all(is_name(group, frozenset({"group"})) for group in self.groups):
            return "one of the principal's groups is not a group: name"
        return None
