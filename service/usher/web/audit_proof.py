"""`/api/audit/proof`: that an event is in the log, provable on a machine that has never seen it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.exceptions import PermissionDeniedException
from litestar.params import FromPath, QueryParameter

from usher.audit.proof import Proof
from usher.authority import Grant
from usher.errors import UserError
from usher.retrieve import who
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


_PROVING = problems(
    {404: "There is no such event, or no checkpoint of that size", 500: "The record contradicts its checkpoint"}
)


@get("/{number:str}", responses={**PROBLEMS, **_PROVING}, summary="Proof that an event is in the audit log")
async def proof(
    services: NamedDependency[Services], grant: NamedDependency[Grant], number: FromPath[str], size: Size = None
) -> EventProof:
    by = who(grant, await services.ledger.pseudonym(grant.credential.user))
    found = await services.proofs.of(_number(number), size, by, grant.credential.kind)
    if not (await services.authority.again(grant)).may(Action.AUDIT_READ, TARGET).allowed:
        raise PermissionDeniedException("You may no longer read the audit log.")
    return EventProof.of(found)


@get("/{number:str}")
async def operator_proof(
    services: NamedDependency[Services], request: OperatorRequest, number: FromPath[str], size: Size = None
) -> EventProof:
    by = operator_of(request)
    return EventProof.of(await services.proofs.of(_number(number), size, None, f"{by.kind}:{by.id}"))


def _number(text: str) -> int:
    """Raises `UserError`."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise UserError("number", "is not an event's number", "give one as `/api/audit/events` lists them")
    return int(text)


router = Router(
    "/api/audit/proof",
    route_handlers=[proof],
    opt={"access": needs(Action.AUDIT_READ, TARGET)},
    security=BY_KEY,
    tags=["audit"],
)
operator_router = Router(
    "/operator/audit/proof", route_handlers=[operator_proof], opt={"access": OPERATOR}, include_in_schema=False
)
