"""People and their keys: the operator adds, changes and deactivates them; each act stands in the ledger."""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from usher.authority import Clock, utc_now
from usher.core.standing import Actor
from usher.errors import UserError
from usher.outbox import Courier
from usher.ports import Directory, KeyInfo, KeyMaker, Keys, Person
from usher_policy.vocabulary import split_name, typed


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it is shown once: `key` is the secret text, stored nowhere."""

    key: str
    id: str
    user: str
    expires_at: datetime | None


class People:
    """The directory and the keys, with their ledger events."""

    def __init__(
        self,
        directory: Directory,
        keys: Keys,
        make_key: KeyMaker,
        courier: Courier,
        clock: Clock = utc_now,
        deactivated: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """`deactivated` is told who was, once that binds."""
        self._directory = directory
        self._keys = keys
        self._make_key = make_key
        self._courier = courier
        self._clock = clock
        self._deactivated = deactivated

    async def add(self, user: str, groups: Sequence[str], by: Actor) -> Person:
        """Add a person, or bring one back, with exactly these groups."""
        user = checked_name("user", user)
        named = [checked_name("group", group) for group in groups]
        change = await self._directory.put_person(user, named, _actor(by), self._clock())
        await self._courier.carry([change])
        return await self._known(user)

    async def set_groups(self, user: str, groups: Sequence[str], by: Actor) -> Person:
        """Replace a person's groups. Raises `UserError` for somebody who is absent or inactive."""
        person = await self._known(checked_name("user", user))
        if not person.active:
            raise UserError("user", "is deactivated", "bring the person back first: usher person add USER")
        return await self.add(person.user, groups, by)

    async def deactivate(self, user: str, by: Actor) -> Person:
        """Deny a person from now on, also in open streams. Repeating it changes nothing."""
        person = await self._known(checked_name("user", user))
        change = await self._directory.deactivate(person.user, _actor(by), self._clock())
        if change is not None:
            await self._courier.carry([change])
            if self._deactivated is not None:
                await self._deactivated(person.user)
        return await self._known(person.user)

    async def create_key(self, user: str, expires_at: datetime | None, purpose: str | None, by: Actor) -> NewKey:
        """Issue a key to a person, who is added to the directory if absent. Raises `UserError`."""
        user = checked_name("user", user)
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise UserError("expires", "is in the past", "give a later instant, such as 30d or 2030-01-31")
        if purpose is not None:
            checked_name("purpose", purpose, limit=100)
        person = await self._directory.person(user)
        if person is None:
            await self.add(user, [], by)
        elif not person.active:
            raise UserError("user", "is deactivated", "bring the person back first: usher person add USER")
        key, text, digest = self._make_key()
        info = KeyInfo(key, user, purpose, _actor(by), now, expires_at, None)
        await self._courier.carry([await self._keys.put_key(info, digest)])
        return NewKey(text, key, user, expires_at)

    async def revoke_key(self, key: str, by: Actor) -> KeyInfo:
        """Deny a key from now on, also in open streams. Repeating it changes nothing."""
        change = await self._keys.revoke(key, _actor(by), self._clock())
        if change is not None:
            await self._courier.carry([change])
        found = [info for info in await self._keys.keys(None) if info.id == key]
        if not found:
            raise UserError("key", "is not a known key id", "list the ids with: usher key list")
        return found[0]

    async def list_keys(self, user: str | None) -> list[KeyInfo]:
        return await self._keys.keys(None if user is None else checked_name("user", user))

    async def list(self, after: str | None, limit: int) -> list[Person]:
        """One page of the directory, by name."""
        return await self._directory.people(after or "", limit)

    async def _known(self, user: str) -> Person:
        person = await self._directory.person(user)
        if person is None:
            raise UserError("user", "is not in the directory", "add the person first: usher person add USER")
        return person


def _actor(by: Actor) -> str:
    return f"{by.kind}:{by.id}"


def checked_name(field: str, name: str, limit: int = 200) -> str:
    """A raw name, fit to be kept and shown. With its type it is read as a rule file writes it: `user:a%2Cb` and `a,b`
    are the same person. Raises `UserError`.
    """
    raw = _raw(field, name)
    if not raw.strip() or raw != raw.strip():
        raise UserError(field, "is empty or begins or ends with a space", "give a name such as alice")
    if len(raw) > limit:
        raise UserError(field, f"has {len(raw)} characters, more than {limit}", "give a shorter name")
    if unicodedata.normalize("NFC", raw) != raw:
        raise UserError(field, "is not in Unicode's composed form (NFC)", "write it with composed characters")
    if any(unicodedata.category(character)[0] == "C" for character in raw):
        raise UserError(field, "has a control or invisible character", "leave that character out")
    if field in ("user", "group"):
        _typed(field, raw)
    return raw


def _raw(field: str, name: str) -> str:
    """The name without its type. Only what has its type is percent-encoded."""
    if field not in ("user", "group") or not name.startswith(f"{field}:"):
        return name.removeprefix(f"{field}:")
    try:
        return split_name(name)[1]
    except ValueError as error:
        raise UserError(field, str(error), f"or give the name without {field}:, as it is") from error


def _typed(field: str, raw: str) -> None:
    try:
        typed(field, raw)
    except ValueError as error:
        raise UserError(field, str(error), "choose another name") from error
