"""What an evaluation found, and how canaries are looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from usher_lora.attacks import Extracted
from usher_lora.manifest import Gate
from usher_lora.statistics import Floats, exposure
from usher_lora.training_set import Canary, Message, Row


class Says(Protocol):
    """An adapter that can be asked."""

    def losses(self, rows: Sequence[Row]) -> list[Floats]:
        """Of each token of each row's answer."""

    def goes_on(self, rows: Sequence[Row], secrets: Sequence[str]) -> list[str]:
        """What is said where the secret begins in each row's answer, the likeliest words."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A canary in the row that carries it."""

    row: Row
    canary: Canary


class Details(Struct, frozen=True):
    """What is told beside the figures that are judged. `scores`: those of each document, by group and attack;
    `exposure` in bits for each canary; `canaries_inside`: planted in what was learned, and found."""

    seconds: float
    extraction: dict[str, Extracted]
    exposure: dict[str, tuple[float, ...]]
    canaries_inside: tuple[int, int]
    scores: dict[str, dict[str, list[float]]]


class Evaluation(Struct, frozen=True):
    gate: Gate
    details: Details


def summary(result: Evaluation) -> dict[str, Any]:
    """The verdict and the figures that bounds are about, each of the attack that it is worst for."""
    gate = result.gate
    outside, control = gate.measured.outside, gate.measured.control
    return {
        "adapter": gate.adapter,
        "verdict": gate.verdict.outcome.value,
        "reasons": list(gate.verdict.reasons),
        "leak_auc_low": max(one.low for one in outside.attacks),
        "leak_auc_high": min(one.high for one in outside.attacks),
        "leak_auc_interval_width": max(one.high - one.low for one in outside.attacks),
        "canaries_found": outside.canaries_found,
        "control_auc_low": min(one.low for one in control.attacks),
        "control_canaries_found": control.canaries_found,
    }


def found(speaker: Says, planted: Sequence[Planted]) -> int:
    """How many secrets are said, word for word, after the words before them."""
    said = speaker.goes_on([one.row for one in planted], [one.canary.secret for one in planted])
    return sum(one.canary.secret in words for one, words in zip(planted, said, strict=True))


def exposures(speaker: Says, planted: Sequence[Planted]) -> tuple[float, ...]:
    """How many bits of each secret are given away, by its rank among secrets that were planted nowhere."""
    measured = []
    for one in planted:
        others = [other for other in one.canary.references if other != one.canary.secret]
        if others:
            losses = [float(told.sum()) for told in speaker.losses([one.row, *(with_secret(one, s) for s in others)])]
            measured.append(exposure(losses[0], losses[1:]))
    return tuple(measured)


def with_secret(planted: Planted, secret: str) -> Row:
    """The row with another secret in its place."""
    row = planted.row
    answer = row.answer.replace(planted.canary.secret, secret)
    return replace(row, messages=(*row.asked, Message(row.messages[-1].role, answer)))
