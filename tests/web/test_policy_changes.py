"""`/api/policy`: a change is planned, drafted, approved by somebody else, activated and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from tests.web.policy_kit import API, CASES, NARROWER, RULES, SOURCE, WIDER, Keeping, company

from usher.web.policy_drafts import MAX_BODY

WHOLE = {"rules_text": RULES, "documents": dict(SOURCE.documents), "cases": dict(SOURCE.cases)}


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    with company(tmp_path_factory.mktemp("policy")) as usher:
        yield Keeping(usher)


def problem(answer: httpx.Response, status: int, field: str) -> str:
    told = answer.json()
    assert (answer.status_code, told.get("field")) == (status, field), answer.text
    return str(told["detail"])


def test_a_change_takes_two_people_and_is_taken_back_by_one(keeping: Keeping) -> None:
    """Drafted, looked at, approved by somebody else, activated; and what only takes away needs nobody else."""
    draft = keeping.drafted(WIDER, comment="Bob joins finance.")
    shown = keeping.get(f"/changesets/{draft['id']}", "alice").json()
    assert (shown["changeset"]["comment"], shown["changeset"]["state"]) == ("Bob joins finance.", "open")
    plan = shown["plan"]
    assert (plan["needs_approval"], plan["may_come"], plan["diff"]["added"]) == (True, True, [WIDER])
    group = plan["impact"]["groups"][0]
    assert group["whom"]["people"]["names"] == ["user:bob"]
    assert [(shelf["place"], shelf["documents"]) for shelf in group["gained"]["shelves"]["told"]] == [
        ("coll:finance", 1)
    ]
    assert "same person" in problem(keeping.act("approve", draft, "dave"), 403, "changeset")
    assert "another person" in problem(keeping.act("activate", draft, "dave"), 409, "changeset")
    assert keeping.act("approve", draft, "alice").json()["state"] == "open"
    done = keeping.act("activate", draft, "dave")
    assert done.json()["version"] == done.json()["policy_version"] == keeping.base()
    assert done.headers["etag"] == f'"policy-{keeping.base()}"'
    assert keeping.usher.ask("GET", "/api/me", headers={"x-usher-policy": str(keeping.base())}).status_code == 200

    back = keeping.post("/rollback", "alice", {"version": keeping.base() - 1}).json()
    assert keeping.act("activate", back, "alice").json()["version"] == keeping.base()
    assert keeping.get(f"/diff?from={draft['base']}").json()["diff"]["added"] == []


def test_a_version_is_given_as_it_was(keeping: Keeping) -> None:
    """Byte for byte, comments and cases too; and the list says which is in force."""
    found = keeping.get("/versions/2").json()
    assert {name: found[name] for name in WHOLE} == WHOLE
    listed = keeping.get("/versions").json()["versions"]
    assert [one["version"] for one in listed if one["in_force"]] == [keeping.base()]
    assert keeping.get("/versions?limit=1").json()["next"] == keeping.base()
    for absent in ("999999999", "x", "-1", "٢", "9" * 30):
        assert problem(keeping.get(f"/versions/{absent}"), 404, "version")


def test_a_draft_says_what_it_was_made_from(keeping: Keeping) -> None:
    """Nothing said is 428, what is no version 400, and another version than the one in force 412, with what that one
    changed; for a whole policy and for single lines."""
    base = keeping.base()
    gone = keeping.drafted(remove=(NARROWER,))
    assert keeping.act("activate", gone, "dave").status_code == 200
    for path, body in (("/changesets", WHOLE), ("/edits", {"remove": ["g, user:dave, role:auditor"]})):
        assert problem(keeping.post(path, "dave", body), 428, "If-Match")
        wrong = keeping.usher.ask("POST", API + path, "dave", json=body, headers={"if-match": "*"})
        assert problem(wrong, 400, "If-Match")
        late = keeping.post(path, "dave", body, base)
        assert f"version {base + 1} now" in problem(late, 412, "changeset")
        assert late.json()["moved"]["diff"]["removed"] == [NARROWER]
        assert problem(keeping.post(path, "dave", body, 99_999), 404, "version")
    again = keeping.drafted(NARROWER)
    assert (
        keeping.act("approve", again, "alice").status_code == keeping.act("activate", again, "dave").status_code == 200
    )


def test_an_outdated_changeset_is_not_activated(keeping: Keeping) -> None:
    """Approved or not: what came first is told, and nothing is merged."""
    draft = keeping.drafted(WIDER)
    assert keeping.act("approve", draft, "alice").status_code == 200
    less = "p, role:board, mark:mnpi, document.read, allow, always"
    other = keeping.drafted(remove=(less,), who="alice")
    assert keeping.act("activate", other, "alice").status_code == 200
    late = keeping.act("activate", draft, "dave")
    assert (late.status_code, late.json()["moved"]["diff"]["removed"]) == (412, [less])
    assert keeping.get(f"/changesets/{draft['id']}").json()["plan"]["moved"]["version"] == keeping.base()


def test_what_may_not_be_is_told_with_all_reasons(keeping: Keeping) -> None:
    """Lint's findings and failed cases; and the last two who may approve."""
    unsound = keeping.post("/changesets", "dave", {**WHOLE, "rules_text": "p, role:hr"}, keeping.base())
    assert problem(unsound, 400, "policy")
    assert unsound.json()["findings"][0]["line"] == 1
    failing = keeping.post("/changesets", "dave", {**WHOLE, "rules_text": KEPT}, keeping.base())
    assert problem(failing, 400, "policy")
    assert [case["user"] for case in failing.json()["failed"]] == ["user:alice"]
    told = keeping.post("/edits", "dave", {"remove": ["g, user:alice, role:keeper"]}, keeping.base())
    assert problem(told, 409, "changeset")
    assert "fewer than two" in told.json()["reasons"][0]
    plan = keeping.post("/edits/plan", "dave", {"remove": ["g, user:alice, role:keeper"]}).json()
    assert (plan["may_come"], len(plan["refusals"])) == (False, 1)


KEPT = RULES.replace("p, role:finance, coll:finance, document.read, allow, always\n", "")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"remove": ["g, user:nobody, role:finance"]}, "no such line"),
        ({"add": ["g, user:alice, role:finance"]}, "says it already"),
        ({"add": ["g, user:bob, role:board\ng, user:erin, role:board"]}, "not one line"),
        ({"add": [WIDER], "remove": [WIDER]}, "both"),
    ],
)
def test_an_edit_that_cannot_be_made_names_the_line(keeping: Keeping, body: dict[str, list[str]], said: str) -> None:
    """And nothing is kept of it."""
    before = keeping.get("/changesets").json()["changesets"]
    assert said in problem(keeping.post("/edits", "dave", body, keeping.base()), 400, "edit")
    assert said in problem(keeping.post("/edits/plan", "dave", body), 400, "edit")
    assert keeping.get("/changesets").json()["changesets"] == before


def test_an_approval_is_of_one_digest(keeping: Keeping) -> None:
    """Another's, or none, is refused; whoever is shown one thing never approves another."""
    draft, other = keeping.drafted(WIDER), keeping.drafted("g, user:erin, role:finance")
    for digest in (other["digest"], "", "0" * 64, draft["digest"].upper()):
        for act, who in (("approve", "alice"), ("activate", "dave")):
            told = keeping.post(f"/changesets/{draft['id']}/{act}", who, {"digest": digest})
            assert "digest" in problem(told, 409, "changeset")


def test_an_edit_of_a_draft_takes_its_place(keeping: Keeping) -> None:
    """The old one is withdrawn, and whoever had a part in either approves neither."""
    first = keeping.drafted(WIDER, who="alice")
    second = keeping.drafted("g, user:erin, role:finance", supersedes=first["id"])
    assert keeping.get(f"/changesets/{first['id']}").json()["changeset"]["state"] == "withdrawn"
    assert second["supersedes"] == first["id"]
    assert "same person" in problem(keeping.act("approve", second, "alice"), 403, "changeset")
    assert keeping.act("withdraw", second, "dave").json()["state"] == "withdrawn"
    assert problem(keeping.act("withdraw", second, "dave"), 409, "changeset")


def test_what_is_refused_is_over(keeping: Keeping) -> None:
    """By somebody else; and its own author withdraws what is theirs only."""
    draft = keeping.drafted(WIDER)
    assert problem(keeping.act("withdraw", draft, "alice"), 403, "changeset")
    assert problem(keeping.act("refuse", draft, "dave"), 403, "changeset")
    assert keeping.act("refuse", draft, "alice").json()["state"] == "refused"
    assert "was refused" in problem(keeping.act("approve", draft, "alice"), 409, "changeset")


def test_a_changeset_beyond_ones_right_is_none(keeping: Keeping) -> None:
    """For an editor of the handbook only, and for an id of nothing or that is none: the same words."""
    draft = keeping.drafted(WIDER)
    answers = [
        keeping.usher.ask("GET", f"{API}/changesets/{ident}", "carol")
        for ident in (draft["id"], str(uuid4()), "x", f"{draft['id']}x")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert keeping.usher.ask("GET", f"{API}/changesets", "carol").json()["changesets"] == []
    assert keeping.usher.ask("GET", f"{API}/versions", "carol").status_code == 403


def test_the_same_policy_is_applied_once(keeping: Keeping) -> None:
    """As a job would: it waits, is approved, and the next run brings exactly that into force."""
    body = {**WHOLE, "rules_text": RULES + "g, user:erin, role:board\n", "comment": "erin sits on the board"}
    waits = keeping.post("/apply", "dave", body).json()
    assert (waits["state"], waits["version"]) == ("open", None)
    assert keeping.post("/apply", "dave", body).json()["id"] == waits["id"]
    assert keeping.act("approve", waits, "alice").status_code == 200
    done = keeping.post("/apply", "dave", body).json()
    assert (done["state"], done["version"], done["policy_version"]) == ("carried_out", keeping.base(), keeping.base())


def test_one_person_alone_for_a_time(keeping: Keeping) -> None:
    """What changes are made from stays the version from before; the review waits for somebody else, and for the end."""
    base, draft = keeping.base(), keeping.drafted(WIDER)
    assert problem(keeping.act("break-glass", draft, "dave", reason=" "), 400, "reason")
    assert problem(keeping.act("break-glass", draft, "dave", reason="Fire.", minutes=1441), 400, "minutes")
    alone = keeping.act("break-glass", draft, "dave", reason="Fire.", minutes=5).json()
    assert (alone["state"], alone["comment"], alone["version"]) == ("unreviewed", "Fire.", base + 1)
    now = keeping.get("").json()
    assert (now["version"], now["base"], now["glass_until"]) == (base + 1, base, alone["expires_at"])
    assert "same person" in problem(keeping.act("review", alone, "dave"), 403, "changeset")
    assert "still open" in problem(keeping.act("review", alone, "alice"), 409, "changeset")
    ends = keeping.drafted(remove=("g, user:dave, role:auditor",), who="alice")
    assert keeping.act("activate", ends, "alice").json()["version"] == base + 2
    assert keeping.get("").json() == {"version": base + 2, "base": base + 2, "glass_until": None}


def test_a_changeset_of_100_megabytes_is_refused_by_its_length(keeping: Keeping) -> None:
    """Before anything of it is read, with the bound; and one that does not say its length, where it goes beyond."""
    headers = {"content-length": "100000000", "if-match": '"policy-2"'}
    for path in ("/changesets", "/plan", "/apply"):
        told = keeping.usher.ask("POST", API + path, "dave", headers=headers, content=b"{")
        assert (told.status_code, f"{MAX_BODY:,} bytes" in told.json()["detail"]) == (413, True)


@pytest.mark.parametrize("body", [{}, {"rules_text": 7}, {"rules_text": "", "cases": []}, [], None])
def test_a_body_that_is_no_policy_is_told_so(keeping: Keeping, body: object) -> None:
    """400; and a policy without a rule is not one either."""
    for path in ("/plan", "/apply", "/changesets"):
        assert keeping.post(path, "dave", body, keeping.base()).status_code == 400


def test_a_file_that_is_none_is_named(keeping: Keeping) -> None:
    """A document of another name, a case that is none."""
    for more in ({"documents": {"other.yaml": ""}}, {"cases": {"a.yaml": "{"}}, {"cases": {"a.yaml": "- 7"}}):
        plan = keeping.post("/plan", "dave", {**WHOLE, **more}).json()
        assert not plan["sound"]
        assert any("yaml" in finding["message"] for finding in plan["findings"])
    assert problem(keeping.post("/plan", "dave", {**WHOLE, "cases": {"../a.yaml": CASES}}), 400, "policy")
