"""`/api/conversations`: your own, and of them what you may see now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg, FromPath, QueryParameter

from usher.authority import Grant
from usher.conversations import CONVERSATION, Listed, Opened, Said
from usher.core.dialogue import HIDDEN
from usher.errors import UserError
from usher.own_search import Hit
from usher.services import Services
from usher.threads import known_id
from usher.web.auth import needs
from usher.web.cited import passage_url
from usher.web.schema import BY_KEY, PROBLEMS, example, problems
from usher_policy.vocabulary import Action

NO_STORE = {"cache-control": "no-store"}
NOT_FOUND = problems({404: "There is no such conversation, it is not yours, or it was deleted"})
FULL = problems({413: "You have as many conversations as one person may have"})
CHANGING = problems({409: "The policy has changed at this very moment: ask again"})


@dataclass(frozen=True, slots=True)
class NewConversation:
    """Without a title, the first question gives one."""

    title: str | None = None


@dataclass(frozen=True, slots=True)
class NewTitle:
    """Up to 200 characters on one line."""

    title: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """`title` is null before the first question. Where `hidden`, fixed words stand in its place: it may tell of
    documents that you may not read now. `updated_at` is the last use, which the list is ordered by."""

    id: UUID
    title: str | None
    hidden: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """By last use, newest first. `next` goes into `after` for the page that follows; null at the end."""

    conversations: list[Conversation]
    next: str | None


@dataclass(frozen=True, slots=True)
class OldCitation:
    """Passage `n` of an answer. `url` opens it in the version that was quoted, and says if it has changed since."""

    n: int
    document: UUID
    chunk: UUID
    url: str


@dataclass(frozen=True, slots=True)
class ShownExchange:
    """A question and its answer. `audit_id` goes into `after` or `instead_of` of a further question; `parent` is the
    nearest exchange before it, on its branch, that is shown (null: none). `outcome` is null while the answer flows."""

    audit_id: UUID
    parent: UUID | None
    created_at: datetime
    question: str
    answer: str
    citations: list[OldCitation]
    outcome: str | None


@dataclass(frozen=True, slots=True)
class HiddenPart:
    """One or more exchanges that may not be shown to you now. They come back when you may read again what they are made
    of."""

    hidden: Literal[True]
    text: str


@dataclass(frozen=True, slots=True)
class ConversationText:
    """A page of a conversation, oldest first. `next` goes into `after` for what came before; null at the beginning."""

    id: UUID
    title: str | None
    hidden: bool
    created_at: datetime
    updated_at: datetime
    exchanges: list[ShownExchange | HiddenPart]
    next: UUID | None


@dataclass(frozen=True, slots=True)
class Place:
    """From, to: in characters (Unicode code points, not UTF-16 units)."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ConversationHit:
    """`snippet` is a piece of the `part` (question or answer) of the exchange, and `matches` where the words stand in
    the snippet."""

    conversation: UUID
    audit_id: UUID
    created_at: datetime
    part: str
    snippet: str
    matches: list[Place]


@dataclass(frozen=True, slots=True)
class ConversationHits:
    """Newest first. `complete`: there are no more. Else there are more than asked for, or your newest 5,000 exchanges
    took longer than a search may."""

    hits: list[ConversationHit]
    complete: bool


_NEW = example("Begin one before its first question", {"title": "Travel to Tromso"})
_TITLE = example("Give it another name", {"title": "Hotels and holidays"})


@get("/", responses={**PROBLEMS, **CHANGING}, summary="List your conversations")
async def list_conversations(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    after: Annotated[str | None, QueryParameter(description="`next` of the page before")] = None,
    limit: Annotated[int, QueryParameter(description="How many, from 1 to 200")] = 50,
) -> Response[ConversationPage]:
    """Which titles are shown is recorded before they are."""
    rows, more = await services.conversations.page(grant, after, limit)
    return Response(ConversationPage([_listed(row) for row in rows], more), headers=NO_STORE)


@post("/", responses={**PROBLEMS, **FULL}, summary="Begin a conversation")
async def create_conversation(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    data: Annotated[NewConversation | None, BodyKwarg(media_type=RequestEncodingType.JSON, examples=_NEW)] = None,
) -> Conversation:
    """For its `id`: a question with a header `x-usher-conversation` goes there. One that names no conversation begins
    one by itself."""
    return _listed(await services.conversations.create(grant, None if data is None else data.title))


@get("/search", responses={**PROBLEMS, **CHANGING}, summary="Search your conversations")
async def search_conversations(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    q: Annotated[str, QueryParameter(description="Words, all of which must be there, up to 200 characters")] = "",
    limit: Annotated[int, QueryParameter(description="How many hits, from 1 to 50")] = 20,
) -> Response[ConversationHits]:
    """Looks at your newest 5,000 exchanges, and only at those that you may see now. Upper and lower case are the same,
    and a word is found within a longer one. Which exchanges are shown is recorded before they are."""
    found = await services.conversations.search(grant, q, limit)
    return Response(ConversationHits([_hit(hit) for hit in found.hits], found.complete), headers=NO_STORE)


@get("/{conversation:str}", responses={**PROBLEMS, **NOT_FOUND, **CHANGING}, summary="Read a conversation")
async def read_conversation(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    conversation: FromPath[str],
    after: Annotated[str | None, QueryParameter(description="`next` of the page before: goes back in time")] = None,
    limit: Annotated[int, QueryParameter(description="How many exchanges, from 1 to 200")] = 100,
) -> Response[ConversationText]:
    """The newest exchanges first, page by page; each page oldest first. Which are shown is recorded before they are.
    What may not be shown now has left fixed words in its place, once for all that follows each other."""
    opened = await services.conversations.read(grant, known_id(CONVERSATION, conversation), _exchange(after), limit)
    return Response(_text(opened), headers=NO_STORE)


@patch("/{conversation:str}", responses={**PROBLEMS, **NOT_FOUND}, summary="Rename a conversation")
async def rename_conversation(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    conversation: FromPath[str],
    data: Annotated[NewTitle, BodyKwarg(media_type=RequestEncodingType.JSON, examples=_TITLE)],
) -> Response[Conversation]:
    """The title is shown for as long as you may read all that the conversation has shown until now."""
    renamed = await services.conversations.rename(grant, known_id(CONVERSATION, conversation), data.title)
    return Response(_listed(renamed), headers=NO_STORE)


@delete("/{conversation:str}", responses={**PROBLEMS, **NOT_FOUND}, summary="Delete a conversation")
async def delete_conversation(
    services: NamedDependency[Services], grant: NamedDependency[Grant], conversation: FromPath[str]
) -> None:
    """It is gone for you at once, and for good. The audit log keeps its own record for as long as its rules say."""
    await services.conversations.delete(grant, known_id(CONVERSATION, conversation))


def _exchange(after: str | None) -> UUID | None:
    try:
        return None if after is None else UUID(after)
    except ValueError:
        raise UserError("after", "is no id", "give `next` of the page before, or leave it out") from None


def _listed(row: Listed) -> Conversation:
    return Conversation(row.id, row.title, row.hidden, row.created_at, row.updated_at)


def _text(opened: Opened) -> ConversationText:
    row, exchanges = opened.conversation, [_part(said) for said in opened.exchanges]
    return ConversationText(row.id, row.title, row.hidden, row.created_at, row.updated_at, exchanges, opened.next)


def _part(said: Said | None) -> ShownExchange | HiddenPart:
    if said is None:
        return HiddenPart(True, HIDDEN)
    citations = [OldCitation(c.n, c.document, c.chunk, passage_url(c.document, c.chunk)) for c in said.cited]
    return ShownExchange(said.id, said.parent, said.created_at, said.question, said.answer, citations, said.outcome)


def _hit(hit: Hit) -> ConversationHit:
    matches = [Place(start, end) for start, end in hit.snippet.matches]
    row = hit.row
    return ConversationHit(row.conversation, row.id, row.created_at, hit.part, hit.snippet.text, matches)


router = Router(
    "/api/conversations",
    route_handlers=[
        list_conversations,
        create_conversation,
        search_conversations,
        read_conversation,
        rename_conversation,
        delete_conversation,
    ],
    opt={"access": needs(Action.CHAT_ASK, "sys:chat")},
    security=BY_KEY,
    tags=["conversations"],
)
