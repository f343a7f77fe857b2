"""How the reviewers' use cases are wired: a part of the composition root."""

from __future__ import annotations

from functools import partial

from usher.app_parts import open_audit_index
from usher.audit.asking import Asking, Names
from usher.audit.cases import Cases
from usher.audit.deciders import Deciders
from usher.audit.erasing import Data, Learners
from usher.audit.erasure import Erasures
from usher.audit.export import Exports
from usher.audit.grants import Grants
from usher.audit.holds import Holds
from usher.audit.kept import Records
from usher.audit.narrowed import Comparison
from usher.audit.proof import Proofs
from usher.audit.proposals import Proposals
from usher.audit.questions import Questions
from usher.audit.recorded_cases import RecordedCases
from usher.audit.recorded_holds import RecordedHolds
from usher.audit.recorded_rules import RecordedRules
from usher.audit.replay import Reading, Replays, Sources
from usher.audit.report import Reports
from usher.audit.retention import RetentionRuns
from usher.audit.review import Review
from usher.audit.reviewers import Reviewers
from usher.audit.unseal import Unsealing
from usher.authority import Authority
from usher.backends.identity_keys import SqlKeys
from usher.backends.keyring import KeyRing
from usher.backends.ledger_reads import LedgerReads
from usher.backends.sql import Database
from usher.backends.sql_cases import SqlCases
from usher.backends.sql_documents import SqlDocuments
from usher.backends.sql_erasure import SqlErasure
from usher.backends.sql_feedback import SqlFeedback
from usher.backends.sql_holds import SqlHolds
from usher.backends.sql_intake import SqlIntake
from usher.backends.sql_learned import SqlLearned
from usher.backends.sql_names import SqlNames
from usher.backends.sql_people import SqlDirectory
from usher.backends.sql_policy import SqlPolicies
from usher.backends.sql_proposals import SqlProposals
from usher.backends.sql_retention import SqlRetention
from usher.ingest import Ingest
from usher.ledger.sequencer import Ledger
from usher.master_key import master_key
from usher.outbox import Courier
from usher.people import People
from usher.services import Audit
from usher.settings import Settings


def open_audit(
    settings: Settings,
    database: Database,
    ring: KeyRing,
    log: LedgerReads,
    ledger: Ledger,
    authority: Authority,
    courier: Courier,
    people: People,
    ingest: Ingest,
    learners: Learners,
) -> Audit:
    """All over one index and one way of asking; retention and erasure inside the gate of the holds."""
    documents, directory, policies = SqlDocuments(database, ring), SqlDirectory(database), SqlPolicies(database)
    names, feedback = SqlNames(database), SqlFeedback(database)
    reviewers, index = Reviewers(authority, ledger), open_audit_index(settings, log)
    asking = Asking(index, ledger, reviewers, documents)
    naming = Names(asking, names)
    questions = Questions(asking, naming, authority)
    stored, remembered = SqlProposals(database, ring), SqlRetention(database)
    proposals = Proposals(stored, Deciders(authority, directory, ledger), ledger, courier, Grants(log, ledger))
    records = Records(log, remembered, documents, authority)
    learned = SqlLearned(database)
    recorded = RecordedHolds(log, ledger, authority)
    of_holds = (SqlHolds(database), stored, proposals, courier, reviewers, records, documents, learned)
    holds = Holds(*of_holds, authority, recorded)
    rules = RecordedRules(log, ledger, policies)
    cases = RecordedCases(SqlCases(database, ring), log, ledger, courier.recover)
    intake, erasable, given = SqlIntake(database, ring), SqlErasure(database, ring), partial(master_key, settings)
    data = Data(people, directory, ingest, intake, erasable, log, ledger, ring, learners, given)
    sources = Sources(policies, directory, SqlKeys(database), documents)
    return Audit(
        reading=Reading(log, index, asking, naming, sources),
        review=Review(log, asking, naming),
        proofs=Proofs(log, ledger, reviewers),
        proposals=proposals,
        holds=holds,
        erasures=Erasures(proposals, data, holds),
        retention=RetentionRuns(ledger, authority, records, remembered, holds, reviewers, rules),
        questions=questions,
        comparison=Comparison(asking, naming, authority, policies),
        unsealing=Unsealing(asking, naming, feedback),
        replays=Replays(log, index, asking, naming, authority, sources),
        cases=Cases(cases, index, asking, naming, questions, courier),
        exports=Exports(log, ledger, reviewers, names, documents, ring.signing_key),
        reports=Reports(log, index, asking, naming, authority),
    )
