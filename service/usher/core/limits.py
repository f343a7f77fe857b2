"""How often: a token bucket as a value."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Rate:
    """So much in so many seconds, evenly: a bucket of `amount` that fills up again in `seconds`. Whoever has rested may
    take all of it at once, so any stretch of time t sees at most `amount * (1 + t / seconds)`."""

    amount: float
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was left of the rate's amount at an instant; below zero where more was charged than there was."""

    left: float
    at: float


def full(rate: Rate, now: float) -> Bucket:
    return Bucket(rate.amount, now)


def refilled(bucket: Bucket, rate: Rate, now: float) -> Bucket:
    """The bucket at `now`. A clock that went back refills nothing."""
    passed = max(now - bucket.at, 0.0)
    return Bucket(min(bucket.left + rate.amount * passed / rate.seconds, rate.amount), max(now, bucket.at))


def take(bucket: Bucket, rate: Rate, now: float, cost: float = 1.0) -> tuple[Bucket, bool, float]:
    """(the bucket after it, whether there was enough, the seconds until there is). Nothing is taken where there was
    not. A cost above the whole amount never fits: charge it with `charged`."""
    current = refilled(bucket, rate, now)
    if current.left >= cost:
        return Bucket(current.left - cost, current.at), True, 0.0
    return current, False, (cost - current.left) * rate.seconds / rate.amount


def charged(bucket: Bucket, rate: Rate, now: float, cost: float) -> Bucket:
    """The bucket after a cost that is known only once it has been spent: it may owe."""
    current = refilled(bucket, rate, now)
    return Bucket(current.left - cost, current.at)


def is_full(bucket: Bucket, rate: Rate, now: float) -> bool:
    """True if forgetting the bucket forgets nothing."""
    return refilled(bucket, rate, now).left >= rate.amount


def whole_seconds(wait: float) -> int:
    """A wait as `retry-after` tells it: rounded up, at least 1."""
    return max(ceil(wait), 1)
