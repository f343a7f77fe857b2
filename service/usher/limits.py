"""What one person may use of a server, so that nobody takes it from the others.

All numbers are per process and in its memory: two servers allow twice as much, and a restart forgets. A person counts
once they are authenticated; what strangers may take is bounded for each connection.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from usher.core.limits import Bucket, Rate, charged, full, is_full, take, whole_seconds
from usher.errors import UserError
from usher.settings import Settings

MOST_REMEMBERED = 10_000
"""People whose use is remembered although there is nothing to remember of it."""
RETRY_SECONDS = 5
"""What a client is told to wait for something of its own to end."""


class LimitExceeded(UserError):
    """A person asked for more than one person gets.

    `status` is 429 where waiting helps, and `retry_after` then says how many seconds; 413 where only making room does,
    and `retry_after` is None. `code` names the limit for programs.
    """

    def __init__(self, code: str, field: str, problem: str, remedy: str, retry_after: int | None = None) -> None:
        super().__init__(field, problem, remedy)
        self.code = code
        self.retry_after = retry_after
        self.status = 413 if retry_after is None else 429


@dataclass(slots=True)
class _Used:
    """What one person uses now."""

    requests: Bucket
    tokens: Bucket
    open: Counter[str] = field(default_factory=Counter)


class Held:
    """One of what a person may have open at once, until `release` or the end of its `with` block; once is enough."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        if self._release is not None:
            release, self._release = self._release, None
            release()

    def __enter__(self) -> Held:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


class Limits:
    """The counts of everybody, by user id. Each method raises `LimitExceeded` where it would allow too much, and then
    counts nothing; `refused` counts those by code.

    Whoever's rates are full again and has nothing open is forgotten when there are many; others never are, so that a
    crowd of people cannot win anybody a fresh start. They are as many as have asked within the last minutes.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._requests = Rate(settings.requests_per_minute)
        self._tokens = Rate(settings.tokens_per_minute)
        self._people: dict[str, _Used] = {}  # whoever was seen last is last
        self.refused: Counter[str] = Counter()

    def request(self, user: str) -> None:
        """Count one request."""
        used, now = self._of(user), self._clock()
        used.requests, allowed, wait = take(used.requests, self._requests, now)
        if not allowed:
            self._refuse_rate("requests", self._settings.requests_per_minute, wait)

    def tokens(self, user: str) -> None:
        """Raise if the answers before have used up this person's tokens: ask before a model is asked."""
        _, allowed, wait = take(self._of(user).tokens, self._tokens, self._clock())
        if not allowed:
            self._refuse_rate("tokens", self._settings.tokens_per_minute, wait)

    def spent(self, user: str, tokens: int) -> None:
        """Charge an answer's tokens, prompt and completion. Never raises: the next `tokens` does."""
        used = self._of(user)
        used.tokens = charged(used.tokens, self._tokens, self._clock(), tokens)

    def stream(self, user: str) -> Held:
        """Hold one of the person's concurrent answers."""
        return self._hold(user, "streams", self._settings.streams, "wait for an answer to end, or cancel one")

    def socket(self, user: str) -> Held:
        """Hold one of the person's open WebSockets."""
        return self._hold(user, "sockets", self._settings.sockets, "close one, or ask several questions over one")

    def conversations(self, user: str, count: int) -> None:
        """Raise if a person who has `count` conversations may not begin another."""
        if count >= (most := self._settings.conversations):
            remedy = "delete some that you no longer need"
            self._refuse(LimitExceeded("conversations_exceeded", "conversations", f"are limited to {most:,}", remedy))

    def stored(self, user: str, size: int) -> None:
        """Raise if a person of whom `size` bytes of questions and answers are stored may not add to them."""
        if size >= (most := self._settings.stored_bytes):
            problem, remedy = f"are limited to {most:,} bytes", "ask whoever runs Usher for more room"
            self._refuse(LimitExceeded("stored_bytes_exceeded", "stored questions and answers", problem, remedy))

    def _hold(self, user: str, what: str, most: int, remedy: str) -> Held:
        open_now = self._of(user).open
        if open_now[what] >= most:
            problem = f"are limited to {most:,} at once"
            self._refuse(LimitExceeded(f"{what}_exceeded", what, problem, remedy, RETRY_SECONDS))
        open_now[what] += 1
        return Held(lambda: open_now.subtract((what,)))

    def _refuse_rate(self, what: str, most: int, wait: float) -> None:
        seconds = whole_seconds(wait)
        remedy = f"try again in {seconds} second{'s' if seconds > 1 else ''}"
        self._refuse(LimitExceeded("rate_limit_exceeded", what, f"are limited to {most:,} a minute", remedy, seconds))

    def _refuse(self, error: LimitExceeded) -> None:
        self.refused[error.code] += 1
        raise error

    def _of(self, user: str) -> _Used:
        used = self._people.pop(user, None)
        if used is None:
            now = self._clock()
            used = _Used(full(self._requests, now), full(self._tokens, now))
            self._forget_some(now)
        self._people[user] = used
        return used

    def _forget_some(self, now: float) -> None:
        """Two old ones for each new one; whom it cannot forget it looks at again later."""
        for _ in range(2 if len(self._people) >= MOST_REMEMBERED else 0):
            user = next(iter(self._people))
            used = self._people.pop(user)
            if not self._idle(used, now):
                self._people[user] = used

    def _idle(self, used: _Used, now: float) -> bool:
        rates_full = is_full(used.requests, self._requests, now) and is_full(used.tokens, self._tokens, now)
        return rates_full and not any(used.open.values())
