"""`/api/feedback`: what you say of an answer that you got, and the reviewers' list of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg, FromPath, QueryParameter

from usher.authority import Grant
from usher.core.dialogue import HIDDEN
from usher.core.retention import NO_LONGER_KEPT
from usher.feedback import EXCHANGE, Read, Words
from usher.ports.feedback import Verdict
from usher.services import Services
from usher.threads import known_id
from usher.web.auth import needs
from usher.web.schema import BY_KEY, PROBLEMS, example, problems
from usher_policy.vocabulary import Action

NO_STORE = {"cache-control": "no-store"}
NOT_FOUND = problems({404: "There is no such exchange, it is not yours, or it may not be shown to you now"})
CHANGING = problems({409: "It changes again and again while it is recorded: ask again"})
_EXAMPLES = example(
    "What was wrong, and what would have been right",
    {
        "exchange": "01938f2e-5d1c-7c3a-9a64-2f8f0e6d1b11",
        "verdict": "down",
        "reason": "The limit was raised in March.",
        "correction": "A hotel may cost at most 160 euros for one night.",
    },
)


@dataclass(frozen=True, slots=True)
class FeedbackBody:
    """`exchange` is the `audit_id` of an answer; `reason` has up to 2,000 characters, `correction` up to 20,000.
    `train`: adapters may learn from this exchange, for whoever may read all that it has shown; giving feedback again
    without it takes the leave back."""

    exchange: str
    verdict: Verdict
    reason: str | None = None
    correction: str | None = None
    train: bool = False


@dataclass(frozen=True, slots=True)
class FeedbackGiven:
    id: UUID
    exchange: UUID
    verdict: Verdict
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OwnFeedback:
    id: UUID
    exchange: UUID
    verdict: Verdict
    created_at: datetime
    reason: str | None
    correction: str | None
    train: bool


@dataclass(frozen=True, slots=True)
class ListedFeedback:
    """`subject` is the pseudonym of whoever gave it. `words` are null where `hidden` stands in their place: what the
    answer has shown is not all yours to read now, or the words are no longer kept."""

    id: UUID
    subject: str
    exchange: UUID
    verdict: Verdict
    created_at: datetime
    words: Words | None
    hidden: str | None


@dataclass(frozen=True, slots=True)
class FeedbackPage:
    """Newest first. `next` goes into `after` for the page that follows; null at the end."""

    feedback: list[ListedFeedback]
    next: UUID | None


@post("/", responses={**PROBLEMS, **NOT_FOUND}, summary="Say what you think of an answer that you got")
async def give_feedback(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    data: Annotated[FeedbackBody, BodyKwarg(media_type=RequestEncodingType.JSON, examples=_EXAMPLES)],
) -> FeedbackGiven:
    """Giving it again on the same answer replaces it. A foreign exchange and an absent one get the same answer."""
    words = Words(data.reason, data.correction, data.train)
    row = await services.feedback.give(grant, known_id(EXCHANGE, data.exchange), data.verdict, words)
    return FeedbackGiven(row.id, row.exchange, row.verdict, row.created_at)


@get("/{exchange:str}", responses={**PROBLEMS, **NOT_FOUND, **CHANGING}, summary="What you said of an answer")
async def own_feedback(
    services: NamedDependency[Services], grant: NamedDependency[Grant], exchange: FromPath[str]
) -> Response[OwnFeedback]:
    """Your own, while all that the answer has shown is yours to read. Recorded before it is given."""
    read = await services.feedback.own(grant, known_id(EXCHANGE, exchange))
    words, row = read.words or Words(), read.row
    own = OwnFeedback(row.id, row.exchange, row.verdict, row.created_at, words.reason, words.correction, words.train)
    return Response(own, headers=NO_STORE)


@get(
    "/",
    opt={"access": needs(Action.AUDIT_REVIEW, "sys:audit")},
    responses={**PROBLEMS, **CHANGING},
    summary="What people said of their answers, for reviewers",
)
async def list_feedback(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    after: Annotated[UUID | None, QueryParameter(description="`next` of the page before")] = None,
    limit: Annotated[int, QueryParameter(description="How many, from 1 to 500")] = 50,
) -> Response[FeedbackPage]:
    """By pseudonym. Words only where you may read now all that the answer has shown. Each read is itself recorded."""
    page, following = await services.feedback.page(grant, after, limit)
    return Response(FeedbackPage([_listed(read) for read in page], following), headers=NO_STORE)


def _listed(read: Read) -> ListedFeedback:
    row, hidden = read.row, None
    if read.words is None:
        hidden = HIDDEN if read.row.sealed else NO_LONGER_KEPT
    return ListedFeedback(row.id, read.subject, row.exchange, row.verdict, row.created_at, read.words, hidden)


router = Router(
    "/api/feedback",
    route_handlers=[give_feedback, own_feedback, list_feedback],
    opt={"access": needs(Action.CHAT_ASK, "sys:chat")},
    security=BY_KEY,
    tags=["feedback"],
)
