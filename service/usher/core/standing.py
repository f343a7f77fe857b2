"""Who is asking, as of now: what a credential stands for at one instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from usher_policy.vocabulary import Principal, typed


@dataclass(frozen=True, slots=True)
class Credential:
    """A proven credential; `id` is its public id. `purpose` was fixed when it was issued."""

    kind: str
    id: str
    user: str
    purpose: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Versions:
    """What is in force: `pending_policy` must allow too, and `revision` moves with every change of any of it.

    While somebody has broken the glass, `policy` is what they activated, and from `glass_until` on `fallback_policy` is
    in force in its place, whether or not anything runs then.
    """

    policy: int
    pending_policy: int | None
    label: int
    revision: int
    fallback_policy: int | None = None
    glass_until: datetime | None = None

    @property
    def ordinary(self) -> int:
        """The newest version that no break-glass made: what changesets are based on."""
        return self.policy if self.fallback_policy is None else self.fallback_policy

    def in_force(self, now: datetime) -> int:
        """The version that decides now."""
        over = self.glass_until is not None and now >= self.glass_until
        return self.ordinary if over else self.policy


@dataclass(frozen=True, slots=True)
class Standing:
    """A credential judged at one instant: either `denied` says why not, or `principals` must all be allowed.

    There are two principals only while a change of the person's groups waits for its ledger event.
    """

    credential: Credential
    versions: Versions
    principals: tuple[Principal, ...] = ()
    denied: str | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who performs an administrative act: the operator (with the OS user id) or a person by credential."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as the database holds it; `active` once its issue stands in the ledger."""

    credential: Credential
    active: bool
    revoked: bool


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """A directory entry; `pending_groups` is set while a change of groups waits for its ledger event."""

    active: bool
    groups: tuple[str, ...]
    pending_groups: tuple[str, ...] | None = None


def judge(key: KeyRecord | None, person: PersonRecord | None, versions: Versions, now: datetime) -> Standing | None:
    """What a key stands for now. None if there is no such key (or none yet): to be told apart from nothing else."""
    if key is None or not key.active:
        return None
    credential = key.credential
    if key.revoked:
        return Standing(credential, versions, denied="key_revoked")
    if expired(credential, now):
        return Standing(credential, versions, denied="key_expired")
    if person is None or not person.active:
        return Standing(credential, versions, denied="person_inactive")
    group_sets = {person.groups, person.groups if person.pending_groups is None else person.pending_groups}
    principals = tuple(_principal(credential.user, groups) for groups in sorted(group_sets))
    return Standing(credential, versions, principals)


def expired(credential: Credential, now: datetime) -> bool:
    """Whether its time is over."""
    return credential.expires_at is not None and now >= credential.expires_at


def _principal(user: str, groups: tuple[str, ...]) -> Principal:
    return Principal(typed("user", user), frozenset(typed("group", group) for group in groups))
