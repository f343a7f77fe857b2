"""The version of the policy over HTTP: a request that names one is answered under it, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from litestar.testing import RequestFactory
from tests.web.world import POLICY, World, world

from usher.errors import UserError
from usher.web import policy_token
from usher.web.policy_token import MatchMissing, base_of, etag


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("token"), documents={}) as made:
        yield made


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_token, "PATIENCE", 0.1)


def me(usher: World, token: str) -> httpx.Response:
    return usher.ask("GET", "/api/me", headers={policy_token.HEADER: token})


def test_a_version_that_is_in_force_is_waited_for_no_longer(usher: World) -> None:
    """The token of the last write, and of one before it."""
    assert me(usher, "1").json()["policy_version"] == 1


def test_a_version_that_never_comes_is_refused(usher: World) -> None:
    """503 once the time is over, with the header to blame and when to try again."""
    answer = me(usher, "999999999")
    assert (answer.status_code, answer.json()["field"]) == (503, "x-usher-policy")
    assert answer.headers["retry-after"] == "1"
    body = {"model": "assistant", "messages": [{"role": "user", "content": "How long?"}]}
    spoken = usher.ask("POST", "/v1/chat/completions", json=body, headers={policy_token.HEADER: "99"})
    assert spoken.status_code == 503
    assert "x-usher-policy" in spoken.json()["error"]["message"]


@pytest.mark.parametrize("token", ["", "0", "-1", "01", "one", "1.0", "9" * 10, "\uff11"])
def test_what_is_no_version_is_named(usher: World, token: str) -> None:
    """400, never a wait."""
    answer = usher.ask("GET", "/api/me", headers={policy_token.HEADER: token.encode()})
    assert (answer.status_code, answer.json().get("field")) == (400, "x-usher-policy")


def test_a_version_that_is_on_its_way_is_waited_for(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is given under it, also by whom it gives the right to ask."""
    monkeypatch.setattr(policy_token, "PATIENCE", 5.0)

    async def meanwhile() -> httpx.Response:
        asking = asyncio.create_task(usher.asked("GET", "/api/me", "erin", headers={policy_token.HEADER: "2"}))
        await asyncio.sleep(0.05)
        assert not asking.done()
        await usher.apply(POLICY + "g, user:erin, role:finance\n")
        return await asking

    told = usher.run(meanwhile()).json()
    assert (told["policy_version"], told["roles"]) == (2, ["role:employee", "role:finance"])


def test_nobody_waits_without_a_key(usher: World) -> None:
    """A stranger is refused before anything is looked at."""
    answer = usher.ask("GET", "/api/me", None, headers={policy_token.HEADER: "999"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "tag", ["", "*", "7", "policy-7", '"7"', '"policy-07"', 'W/"policy-7"', '"policy-7", "policy-8"', '"policy-७"']
)
def test_a_tag_that_is_none_is_named(tag: str) -> None:
    """400, with how it is written."""
    request = RequestFactory().post("/", headers={"if-match": tag})
    with pytest.raises(UserError, match="policy-N") as refused:
        base_of(request)
    assert refused.value.status == 400


def test_a_change_says_what_it_was_made_from() -> None:
    """As the answer that it was made from said it; nothing at all is 428."""
    assert base_of(RequestFactory().post("/", headers={"if-match": etag(7)["etag"]})) == 7
    with pytest.raises(MatchMissing) as refused:
        base_of(RequestFactory().post("/"))
    assert refused.value.status == 428
