"""How acts that take two people, legal holds and retention are wired: a part of the composition root."""

from __future__ import annotations

from usher.audit.deciders import Deciders
from usher.audit.holds import Holds
from usher.audit.kept import Records
from usher.audit.proposals import Proposals
from usher.audit.retention import RetentionRuns
from usher.audit.review import EventLog
from usher.audit.reviewers import Reviewers
from usher.authority import Authority
from usher.backends.keyring import KeyRing
from usher.backends.sql import Database
from usher.backends.sql_holds import SqlHolds
from usher.backends.sql_proposals import SqlProposals
from usher.backends.sql_retention import SqlRetention
from usher.ledger.sequencer import Ledger
from usher.outbox import Courier
from usher.ports import Directory, Documents


def open_retention(
    database: Database,
    ring: KeyRing,
    log: EventLog,
    ledger: Ledger,
    documents: Documents,
    directory: Directory,
    authority: Authority,
    courier: Courier,
) -> tuple[Proposals, Holds, RetentionRuns]:
    """All over one reading of the log, and the runs inside the gate of the holds."""
    stored, remembered, reviewers = SqlProposals(database, ring), SqlRetention(database), Reviewers(authority, ledger)
    proposals = Proposals(stored, Deciders(authority, directory, ledger), ledger, courier)
    records = Records(log, remembered, documents, authority)
    holds = Holds(SqlHolds(database), stored, proposals, courier, reviewers, records, documents, authority)
    return proposals, holds, RetentionRuns(ledger, authority, records, remembered, holds, reviewers)
