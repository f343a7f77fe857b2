"""How erasure is wired: a part of the composition root."""

from __future__ import annotations

from functools import partial

from usher.audit.erasing import Data
from usher.audit.erasure import Erasures
from usher.audit.holds import Holds
from usher.audit.proposals import Proposals
from usher.backends.keyring import KeyRing
from usher.backends.ledger_reads import LedgerReads
from usher.backends.sql import Database
from usher.backends.sql_erasure import SqlErasure
from usher.backends.sql_intake import SqlIntake
from usher.backends.sql_people import SqlDirectory
from usher.ingest import Ingest
from usher.ledger.sequencer import Ledger
from usher.master_key import master_key
from usher.people import People
from usher.settings import Settings


def open_erasures(
    settings: Settings,
    database: Database,
    ring: KeyRing,
    log: LedgerReads,
    ledger: Ledger,
    people: People,
    ingest: Ingest,
    proposals: Proposals,
    holds: Holds,
) -> Erasures:
    """Over everything that holds what somebody said, or a document."""
    directory, intake, erasable = SqlDirectory(database), SqlIntake(database, ring), SqlErasure(database, ring)
    given = partial(master_key, settings)
    return Erasures(proposals, Data(people, directory, ingest, intake, erasable, log, ledger, ring, given), holds)
