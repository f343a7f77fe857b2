"""The composition root: the only place that chooses backends and wires them to use cases and surfaces."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from usher.app_adapters import open_adapters, open_learning, took_back
from usher.app_audit import open_audit
from usher.app_chat import open_roads
from usher.app_parts import (
    newest_known,
    open_database,
    open_log,
    open_model,
    open_ring,
    open_sinks,
    open_store,
)
from usher.app_policy import open_approvers_alarm, open_policies
from usher.authority import Authority
from usher.backends import (
    identity_keys,
    sql_adapters,
    sql_cases,
    sql_changesets,
    sql_conversations,
    sql_feedback,
    sql_holds,
    sql_intake,
    sql_people,
    sql_policy,
)
from usher.backends.checkpoint_sink import CheckpointSink
from usher.backends.convert import MEDIA_TYPES, ChildConverter
from usher.backends.embed_onnx import OnnxEmbedder
from usher.backends.folder import RealFolder
from usher.backends.keyring import KeyRing
from usher.backends.ledger_reads import LedgerReads
from usher.backends.policy_files import read_source
from usher.backends.shadow_casbin import CasbinChild
from usher.backends.sql import Database
from usher.backends.sql_conversations import SqlConversations
from usher.backends.sql_documents import SqlDocuments
from usher.backends.sql_feedback import SqlFeedback
from usher.backends.sql_listen import listen
from usher.backends.sql_outbox import SqlOutbox
from usher.backends.sql_tickets import SqlTickets
from usher.chat import Chat
from usher.conversations import Conversations
from usher.core.standing import Actor
from usher.errors import UserError
from usher.feedback import Feedback
from usher.ingest import Ingest
from usher.interrupted import end_interrupted, keep_ending
from usher.ledger.sequencer import Ledger
from usher.library import Library
from usher.limits import Limits
from usher.live import Live
from usher.live_again import Replay
from usher.outbox import Courier
from usher.people import People
from usher.policy.shadow import Shadow
from usher.policy_admin import PolicyAdmin
from usher.ports import Converter, Embedder, Model, Store
from usher.retrieve import Retrieve
from usher.services import CHECKPOINT_SINK, MODEL_SERVERS, SHADOW_CHECK, AdapterServices, Audit, Services
from usher.settings import Settings
from usher.threads import Threads
from usher.tickets import TicketOffice
from usher.uploads import Uploads
from usher.watch import Watch
from usher.web.app import build_app

if TYPE_CHECKING:
    from litestar import Litestar

DATABASE_S = 1.0
"""Seconds in which the metadata database answers a server that is ready: fewer than until barriers deny, so that what
stands before several servers sends nobody to one that will."""

FINISHERS = {
    **identity_keys.FINISHERS,
    **sql_adapters.FINISHERS,
    **sql_cases.FINISHERS,
    **sql_conversations.FINISHERS,
    **sql_feedback.FINISHERS,
    **sql_holds.FINISHERS,
    **sql_intake.FINISHERS,
    **sql_people.FINISHERS,
    **sql_policy.FINISHERS,
    **sql_changesets.FINISHERS,
}


def create_app(services: Services) -> Litestar:
    """What people's clients reach."""
    return build_app(services, operator_too=False)


def create_operator_app(services: Services) -> Litestar:
    """What the CLI reaches over the operator's socket: the same, and the operator's own routes."""
    return build_app(services, operator_too=True)


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Everything, open and recovered; closed in the reverse order at the end.

    The caller owns the data folder. The order matters: the key ring before what it opens, the ledger (which ends what
    a kill cut off) before the outbox is finished, and both before anybody is served.
    """
    async with AsyncExitStack() as stack:
        ring = open_ring(settings)
        embedder = OnnxEmbedder.load(settings.home / "models")
        store = await open_store(settings, embedder)
        stack.push_async_callback(store.close)
        database = open_database(settings)
        stack.callback(database.close)
        log = open_log(settings)
        sinks = open_sinks(settings)
        for sink in sinks:
            stack.push_async_callback(asyncio.to_thread, sink.close)
        ledger = await Ledger.open(log, ring, heard=partial(_tell, sinks), known=newest_known(settings))
        stack.push_async_callback(ledger.close)
        model = open_model(settings, embedder)
        stack.push_async_callback(model.close)
        converter = ChildConverter()
        stack.push_async_callback(converter.close)
        services = await _wired(settings, database, ring, log, ledger, store, embedder, model, converter, sinks)
        watching = asyncio.create_task(services.watch.run())
        stack.push_async_callback(_ended, watching)
        listening = listen(database, services.watch.heard)
        stack.push_async_callback(_ended, asyncio.create_task(listening))
        ending = keep_ending(SqlConversations(database), log)
        stack.push_async_callback(_ended, asyncio.create_task(ending))
        stack.push_async_callback(_ended, asyncio.create_task(services.audit.questions.follower.run()))
        stack.push_async_callback(_ended, asyncio.create_task(services.audit.retention.daily()))
        stack.push_async_callback(_ended, asyncio.create_task(services.policies.shadow.run()))
        stack.push_async_callback(_ended, asyncio.create_task(services.policies.glass.watch()))
        stack.push_async_callback(services.adapters.serving.close)
        stack.push_async_callback(_ended, asyncio.create_task(services.adapters.serving.run()))
        stack.push_async_callback(_ended, asyncio.create_task(services.adapters.integrity.run()))
        yield services


async def _wired(
    settings: Settings,
    database: Database,
    ring: KeyRing,
    log: LedgerReads,
    ledger: Ledger,
    store: Store,
    embedder: Embedder,
    model: Model,
    converter: Converter,
    sinks: Sequence[CheckpointSink] = (),
) -> Services:
    """Use cases over the open parts, with everything finished that an earlier process left half done."""
    courier = Courier(SqlOutbox(database, FINISHERS), ledger, log)
    policies, directory = sql_policy.SqlPolicies(database), sql_people.SqlDirectory(database)
    keys, documents = identity_keys.SqlKeys(database), SqlDocuments(database, ring)
    authority = Authority(identity_keys.SqlIdentity(database), policies)
    intake, limit = sql_intake.SqlIntake(database, ring), settings.max_file_size
    adapters = open_adapters(settings, database, ring, ledger, authority, courier)
    taking_in = partial(Ingest, intake, store, embedder, converter, authority, courier, RealFolder, limit, log.room)
    ingest = taking_in(gone=adapters.upkeep.settle)
    shadow, conversations = Shadow(CasbinChild(), policies, authority, ledger), SqlConversations(database)
    retrieve = Retrieve(authority, ledger, store, embedder, documents, shadow.note)
    threads, watch, limits = Threads(conversations, documents, ledger), Watch(policies), Limits(settings)
    policy, alarm = PolicyAdmin(policies, courier), open_approvers_alarm(database, ledger, authority)
    people = People(directory, keys, identity_keys.make_secret, courier, deactivated=alarm)
    audit = open_audit(settings, database, ring, log, ledger, authority, courier, people, ingest, adapters.upkeep)
    roads = open_roads(database, policies, model, adapters.serving, audit.reading.index)
    chat = Chat(ledger, retrieve, model, threads, watch, limits, roads, noted=shadow.note)
    await _finish(conversations, log, ingest, adapters, audit)
    edits = open_policies(database, ring, ledger, authority, courier, policy, audit, retrieve, embedder, shadow, roads)
    await edits.activation.recover()
    await _first_policy(settings, policies, policy)
    feedback = Feedback(authority, ledger, conversations, threads, SqlFeedback(database), courier, took_back(adapters))
    return Services(
        settings=settings,
        ledger=ledger,
        authority=authority,
        documents=documents,
        keys=keys,
        people=people,
        policy=policy,
        policies=edits,
        adapters=adapters,
        learning=open_learning(database, ring, ledger, authority, threads, model, audit.reading.index.asked_by_role),
        ingest=ingest,
        retrieve=retrieve,
        library=Library(authority, ledger, documents),
        uploads=Uploads(authority, ledger, intake, ingest, MEDIA_TYPES, limit),
        chat=chat,
        live=Live(chat, Replay(authority, ledger, conversations, threads), limits),
        tickets=TicketOffice(SqlTickets(database), authority),
        watch=watch,
        conversations=Conversations(conversations, threads, ledger, authority, courier, limits, feedback),
        feedback=feedback,
        audit=audit,
        limits=limits,
        ready=lambda: _ready(ledger, store, policies, sinks, shadow, adapters),
    )


async def _finish(
    conversations: SqlConversations, log: LedgerReads, ingest: Ingest, adapters: AdapterServices, audit: Audit
) -> None:
    """Whatever an earlier process left half done."""
    await end_interrupted(conversations, log)
    await ingest.recover()
    await adapters.upkeep.recover()
    await audit.erasures.recover()


def _tell(sinks: Sequence[CheckpointSink], note: str) -> None:
    for sink in sinks:
        sink.put(note)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def _first_policy(settings: Settings, policies: sql_policy.SqlPolicies, policy: PolicyAdmin) -> None:
    """Import the policy that the settings name if the database has none yet, and never again."""
    if settings.policy is None or (await policies.versions()).policy:
        return
    try:
        await policy.apply(read_source(settings.policy), Actor("operator", f"uid:{os.getuid()}"), over=0)
    except UserError:
        versions = await policies.versions()
        if not versions.policy and versions.pending_policy is None:
            raise  # else another server, started beside this one, has imported it


async def _ready(
    ledger: Ledger,
    store: Store,
    policies: sql_policy.SqlPolicies,
    sinks: Sequence[CheckpointSink],
    shadow: Shadow,
    adapters: AdapterServices,
) -> dict[str, str]:
    return {
        "ledger": ledger.healthy() or "ok",
        "database": await _state(policies.revision(), DATABASE_S),
        "store": await _state(store.count()),
        SHADOW_CHECK: shadow.state(),
        MODEL_SERVERS: adapters.serving.state(),
        CHECKPOINT_SINK: next((state for sink in sinks if (state := sink.state()) != "ok"), "ok"),
    }


async def _state(asking: Awaitable[object], within: float = 5.0) -> str:
    """ "ok" if the part answers, else what kind of failure it was (the log has the rest)."""
    try:
        async with asyncio.timeout(within):
            await asking
    except Exception as error:
        return f"does not answer ({type(error).__name__})"
    return "ok"
