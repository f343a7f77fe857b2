"""Verifying a ledger: of which file, from where on, and how often it is read."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from usher.ledger.verify.content import Ring
from usher.ledger.verify.file import has_log, opened
from usher.ledger.verify.one_pass import Opener, Pass
from usher.ledger.verify.resume import NotUsable, load
from usher.ledger.verify.verdict import Means, Progress, Verdict


def verify(
    path: Path,
    *,
    ring: Ring | None = None,
    public_key: bytes | None = None,
    held: str | None = None,
    progress: Progress | None = None,
    resume: Path | None = None,
) -> Verdict:
    """Check a `ledger.sqlite` without writing anything: beside a running server, on a copy, in a read-only folder.

    See `Means`. Whatever the bytes are, the answer is a verdict.
    """
    return verify_file(path, Means(ring, public_key, held, progress, resume))


def verify_file(path: Path, means: Means) -> Verdict:
    """The same."""
    quiet = not _in_use(path)
    verdict = verify_opened(partial(opened, path), means)
    if not verdict.ok and quiet and _in_use(path):
        # It was read as a file at rest, and a server has begun to write meanwhile: read it again as one in use.
        return verify_opened(partial(opened, path), means)
    return verdict


def verify_opened(open_ledger: Opener, means: Means) -> Verdict:
    """The same for a ledger anywhere. One that was verified before is gone on with where that stood; where anything is
    then found, all of it is read, so that the first bad event is the first."""
    warnings: list[str] = []
    saved = None
    if means.resume is not None:
        try:
            saved = load(means.resume, means.ring)
        except NotUsable as error:
            warnings.append(f"{means.resume.name}: {error}; verified from the first event on")
    if saved is not None:
        verdict = Pass(means, start=saved).verdict(open_ledger)
        if verdict.ok:
            return verdict
        warnings.append("something is not as it was verified before; verified from the first event on")
    verdict = Pass(means, known=saved).verdict(open_ledger)
    return replace(verdict, warnings=(*warnings, *verdict.warnings))


def _in_use(path: Path) -> bool:
    with suppress(OSError):
        return has_log(path)
    return False
