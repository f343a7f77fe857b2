"""How far a reviewer's right goes is worked out once, and anew when anything moves that it hangs on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.web.audit_kit import reviewed
from tests.web.world import World

from usher.audit import reviewers
from usher.audit.reviewers import Reaches, reach_of
from usher.authority import Grant
from usher.core.reach import Reach
from usher_policy.vocabulary import Action


@pytest.fixture
def usher(tmp_path: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with reviewed(tmp_path_factory.mktemp("reach")) as made:
        yield made


def test_it_is_worked_out_once_while_nothing_moves(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for the next request of the same person; not for another right, person or purpose, and not by other rules,
    other classes, or at another time, when a condition may say something else."""
    asked: list[Action] = []

    def counted(grant: Grant, action: Action) -> Reach:
        asked.append(action)
        return reach_of(grant, action)

    def granted(who: str) -> Grant:
        grant = usher.run(usher.services.authority.admit(usher.keys[who]))
        assert grant is not None
        return grant

    def works(grant: Grant, action: Action = Action.AUDIT_READ) -> bool:
        before = len(asked)
        assert known.of(grant, action) == reach_of(grant, action)
        return len(asked) > before

    monkeypatch.setattr(reviewers, "reach_of", counted)
    known, frank = Reaches(), granted("frank")
    assert [works(frank), works(frank), works(granted("frank"))] == [True, False, False]
    assert works(frank, Action.AUDIT_IDENTIFY)
    assert works(granted("olga"))
    assert works(replace(frank, context=replace(frank.context, purpose="audit")))
    assert works(replace(frank, context=replace(frank.context, now=frank.context.now - timedelta(days=1))))
    until = replace(frank, valid_until=frank.context.now + timedelta(days=1))
    later = [
        replace(until, context=replace(frank.context, now=frank.context.now + timedelta(hours=n))) for n in (23, 24)
    ]
    known = Reaches()
    assert [works(until), *map(works, later)] == [True, False, True]
    usher.run(usher.apply_also("p, role:auditor, coll:board, audit.read, allow, always"))
    assert works(granted("frank"))
