"""How the use cases of policy people are wired: a part of the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from usher.authority import Authority, Clock, utc_now
from usher.backends.keyring import KeyRing
from usher.backends.sql import Database
from usher.backends.sql_changesets import SqlChangesets
from usher.backends.sql_people import SqlDirectory
from usher.backends.sql_policy import SqlPolicies
from usher.chat_road import Roads
from usher.ledger.sequencer import Ledger
from usher.outbox import Courier
from usher.policy.activation import Activation
from usher.policy.acts import Acts
from usher.policy.changesets import Changesets
from usher.policy.editors import Editors
from usher.policy.few_approvers import FewApprovers
from usher.policy.glass import Glass
from usher.policy.history import History
from usher.policy.planner import Planner
from usher.policy.replay import PolicyReplays
from usher.policy.routes import RouteViews
from usher.policy.shadow import Shadow
from usher.policy.views import PolicyViews
from usher.policy_admin import PolicyAdmin
from usher.ports import Embedder
from usher.retrieve import Retrieve
from usher.services import Audit, PolicyServices


def open_acts(
    database: Database,
    ring: KeyRing,
    ledger: Ledger,
    authority: Authority,
    courier: Courier,
    clock: Clock = utc_now,
) -> Acts:
    """What all acts on changesets share."""
    editors = Editors(authority, SqlDirectory(database), ledger)
    planner = Planner(SqlPolicies(database), authority, editors)
    return Acts(SqlChangesets(database, ring), editors, planner, authority, ledger, courier, clock)


def open_approvers_alarm(database: Database, ledger: Ledger, authority: Authority) -> Callable[[str], Awaitable[None]]:
    """What is told of each deactivation."""
    return FewApprovers(authority, Editors(authority, SqlDirectory(database), ledger), ledger).look


def open_policies(
    database: Database,
    ring: KeyRing,
    ledger: Ledger,
    authority: Authority,
    courier: Courier,
    direct: PolicyAdmin,
    audit: Audit,
    retrieve: Retrieve,
    embedder: Embedder,
    shadow: Shadow,
    roads: Roads,
) -> PolicyServices:
    """All over one way of judging, planning and storing."""
    policies, directory = SqlPolicies(database), SqlDirectory(database)
    acts = open_acts(database, ring, ledger, authority, courier)
    changesets, glass = Changesets(acts), Glass(acts, policies)
    return PolicyServices(
        shadow=shadow,
        changesets=changesets,
        activation=Activation(acts, changesets, glass, direct),
        glass=glass,
        history=History(acts),
        views=PolicyViews(acts, directory),
        routes=RouteViews(acts, roads),
        replays=PolicyReplays(acts.found, acts.editors, audit.reading, authority, retrieve, embedder),
    )
