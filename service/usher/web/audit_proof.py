"""`/api/audit/proof` and `/consistency`: that an event is in the log, and that the log still begins as it did, provable
on a machine that has never seen it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from litestar import Router, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, QueryParameter

from usher.audit.proof import Consistency, Proof
from usher.audit.reviewers import Reviewer
from usher.authority import Grant
from usher.errors import UserError
from usher.services import Services
from usher.web.audit import TARGET
from usher.web.auth import OPERATOR, needs
from usher.web.operator_act import OperatorRequest, operator_of
from usher.web.schema import BY_KEY, PROBLEMS, problems
from usher_policy.vocabulary import Action

Size = Annotated[
    int | None,
    QueryParameter(name="size", description="The size of a checkpoint that you hold. Default: that of the newest one"),
]


@dataclass(frozen=True, slots=True)
class EventProof:
    """An inclusion proof of RFC 9162: leaf `index` (from 0) of a tree of `size` leaves, its hash, and `hashes` from it
    up to the root in `checkpoint`, a signed note. Hashes are in hexadecimal. `key` is the note's public key
    (`name+id+base64`); `tlog_proof` is all of it as a C2SP text, for a file.
    """

    number: int
    index: int
    size: int
    leaf_hash: str
    hashes: list[str]
    checkpoint: str
    key: str
    tlog_proof: str

    @classmethod
    def of(cls, proof: Proof) -> Self:
        hashes = [node.hex() for node in proof.hashes]
        leaf = proof.leaf_hash.hex()
        return cls(proof.number, proof.index, proof.size, leaf, hashes, proof.checkpoint, proof.key, proof.text())


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """A consistency proof of RFC 9162: that the first `old` events, which a checkpoint covers that you hold, are the
    beginning of the `size` events of the newest `checkpoint`, by `hashes` in hexadecimal. `witness_request` is all of
    it as a C2SP text, for a file or a witness.
    """

    old: int
    size: int
    hashes: list[str]
    checkpoint: str
    key: str
    witness_request: str

    @classmethod
    def of(cls, made: Consistency) -> Self:
        return cls(made.old, made.size, [n.hex() for n in made.hashes], made.checkpoint, made.key, made.text())


_PROVING = problems(
    {404: "There is no such event, or no checkpoint of that size", 500: "The record contradicts its checkpoint"}
)
_CONSISTENT = problems({404: "The log has fewer events", 500: "The record contradicts its checkpoint"})
Old = Annotated[int, QueryParameter(name="size", description="The size of the checkpoint that you hold")]


@get("/proof/{number:str}", responses={**PROBLEMS, **_PROVING}, summary="Proof that an event is in the audit log")
async def proof(
    services: NamedDependency[Services], reviewer: NamedDependency[Reviewer], number: FromPath[str], size: Size = None
) -> EventProof:
    return EventProof.of(await services.audit.proofs.of(_number(number), size, reviewer))


@get("/consistency", responses={**PROBLEMS, **_CONSISTENT}, summary="Proof that the audit log begins as it did")
async def consistency(
    services: NamedDependency[Services], reviewer: NamedDependency[Reviewer], size: Old
) -> ConsistencyProof:
    return ConsistencyProof.of(await services.audit.proofs.consistency(size, reviewer))


def _number(text: str) -> int:
    """Raises `UserError`."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise UserError("number", "is not an event's number", "give one as `/api/audit/events` lists them")
    return int(text)


def _person(grant: NamedDependency[Grant]) -> Reviewer:
    return Reviewer(grant, grant.credential.kind)


def _operator(request: OperatorRequest) -> Reviewer:
    by = operator_of(request)
    return Reviewer(None, f"{by.kind}:{by.id}")


router = Router(
    "/api/audit",
    route_handlers=[proof, consistency],
    opt={"access": needs(Action.AUDIT_READ, TARGET)},
    dependencies={"reviewer": Provide(_person, sync_to_thread=False)},
    security=BY_KEY,
    tags=["audit"],
)
operator_router = Router(
    "/operator/audit",
    route_handlers=[proof, consistency],
    opt={"access": OPERATOR},
    dependencies={"reviewer": Provide(_operator, sync_to_thread=False)},
    include_in_schema=False,
)
