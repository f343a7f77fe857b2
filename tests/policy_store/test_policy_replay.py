"""The last exchanges decided again under a draft: what is lost and gained is what Casbin itself says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.web.audit_kit import BUDGET, HOLIDAY, MERGER, answered
from tests.web.world import PEOPLE, POLICY, World, world

from usher.authority import Grant
from usher.backends.memory import HashEmbedder
from usher.core.approval import Proposal
from usher.core.changeset import POLICY as KIND
from usher.core.changeset import Changeset
from usher.core.policy_source import PolicySource
from usher.errors import UserError
from usher.policy.editors import Editor, Editors
from usher.policy.replay import PolicyReplays
from usher.policy.replay_answer import Differing, Progress, Redone, shown_by
from usher.ports.audit_exchanges import Exchange, Showing
from usher.viewing import NotPermitted
from usher_policy.conditions import Context
from usher_policy.oracle import Oracle
from usher_policy.rules import parse_rules
from usher_policy.vocabulary import Action, Principal, typed

LINES = POLICY.splitlines()
READERS = """\
p, user:olga, sys:policy, policy.read, allow, always
p, user:frank, coll:finance, policy.read, allow, always
p, user:olga, sys:audit, audit.identify, allow, always
p, user:mona, sys:policy, policy.read, allow, always
p, user:mona, coll:finance, audit.identify, allow, always
"""
OPERATOR = Editor(None, "operator:uid:0")
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Four people have asked; a search, and a conversation whose second answer leans on the first."""
    with world(tmp_path_factory.mktemp("replay")) as made:
        made.run(made.apply(POLICY + READERS))
        for name in ("olga", "frank", "mona"):
            made.run(made.add(name))
        talk = answered(made, BUDGET, "alice")["conversation_id"]
        answered(made, "And what of the holiday?", "alice", talk)
        answered(made, HOLIDAY, "bob")
        answered(made, MERGER, "carol")
        made.search("holiday hotel budget", "carol", k=5)
        made.search("the letter for alice", "alice")
        yield made


def replays(usher: World, rules: str) -> PolicyReplays:
    """The use case, with one draft."""
    services = usher.services
    stands = Proposal("0" * 8, KIND, "d" * 64, "user:p", NOW, NOW + timedelta(days=1))
    draft = Changeset(UUID(int=7), 1, stands, "p", NOW, PolicySource(rules))

    async def found(ident: UUID, by: Editor) -> Changeset:
        return draft

    reading = services.audit.reading
    editors = Editors(services.authority, reading.sources.directory, services.ledger)
    return PolicyReplays(found, editors, reading, services.authority, services.retrieve, HashEmbedder())


def redone(usher: World, rules: str, by: Editor = OPERATOR, *, names: bool = False, last: int = 100) -> Redone:
    return usher.run(replays(usher, rules).of(UUID(int=7), by, last, names=names))


def grant_of(usher: World, user: str) -> Grant:
    grant = usher.run(usher.services.authority.admit(usher.keys[user]))
    assert grant is not None
    return grant


def judged(usher: World, rules: str) -> dict[str, dict[UUID, bool]]:
    """For everybody, which documents Casbin lets them see, by asking it for chat and for each requirement."""
    _, snapshot = usher.run(usher.services.authority.current())
    people = [Principal(typed("user", u), frozenset(typed("group", g) for g in groups)) for u, groups in PEOPLE.items()]
    oracle = Oracle(parse_rules(rules), snapshot.catalog, people)
    context = Context(datetime.now(UTC))
    places = usher.run(usher.services.documents.page(tuple(snapshot.catalog.classes), None, 100))
    classes = usher.run(usher.services.documents.current_classes([info.id for info in places]))
    return {
        person.user: {
            document: oracle.enforce(person, "sys:chat", Action.CHAT_ASK, context)
            and all(oracle.readable(person, snapshot.catalog.classes[ident], context) for ident in idents)
            for document, idents in classes.items()
        }
        for person in people
    }


def lost_by_casbin(usher: World, rules: str) -> dict[str, tuple[int, int]]:
    """For each exchange, how many of the passages that it showed Casbin would keep from it, that it does not keep now,
    and how many it keeps already."""
    before, after = judged(usher, POLICY + READERS), judged(usher, rules)
    asking = usher.services.audit.reading.asking
    usher.run(asking.follower.caught_up())
    index = usher.services.audit.reading.index
    found = {}
    for one in index.latest(100).entries:
        user = usher.run(usher.services.audit.reading.names.of_person(one.pseudonym or ""))
        shown = [UUID(showing.document) for showing in one.shown if showing.in_prompt is not False]
        old, new = before[typed("user", user or "")], after[typed("user", user or "")]
        lost = sum(old[document] and not new[document] for document in shown)
        found[one.audit_id] = (lost, sum(not old[document] and not new[document] for document in shown))
    return found


def count(one: Differing) -> int:
    return sum(some.passages for some in one.lost)


DRAFTS = [
    *("\n".join(LINES[:n] + LINES[n + 1 :]) + "\n" for n in range(len(LINES))),
    POLICY + "p, group:staff, coll:handbook, document.read, deny, always\n",
    POLICY + "p, role:employee, coll:finance, document.read, allow, always\n",
    POLICY
    + "p, user:carol, mark:mnpi, document.read, deny, time:days=mon-sun;from=00:00;to=24:00;zone=Europe/Berlin\n",
    "",
]


def test_what_is_lost_is_what_casbin_denies(usher: World) -> None:
    """Each line of the policy left out alone, and more: exactly those exchanges lose passages, and so many, of which
    Casbin's own answer says so; nothing else of what was shown is told of."""
    seen = 0
    for draft in DRAFTS:
        truth = lost_by_casbin(usher, draft)
        answer = redone(usher, draft)
        assert answer.looked_at == len(truth) == 6
        told = {one.audit_id: count(one) for one in answer.differing}
        assert {ident: lost for ident, (lost, _) in truth.items() if lost} == {k: n for k, n in told.items() if n}
        assert all(one.gone == truth[one.audit_id][1] for one in answer.differing)
        seen += sum(told.values())
    assert seen > 20


def test_what_is_gained_is_found_by_asking_again(usher: World) -> None:
    """A draft that opens the board's papers to alice gives her what her question finds there, and bob nothing."""
    opened = POLICY + READERS + "g, user:alice, role:board\n"
    gained = {one.audit_id: one.gained for one in redone(usher, opened).differing}
    assert gained
    assert {names for some in gained.values() for one in some for names in one.requirements} == {
        "coll:board",
        "mark:mnpi",
    }
    assert redone(usher, opened).gaining == len(gained)
    assert redone(usher, POLICY + READERS).differing == ()


def test_an_exchange_that_would_be_refused_is_told_so(usher: World) -> None:
    """Without the right to ask, everything that was shown is lost."""
    answer = redone(usher, "\n".join(LINES[1:]) + "\n")
    assert all(one.refused for one in answer.differing)
    assert answer.losing == 6


def test_the_question_stands_nowhere_in_the_answer(usher: World) -> None:
    """Neither it nor a path, a title or a name; by name for whoever may identify."""
    answer = redone(usher, "", Editor(grant_of(usher, "olga"), "key"))
    text = repr(answer)
    assert not [word for word in ("budget", "holiday", "merger", "alice", "zanzibar", ".md") if word in text]
    named = redone(usher, "", Editor(grant_of(usher, "olga"), "key"), names=True)
    assert {one.user for one in named.differing} == {"alice", "bob", "carol"}


def test_names_take_the_right_to_identify(usher: World) -> None:
    """Whoever has only a right to read the policy asks without."""
    with pytest.raises(NotPermitted):
        redone(usher, "", Editor(grant_of(usher, "frank"), "key"), names=True)
    with pytest.raises(NotPermitted):
        redone(usher, "", Editor(grant_of(usher, "bob"), "key"))


def test_whoever_may_identify_in_part_gets_names_there(usher: World) -> None:
    """Of exchanges that showed something of theirs; the others stay pseudonyms."""
    answer = redone(usher, "", Editor(grant_of(usher, "mona"), "key"), names=True)
    assert {one.user for one in answer.differing} == {"alice", None}


def test_what_was_only_found_was_not_shown() -> None:
    """A passage that had no room in the prompt; a search has none, and shows all."""

    def showing(in_prompt: bool | None) -> Showing:
        return Showing("d", 1, "c", 1, 1, in_prompt, False, "direct", None, 1)

    some = tuple(map(showing, (True, False, None)))
    assert shown_by(Exchange(1, "t", "chat", "x", "p", "answered", some)) == (some[0], some[2])


def test_a_limited_right_shows_what_it_governs(usher: World) -> None:
    """Whoever may read the policy of finance learns of finance's passages, and not how many exchanges there are."""
    answer = redone(usher, "", Editor(grant_of(usher, "frank"), "key"))
    assert {names for one in answer.differing for some in one.lost for names in some.requirements} == {"coll:finance"}
    assert (answer.looked_at, answer.unknown, answer.unopened) == (None, None, None)
    everything = redone(usher, "")
    assert 0 < len(answer.differing) < len(everything.differing)


def test_it_is_recorded_before_anything_is_read(usher: World) -> None:
    """Who asked, by which changeset; with nobody's name and no text."""
    told = len(usher.events())
    redone(usher, "", Editor(grant_of(usher, "olga"), "key"))
    events = [event for event in usher.events()[told:] if event["type"] == "audit_read"]
    assert len(events) == 1
    assert (events[0]["question"], events[0]["changeset"]) == ("policy_replay", str(UUID(int=7)))
    assert "olga" not in str(events)


def test_it_says_how_far_it_is(usher: World) -> None:
    """Steps, and then the answer; the last N only."""

    async def steps() -> list[Progress | Redone]:
        return [step async for step in replays(usher, "").steps(UUID(int=7), OPERATOR, 2)]

    found = usher.run(steps())
    assert found[0] == Progress(0, 2)
    assert isinstance(found[-1], Redone)
    assert found[-1].looked_at == 2
    with pytest.raises(UserError, match="1 to 1000"):
        redone(usher, "", last=0)


def test_who_has_gone_is_counted_and_not_judged(usher: World) -> None:
    """They may do nothing by either policy; their questions are not asked again."""
    from tests.web.world import OPERATOR as BY

    usher.run(usher.services.people.deactivate("carol", BY))
    try:
        answer = redone(usher, POLICY + READERS + "p, role:employee, coll:finance, document.read, allow, always\n")
        assert answer.unknown == 2
        assert not [one for one in redone(usher, "").differing if one.user == "carol"]
    finally:
        usher.run(usher.services.people.add("carol", (), BY))
