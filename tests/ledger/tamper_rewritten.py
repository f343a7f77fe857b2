"""What whoever holds the key ring can make of a log: another one that is good in itself."""

from __future__ import annotations

from collections.abc import Callable

from tests.ledger.tamper_kit import SIZE, Act, Case, Event, parsed, written

from usher.ledger.record import uuid7


def rewritten(case: Case, change: Callable[[list[Event], int], list[Event]], at: int | None = None) -> None:
    written(case, change(parsed(case), case.chance.randrange(SIZE) if at is None else at), signed=True)


def rewritten_meaning(case: Case) -> None:
    rewritten(case, lambda all_, at: [*all_[:at], all_[at] | {"k": case.chance.random()}, *all_[at + 1 :]])


def rewritten_person(case: Case) -> None:
    """The third exchange is another's than the first."""
    start = case.chance.choice([0, 5, 10, 18])
    other = {"pseudonym": uuid7(), "roles": [], "credential": "key"}
    rewritten(
        case, lambda all_, at: [*all_[:at], *({**e, "who": other} for e in all_[at : at + 2]), *all_[at + 2 :]], start
    )


def rewritten_times(case: Case) -> None:
    """From one event on, all are dated later."""
    rewritten(case, lambda all_, at: all_[:at] + dated_later(all_[at:]))


def rewritten_without_an_exchange(case: Case) -> None:
    start, length = case.chance.choice([(0, 5), (5, 5), (10, 5), (15, 3), (18, 5)])
    rewritten(case, lambda all_, at: all_[:at] + all_[at + length :], start)


def rewritten_shorter(case: Case) -> None:
    rewritten(case, lambda all_, at: all_[:at], case.chance.choice([0, 5, 10, 15, 18]))


def rewritten_in_another_order(case: Case) -> None:
    def act(all_: list[Event], at: int) -> list[Event]:
        moved = all_[5:10] + all_[:5] if at == 0 else all_[:5] + all_[10:15] + all_[5:10]
        moved += all_[len(moved) :]
        return [e | {"time": was["time"]} for e, was in zip(moved, all_, strict=True)]

    rewritten(case, act, case.chance.choice([0, 5]))


def rewritten_with_more(case: Case) -> None:
    """A search that nobody made, before an exchange or at the end."""

    def act(all_: list[Event], at: int) -> list[Event]:
        ident = uuid7()
        forged = [e | {"audit_id": ident} for e in all_[15:18]]
        return all_[:at] + dated_later(forged + all_[at:])

    rewritten(case, act, case.chance.choice([0, 5, 10, 15, 18, 23]))


def dated_later(events: list[Event]) -> list[Event]:
    return [e | {"time": f"2126-01-01T00:00:00.{n:06d}Z"} for n, e in enumerate(events)]


def an_older_copy_gone_on_with(case: Case) -> None:
    """Later events are others, recorded and signed by the server itself, as after a restart on an old backup."""
    keep = case.chance.choice([5, 10, 15])
    rewritten(case, lambda all_, at: all_[:at] + [e | {"later": 1} for e in all_[at:]], keep)


REWRITTEN: list[Act] = [
    *(rewritten_meaning, rewritten_person, rewritten_times, rewritten_without_an_exchange, rewritten_shorter),
    *(rewritten_in_another_order, rewritten_with_more, an_older_copy_gone_on_with),
]
