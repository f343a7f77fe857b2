"""What the surfaces call: the use cases and the ports that reads go to, wired by `app.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from usher.adapters.datasets import DataSets
from usher.adapters.integrity import Integrity
from usher.adapters.planning import Planning
from usher.adapters.registry import Registry
from usher.adapters.serving import Serving
from usher.adapters.upkeep import Upkeep
from usher.audit.cases import Cases
from usher.audit.erasure import Erasures
from usher.audit.export import Exports
from usher.audit.holds import Holds
from usher.audit.narrowed import Comparison
from usher.audit.proof import Proofs
from usher.audit.proposals import Proposals
from usher.audit.questions import Questions
from usher.audit.replay import Reading, Replays
from usher.audit.report import Reports
from usher.audit.retention import RetentionRuns
from usher.audit.review import Review
from usher.audit.unseal import Unsealing
from usher.authority import Authority
from usher.chat import Chat
from usher.conversations import Conversations
from usher.feedback import Feedback
from usher.ingest import Ingest
from usher.ledger.sequencer import Ledger
from usher.library import Library
from usher.limits import Limits
from usher.live import Live
from usher.people import People
from usher.policy.activation import Activation
from usher.policy.changesets import Changesets
from usher.policy.glass import Glass
from usher.policy.history import History
from usher.policy.replay import PolicyReplays
from usher.policy.routes import RouteViews
from usher.policy.shadow import Shadow
from usher.policy.views import PolicyViews
from usher.policy_admin import PolicyAdmin
from usher.ports import Documents, Keys
from usher.ports.adapters import AdapterStore, Weights
from usher.retrieve import Retrieve
from usher.settings import Settings
from usher.tickets import TicketOffice
from usher.uploads import Uploads
from usher.watch import Watch

CHECKPOINT_SINK = "checkpoint sink"
SHADOW_CHECK = "shadow check"
MODEL_SERVERS = "model servers"
BESIDE = frozenset({CHECKPOINT_SINK, MODEL_SERVERS, SHADOW_CHECK})
"""Parts that nothing waits for: where one fails, or is off, all is recorded and answered as before."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What reviewers do with the log, and what two people do to it."""

    reading: Reading
    review: Review
    proofs: Proofs
    proposals: Proposals
    holds: Holds
    erasures: Erasures
    retention: RetentionRuns
    questions: Questions
    comparison: Comparison
    unsealing: Unsealing
    replays: Replays
    cases: Cases
    exports: Exports
    reports: Reports


@dataclass(frozen=True, slots=True)
class PolicyServices:
    """What people do to the policy: propose and approve (`changesets`), bring into force (`activation`), act alone for
    a time (`glass`), look back (`history`), look at what it means (`views`), at what it would have meant (`replays`)
    and at how questions would be answered (`routes`); and Casbin, which is asked the same questions (`shadow`)."""

    changesets: Changesets
    activation: Activation
    glass: Glass
    history: History
    views: PolicyViews
    replays: PolicyReplays
    routes: RouteViews
    shadow: Shadow


@dataclass(frozen=True, slots=True)
class AdapterServices:
    """Adapters: who takes them on (`registry`), what keeps that true (`upkeep`), which there are (`store`) and where
    they lie (`weights`); which of them the model servers have (`serving`), and whether their files are what they were
    (`integrity`)."""

    registry: Registry
    upkeep: Upkeep
    store: AdapterStore
    weights: Weights
    serving: Serving
    integrity: Integrity


@dataclass(frozen=True, slots=True)
class Learning:
    """Before an adapter is trained: which would do (`planning`), and what one learns from (`datasets`)."""

    planning: Planning
    datasets: DataSets


@dataclass(frozen=True, slots=True)
class Services:
    """One running Usher. `ready` tells each part's state: "ok", or the reason why it cannot work."""

    settings: Settings
    ledger: Ledger
    authority: Authority
    documents: Documents
    keys: Keys
    people: People
    policy: PolicyAdmin
    policies: PolicyServices
    adapters: AdapterServices
    learning: Learning
    ingest: Ingest
    retrieve: Retrieve
    library: Library
    uploads: Uploads
    chat: Chat
    live: Live
    tickets: TicketOffice
    watch: Watch
    limits: Limits
    conversations: Conversations
    feedback: Feedback
    audit: Audit
    ready: Callable[[], Awaitable[dict[str, str]]]
