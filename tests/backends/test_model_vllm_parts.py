"""What the client of a model server is made of: the breaker and the estimate of tokens."""

import pytest

from usher.backends.breaker import Breaker
from usher.backends.token_estimate import estimate_tokens


def test_a_breaker_lets_one_probe_through() -> None:
    """The next in line waits for its outcome; an undecided probe makes room for another."""
    breaker = Breaker(failures=1, pause=10.0)
    assert breaker.admit(0.0)
    breaker.failed(0.0)
    assert [breaker.admit(now) for now in (1.0, 10.0, 11.0)] == [False, True, False]
    breaker.undecided()
    assert breaker.admit(12.0)
    breaker.failed(12.0)
    assert [breaker.admit(now) for now in (21.0, 22.0)] == [False, True]
    breaker.succeeded()
    assert not breaker.open
    assert breaker.admit(22.0)


def test_failures_that_are_not_in_a_row_do_not_open_it() -> None:
    """A success in between starts the count again."""
    breaker = Breaker(failures=2)
    for _ in range(3):
        breaker.failed(0.0)
        breaker.succeeded()
    assert not breaker.open


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # As counted by the vocabulary cl100k_base.
        ("The quick brown fox jumps over the lazy dog.", 10),
        ("Passwords must be changed every 90 days, at the latest on 2026-11-01.", 21),
        ("\u4f60\u597d\uff0c\u8bf7\u95ee\u5e74\u5047\u6709\u51e0\u5929\uff1f", 12),
        ("SELECT id, name FROM users WHERE x_y >= 10;", 13),
        ("3f2a9c0d71be4e55", 13),
        ("", 0),
    ],
)
def test_the_token_estimate_errs_upwards(text: str, tokens: int) -> None:
    """By less than twice, so that a prompt is within the context and the context is used."""
    assert tokens <= estimate_tokens(text) <= 2 * tokens


def test_half_a_surrogate_pair_is_counted() -> None:
    """The estimate never fails."""
    assert estimate_tokens("a\ud800") >= 2
