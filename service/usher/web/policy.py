"""`/api/policy`: which policy is in force, and which were; for those who may do anything with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from litestar import Response, Router, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, QueryParameter

from usher.authority import Grant, utc_now
from usher.core.plan_words import Diff
from usher.policy.editors import Editor
from usher.policy.plan import NoSuchVersion
from usher.ports import StoredPolicy
from usher.services import Services
from usher.web.audit_questions import NO_STORE
from usher.web.auth import KEY, OPERATOR, POLICY
from usher.web.operator_act import OperatorRequest, operator_of
from usher.web.policy_token import etag, newest
from usher.web.schema import BY_KEY, PROBLEMS, problems

DEFAULT_LIMIT = 50
MAX_DIGITS = 10
NONE_SUCH = problems({404: "There is no such version"})
After = Annotated[int | None, QueryParameter(description="`next` of the page before")]
Limit = Annotated[int, QueryParameter(description="How many, from 1 to 200")]
From = Annotated[int, QueryParameter(name="from", description="A version")]
To = Annotated[int | None, QueryParameter(name="to", description="Another; the one in force, where none is given")]


@dataclass(frozen=True, slots=True)
class InForce:
    """The `version` that decides now. Changes are made from version `base`: another one only while somebody has broken
    the glass, which is over at `glass_until`."""

    version: int
    base: int
    glass_until: datetime | None


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version. `digest` is of its rules; `by` is a pseudonym, the operator, or null where that is not known; it came
    of the `changeset`, and `glass_until` is set for a break-glass."""

    version: int
    digest: str
    in_force: bool
    by: str | None
    changeset: UUID | None
    created_at: datetime
    activated_at: datetime | None
    glass_until: datetime | None

    @classmethod
    def of(cls, stored: StoredPolicy, in_force: int) -> Self:
        when = stored.created_at, stored.activated_at, stored.glass_until
        return cls(stored.version, stored.digest, stored.version == in_force, stored.by, stored.changeset, *when)


@dataclass(frozen=True, slots=True)
class WholeVersion:
    """All of a version, byte for byte as it was given."""

    version: int
    digest: str
    rules_text: str
    documents: dict[str, str]
    cases: dict[str, str]


@dataclass(frozen=True, slots=True)
class VersionPage:
    """Newest first. `next` goes into `after` for the page that follows; null at the end."""

    versions: list[ShownVersion]
    next: int | None


@dataclass(frozen=True, slots=True)
class DiffShown:
    """What is different between two versions."""

    before: int
    after: int
    diff: Diff


@get("", responses=PROBLEMS, summary="The number of the policy in force")
async def active(services: NamedDependency[Services]) -> Response[InForce]:
    """For everybody. The `ETag` goes into `If-Match` of a change that is made from it."""
    versions, _ = await services.authority.current()
    told = InForce(versions.in_force(utc_now()), versions.ordinary, versions.glass_until)
    return Response(told, headers={**NO_STORE, **etag(told.base)})


@get("/versions", responses=PROBLEMS, summary="All versions of the policy")
async def versions(
    services: NamedDependency[Services],
    by: NamedDependency[Editor],
    after: After = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response[VersionPage]:
    found = await services.policies.history.versions(by, after, limit)
    now, _ = await services.authority.current()
    shown = [ShownVersion.of(stored, now.in_force(utc_now())) for stored in found]
    return Response(VersionPage(shown, found[-1].version if len(found) == limit else None), headers=NO_STORE)


@get("/versions/{version:str}", responses={**PROBLEMS, **NONE_SUCH}, summary="One version, with all its text")
async def version(
    services: NamedDependency[Services], by: NamedDependency[Editor], version: FromPath[str]
) -> Response[WholeVersion]:
    stored = await services.policies.history.version(_number(version), by)
    whole = WholeVersion(stored.version, stored.digest, stored.rules, dict(stored.documents), dict(stored.cases))
    return Response(whole, headers={**NO_STORE, **etag(stored.version)})


@get("/diff", responses={**PROBLEMS, **NONE_SUCH}, summary="What is different between two versions")
async def diff(
    services: NamedDependency[Services], by: NamedDependency[Editor], before: From, after: To = None
) -> Response[DiffShown]:
    other = await newest(services) if after is None else after
    found = await services.policies.history.diff(before, other, by)
    return Response(DiffShown(before, other, found), headers=NO_STORE)


def _number(text: str) -> int:
    """What is no number at all names no version either."""
    if not (text.isascii() and text.isdigit() and len(text) < MAX_DIGITS):
        raise NoSuchVersion
    return int(text)


def editor(grant: Grant) -> Editor:
    return Editor(grant, grant.credential.kind)


def operator(request: OperatorRequest) -> Editor:
    by = operator_of(request)
    return Editor(None, f"{by.kind}:{by.id}")


def by_person(grant: NamedDependency[Grant]) -> Editor:
    """The dependency `by` of people's routes."""
    return editor(grant)


def by_operator(request: OperatorRequest) -> Editor:
    """The dependency `by` of the operator's routes."""
    return operator(request)


BY_PERSON = {"by": Provide(by_person, sync_to_thread=False)}
BY_OPERATOR = {"by": Provide(by_operator, sync_to_thread=False)}

number = Router("/api/policy", route_handlers=[active], opt={"access": KEY}, security=BY_KEY, tags=["policy"])
router = Router(
    "/api/policy",
    route_handlers=[versions, version, diff],
    opt={"access": POLICY},
    dependencies=BY_PERSON,
    security=BY_KEY,
    tags=["policy"],
)
operator_router = Router(
    "/operator/policy",
    route_handlers=[active, versions, version, diff],
    opt={"access": OPERATOR},
    dependencies=BY_OPERATOR,
    include_in_schema=False,
)
