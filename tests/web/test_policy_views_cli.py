"""`usher policy explain`, `who`, `what`, `matrix`, `replay`: as the operator, and as a person with their key; and the
replay of a draft over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from tests.web.audit_kit import BUDGET, HOLIDAY, answered
from tests.web.policy_kit import API, Keeping, company
from typer.testing import CliRunner, Result

from usher import cli_policy_ask, cli_policy_views, cli_road
from usher.cli import app
from usher.cli_road import Refused

LOSES = "p, group:staff, coll:handbook, document.read, deny, always"
Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    with company(tmp_path_factory.mktemp("views")) as usher:
        answered(usher, BUDGET, "alice")
        answered(usher, HOLIDAY, "bob")
        yield Keeping(usher)


@pytest.fixture(scope="module")
def draft(keeping: Keeping) -> str:
    return str(keeping.drafted(LOSES)["id"])


@pytest.fixture(scope="module")
def cli(keeping: Keeping) -> Iterator[Cli]:
    """The commands, over the operator's app in this process."""
    operator = keeping.usher.operator_app()

    @asynccontextmanager
    async def client(_server: str | None) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(cast(Any, operator)), base_url="http://o") as made:
            yield made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli_policy_ask, "client", client)
        patch.setattr(cli_policy_views, "client", client)
        patch.setattr(cli_policy_views, "run", keeping.usher.run)
        patch.setattr(cli_road, "run", keeping.usher.run)
        patch.delenv("USHER_KEY", raising=False)
        yield lambda *words: CliRunner().invoke(app, ["policy", *words])


def test_explain_as_the_operator(cli: Cli) -> None:
    """The decision first, then the rules with their paths, and the lines that would turn it round."""
    lines = cli("explain", "bob", "coll:handbook").output.splitlines()
    assert lines[0] == "user:bob document.read coll:handbook: allowed (a rule allows it and none denies it)"
    assert "  rule: p, role:employee, coll:handbook, document.read, allow, always" in lines
    assert "    by way of group:staff -> role:employee" in lines
    assert "  denied without: g, group:staff, role:employee" in lines
    denied = cli("explain", "bob", "coll:board").output
    assert denied.startswith("user:bob document.read coll:board: denied (no rule allows it)\n")
    assert "  allowed with: g, user:bob, role:board" in denied


def test_explain_with_ones_own_key(cli: Cli, keeping: Keeping) -> None:
    """It takes no right, and says nothing of others; about somebody else it is refused."""
    key = keeping.usher.keys["bob"]
    said = cli("explain", "bob", "coll:board", "--key", key)
    assert said.output.splitlines()[:2] == [
        "user:bob document.read coll:board: denied",
        "  nothing that you are allows it",
    ]
    assert set(json.loads(cli("explain", "bob", "coll:board", "--key", key, "--json").output)) >= {"words", "allowed"}
    assert isinstance(cli("explain", "alice", "coll:board", "--key", key).exception, Refused)


def test_who_and_what(cli: Cli) -> None:
    """Names, and a table; both as JSON too."""
    assert cli("who", "coll:finance").output.splitlines() == ["  user:alice", "1 may document.read coll:finance now"]
    assert json.loads(cli("who", "coll:finance", "--json").output)["users"] == ["user:alice"]
    rows = cli("what", "alice").output.splitlines()
    assert rows[0].split() == ["action", "object", "allowed", "reason"]
    assert any(row.split()[:3] == ["document.read", "coll:finance", "yes"] for row in rows)
    assert json.loads(cli("what", "nobody", "--json").output)["known"] is False


def test_the_matrix_goes_into_a_file(cli: Cli, tmp_path: Path) -> None:
    """As it came over HTTP; printed where none is named."""
    file = tmp_path / "matrix.csv"
    told = json.loads(cli("matrix", "--out", str(file), "--json").output)
    text = file.read_bytes().decode("utf-8-sig")
    assert told == {"people": text.count("\r\n") - 1, "file": str(file)}
    assert '"user:alice"' in text
    assert '"user:alice","","yes"' in cli("matrix", "--object", "coll:finance").output
    assert cli("matrix", "--out", str(tmp_path / "no" / "x.csv")).exit_code != 0


def test_a_replay_is_told_in_words(cli: Cli, keeping: Keeping, draft: str) -> None:
    """Exit code 1 where an answer would be another, 0 where none would."""
    lost = cli("replay", draft)
    assert lost.exit_code == 1, lost.output
    assert re.search(r"^  would lose \d passages? of coll:handbook$", lost.output, re.MULTILINE)
    assert lost.output.splitlines()[-1] == "1 of 2 would lose something, 0 would gain something"
    assert " by bob, " in cli("replay", draft, "--names").output
    nothing = keeping.drafted("p, role:nobody, coll:handbook, document.read, deny, always")["id"]
    assert cli("replay", str(nothing)).exit_code == 0
    told = json.loads(cli("replay", draft, "-n", "1", "--json").output)
    assert (told["changeset"], told["looked_at"], told["losing"]) == (draft, 1, 1)


def test_a_replay_over_http_says_how_far_it_is(keeping: Keeping, draft: str) -> None:
    """As JSON lines where that is asked for, else the answer alone; the same answer."""
    whole = keeping.get(f"/changesets/{draft}/replay", "alice")
    assert whole.headers["cache-control"] == "no-store"
    lines = keeping.get(f"/changesets/{draft}/replay?progress=true", "alice").text.splitlines()
    first, *_, last = map(json.loads, lines)
    assert first == {"event": "progress", "done": 0, "total": 2}
    assert last == {"event": "report"} | whole.json()
    assert whole.json()["differing"][0]["user"] is None


@pytest.mark.parametrize("query", ["", "?progress=true", "?n=5"])
def test_a_draft_that_is_not_there_is_no_draft(keeping: Keeping, query: str) -> None:
    """404, for any id and for what is none."""
    answers = [keeping.get(f"/changesets/{ident}/replay{query}", "alice") for ident in (uuid4(), "x", "0")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1


def test_a_replay_takes_its_right(keeping: Keeping, draft: str) -> None:
    """Whoever may only propose for the handbook reads no log by it; names take the right to identify; no more than
    a thousand exchanges."""
    own = keeping.drafted("p, role:employee, coll:handbook, document.read, deny, always", who="carol")["id"]
    assert keeping.get(f"/changesets/{own}/replay", "carol").status_code == 403
    assert keeping.get(f"/changesets/{draft}/replay?names=true", "alice").status_code == 403
    for number in ("0", "1001", "-1"):
        assert keeping.get(f"/changesets/{draft}/replay?n={number}", "alice").json()["field"] == "n"
    assert keeping.usher.ask("GET", f"{API}/changesets/{draft}/replay", "bob").status_code == 403
