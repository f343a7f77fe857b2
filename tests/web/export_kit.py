"""What the tests of exports share: reviewers of several reaches, and exports taken apart and put together."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from tests.web.chat_kit import QUESTION
from tests.web.world import World

from usher.backends.keyring import KeyRing
from usher.ledger.manifest import sign_manifest
from usher.ledger.verify.export import ExportVerdict, verify_export

PATH = "/api/audit/export"
RIGHTS = (
    *(f"p, role:auditor, sys:audit, audit.{right}, allow, always" for right in ("export", "identify")),
    *(f"p, role:shelf, coll:handbook, audit.{right}, allow, always" for right in ("read", "export")),
    *(f"p, role:most, sys:audit, audit.{right}, allow, always" for right in ("read", "export")),
    "p, role:most, coll:handbook, audit.export, deny, always",
    "g, user:erin, role:shelf",
    "g, user:bob, role:most",
)
"""dave may export all, erin what is about the handbook's documents, bob all but that."""


def something_happens(usher: World) -> str:
    """Exchanges, searches and views, by several; the id of a document that bob was shown."""
    usher.run(usher.apply_also(*RIGHTS))
    document: str = usher.chat(QUESTION).json()["usher"]["citations"][0]["document"]
    usher.search("budget", "alice")
    usher.chat("What is the travel budget?", "alice")
    usher.ask("GET", f"/api/documents/{document}", "carol")
    return document


def public_key(usher: World) -> bytes:
    return KeyRing.open(usher.folder / "home.keys").public_key


def exported(usher: World, who: str = "dave", **query: Any) -> bytes:
    response = usher.ask("GET", PATH, who, params=query)
    assert response.status_code == 200, response.text
    return response.content


def files_in(export: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(export)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def manifest_of(export: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(files_in(export)["manifest.json"])
    return body


def events_of(export: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files_in(export)["events.jsonl"].splitlines()]


def verified(folder: Path, files: dict[str, bytes], key: bytes | None, held: str | None = None) -> ExportVerdict:
    """These files as a ZIP, checked."""
    path = folder / "given.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return verify_export(path, public_key=key, held=held)


def signed_again(usher: World, files: dict[str, bytes], manifest: dict[str, Any]) -> dict[str, bytes]:
    """With another manifest, by whoever has the log's own key."""
    ring = KeyRing.open(usher.folder / "home.keys")
    data = json.dumps(manifest).encode()
    note = sign_manifest(manifest["origin"], data, ring.signing_key).encode()
    return {**files, "manifest.json": data, "manifest.note": note}
