"""An Usher in this process whose model tells all that it is told, for the test of what old answers may still show.

SQLite, the ledger, policy and ingest are real; the store and the embedder are in memory. The folder and the store
outlive a restart.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx
import sqlalchemy as sa
from tests.leak.dialogue_oracle import Company, planted
from tests.web.world import OPERATOR, PlainConverter, _migrated

from usher import app as wiring
from usher.authority import Grant
from usher.backends.ledger_sql import SqlLog
from usher.backends.memory import HashEmbedder, MemoryStore
from usher.backends.sql import Database
from usher.chat_answer import Ended
from usher.chat_exchange import ChatRefused
from usher.core.history import Asked
from usher.errors import UserError
from usher.ingest import IngestOptions
from usher.ledger.sequencer import Ledger
from usher.policy_admin import PolicySource
from usher.ports import Change, Delta, Found, ModelRequest, SparseVector, Vector
from usher.services import Services
from usher.settings import read_settings
from usher.threads import Place

T = TypeVar("T")
Act = Callable[[], Coroutine[Any, Any, None]]

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where there is one, no disk slows the test down
DULL = "As I said before [1]."
LATER = "That is all that I know."


async def nothing() -> None:
    """Done meanwhile."""


class FewStore(MemoryStore):
    """Finds little, so that what exchanges have shown differs."""

    async def search(self, classes: Sequence[int], dense: Vector, sparse: SparseVector, k: int) -> Found:
        return await super().search(classes, dense, sparse, 1)


class Unthreaded(Database):
    """Threads cost more than these small queries do."""

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        return self._read(work)

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        async with self._write_lock:
            return self._write(work)


class Parrot:
    """The `Model` port: it repeats each planted word of its prompt, which is as bad as a model can be.

    `judge` sees each request first. `act` happens once, while it speaks, and goes on if it is no longer listened to;
    `dull` answers all read alike.
    """

    name = "parrot"
    generative = True
    context_tokens = 1_000_000

    def __init__(self) -> None:
        self.judge: Callable[[ModelRequest], None] = lambda request: None
        self.act: Act | None = None
        self._acting: asyncio.Future[None] | None = None
        self.at_once = False
        self.dull = False
        self.heard = asyncio.Event()

    def count_tokens(self, text: str) -> int:
        return 1

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta]:
        self.judge(request)
        words = " ".join(sorted(planted(message["content"] for message in request.messages)))
        if not request.passages:
            if self.at_once:
                await self._acted()
            yield Delta(f"What of {words}?")
            return
        yield Delta(DULL if self.dull else f"I read {words} [1]. ")
        if self.act is not None:
            await asyncio.wait_for(self.heard.wait(), 5)
            await self._acted()
            yield Delta(LATER)
        yield Delta(finish_reason="stop", prompt_tokens=1, completion_tokens=1)

    async def _acted(self) -> None:
        act, self.act = self.act, None
        if act is not None:
            self._acting = asyncio.ensure_future(act())
            await asyncio.shield(self._acting)

    async def acted(self) -> None:
        """Until what began while it spoke is done."""
        if self._acting is not None:
            await self._acting

    async def close(self) -> None: ...


@dataclass
class Told:
    """What came of a question. `refused`: nothing did. `outcome` is None if the client left."""

    id: UUID | None = None
    conversation: UUID | None = None
    left_out: int = 0
    seen: str = ""
    outcome: str | None = None
    refused: str | None = None


class DialogueWorld:
    """Everything runs on the world's own event loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = Parrot()
        self.meanwhile: Act = nothing
        self.keys: dict[str, str] = {}
        self.services: Services
        self._store, self._embedder = FewStore(), HashEmbedder()
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._settings = read_settings(home=folder / "home")
        self._settings.home.mkdir()
        (self._settings.home / "usher.sqlite").write_bytes(_migrated())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    async def open(self) -> None:
        ring = wiring.open_ring(self._settings)
        database = Unthreaded(f"sqlite:///{self._settings.home / 'usher.sqlite'}")
        self._stack.callback(database.close)
        log = SqlLog(self._settings.home / "ledger.sqlite", 0)
        ledger = await Ledger.open(log, ring)
        self._stack.push_async_callback(ledger.close)
        self.services = await wiring._wired(
            self._settings, database, ring, log, ledger, self._store, self._embedder, self.model, PlainConverter()
        )
        self._pause_before_changes_bind()
        watching = asyncio.create_task(self.services.watch.run())
        self._stack.push_async_callback(wiring._ended, watching)
        self._client: httpx.AsyncClient | None = None

    def _pause_before_changes_bind(self) -> None:
        """The one courier's last step: what is recorded comes into force."""
        outbox = self.services.ingest.committer._courier._outbox
        finish = outbox.finish

        async def paused(changes: Sequence[Change]) -> None:
            await self.meanwhile()
            await finish(changes)

        outbox.finish = paused  # type: ignore[method-assign]  # no port stands between the record and this

    @property
    def client(self) -> httpx.AsyncClient:
        """Made when it is needed: an app takes longer than an Usher."""
        if self._client is None:
            app: Any = wiring.create_app(self.services)
            self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://usher")
        return self._client

    async def close(self) -> None:
        await self._stack.aclose()

    def end(self) -> None:
        self.run(self.close())
        self._loop.close()

    async def put_person(self, user: str, groups: Sequence[str]) -> None:
        """New, changed or brought back."""
        await self.services.people.add(user, groups, OPERATOR)
        if user not in self.keys:
            self.keys[user] = (await self.services.people.create_key(user, None, None, OPERATOR)).key

    async def deactivate(self, user: str) -> None:
        await self.services.people.deactivate(user, OPERATOR)

    async def apply(self, company: Company) -> None:
        await self.services.policy.apply(PolicySource(company.policy(), {}), OPERATOR)

    async def ingest(self, company: Company, source: str) -> None:
        """Bring the source to exactly the company's documents."""
        root = self.folder / source
        root.mkdir(exist_ok=True)
        for document in company.documents.values():
            if document.deleted:
                (root / document.path).unlink(missing_ok=True)
            else:
                (root / document.path).write_text(document.text)
        rules, acl = self.folder / "rules.yaml", self.folder / "acl.jsonl"
        for file, text in zip((rules, acl), company.shelving(), strict=True):
            file.write_text(text)
        options = IngestOptions(root, source, True, None, rules, acl, allow_mass_delete=True)
        report = [event async for event in self.services.ingest.run(options, OPERATOR)][-1]
        assert report["refused"] == []

    async def grant(self, user: str) -> Grant:
        grant = await self.services.authority.admit(self.keys[user])
        assert grant is not None
        return grant

    async def ask(self, user: str, asked: Asked, place: Place, *, leave: bool = False) -> Told:
        """As a client that streams and, with `leave`, goes away at the first part."""
        self.model.heard.clear()
        told = Told()
        try:
            exchange = await self.services.chat.begin(await self.grant(user), asked, 100, 0.0, place)
        except ChatRefused as refused:
            told.refused = refused.code
            return told
        except UserError as error:
            told.refused = error.field
            return told
        told.id, told.conversation = UUID(exchange.audit_id), exchange.thread.conversation
        told.left_out = exchange.thread.left_out
        async with aclosing(self.services.chat.stream(exchange)) as parts:
            async for part in parts:
                if isinstance(part, Ended):
                    told.outcome = part.outcome
                    break
                told.seen += part
                self.model.heard.set()
                if leave:
                    break
        return told

    async def resend(self, user: str, messages: list[dict[str, str]], conversation: UUID) -> Told:
        """As one of OpenAI's clients, over HTTP."""
        headers = {"authorization": f"Bearer {self.keys[user]}", "x-usher-conversation": str(conversation)}
        body = {"model": "assistant", "messages": messages}
        response = await self.client.post("/v1/chat/completions", json=body, headers=headers)
        if response.status_code != 200:
            return Told(refused=str(response.status_code))
        answer = response.json()
        usher = answer["usher"]
        dropped = re.findall(r"earlier_turns_left_out:(\d+)", " ".join(usher["route"]["reasons"]))
        return Told(
            id=UUID(usher["audit_id"]),
            conversation=UUID(usher["conversation_id"]),
            left_out=int(dropped[0]) if dropped else 0,
            seen=answer["choices"][0]["message"]["content"],
            outcome="answered",
        )

    async def recorded(self, user: str, told: Told) -> str:
        """The answer as the ledger holds it."""
        assert told.id is not None
        subject = await self.services.ledger.subject(user)
        sealed = subject.conversation(str(told.conversation))
        rows = (await self.services.ledger.contents([str(told.id)], dict)).get(str(told.id), ())
        return "".join(sealed.open(row) for row in rows if row.kind == "answer")


@contextmanager
def dialogue_world() -> Iterator[DialogueWorld]:
    """A world without people or documents."""
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
        made = DialogueWorld(Path(folder))
        made.run(made.open())
        try:
            yield made
        finally:
            made.end()
