"""A person is one person, whether named as the operator says it or as a rule file writes it."""

from __future__ import annotations

import pytest
from tests.ingest.ingest_kit import OPERATOR, POLICY, House, Rooms, new_house

from usher.errors import UserError
from usher.people import checked_name
from usher.policy_admin import PolicySource
from usher_policy.decide import DENIED
from usher_policy.vocabulary import Action


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return new_house(tmp_path_factory.mktemp("names") / "house")


@pytest.mark.slow
def test_a_person_added_by_the_rule_files_name_meets_its_deny(house: House) -> None:
    """Also through a group."""
    rules = POLICY + "g, user:a%2Cb, role:all\np, user:a%2Cb, coll:open, document.read, deny, always\n"
    rules += "g, group:x%25, role:hr\np, group:x%25, coll:hr, document.read, deny, always\n"

    async def story(rooms: Rooms) -> None:
        await rooms.policy.apply(PolicySource(rules), OPERATOR)
        added = await rooms.people.add("user:a%2Cb", ["group:x%25"], OPERATOR)
        assert (added.user, added.groups) == ("a,b", ("x%",))
        key = (await rooms.people.create_key("user:a%2Cb", None, None, OPERATOR)).key
        grant = await rooms.authority.admit(key)
        assert grant is not None
        assert {principal.user for principal in grant.standing.principals} == {"user:a%2Cb"}
        for name in ("coll:open", "coll:hr"):
            assert grant.may(Action.DOCUMENT_READ, name).reason == DENIED

    house.using(story)


def test_a_name_without_its_type_is_taken_as_it_is() -> None:
    """A percent sign in it is a percent sign."""
    assert checked_name("user", "a%2Cb") == "a%2Cb"
    assert checked_name("user", "user:a%252Cb") == "a%2Cb"
    assert checked_name("user", "group:x") == "group:x"


@pytest.mark.parametrize("name", ["user:a,b", "user:a%2cb", "user:%61", "user:%FF", "user:"])
def test_a_typed_name_in_another_than_its_one_form_is_refused(name: str) -> None:
    """It is not guessed which person was meant."""
    with pytest.raises(UserError, match=r"^user "):
        checked_name("user", name)
