"""What `make run` starts: a server with the sample company in it, and a short tour once it is ready."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import yaml

from usher.cli_documents import take_in
from usher.cli_output import clean, counts
from usher.cli_road import Refused, request, road
from usher.errors import UserError
from usher.server import serve
from usher.settings import Settings, read_settings

ROOT = Path(__file__).parents[1]
PEOPLE = ("alice", "bob", "carol", "dave")
KEY_IDS = "sample-keys.json"
"""In the data folder: the ids, not the keys, of the last run's keys."""


def main() -> int:
    """Serve until Ctrl-C. The exit code is 1 if the tour could not be given."""
    settings = read_settings()
    if settings.policy is None:
        settings = read_settings(policy=ROOT / "policies" / "sample")
    guide = Guide(settings)
    serve(settings, guide.start, log_level=logging.WARNING)
    return guide.end()


class Guide:
    """The tour, in a thread beside the server, over the roads that everybody takes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread: threading.Thread | None = None
        self._failed = False

    def start(self, url: str) -> None:
        self._thread = threading.Thread(target=self._run, args=(url,), daemon=True)
        self._thread.start()

    def end(self) -> int:
        if self._thread is not None:
            self._thread.join(timeout=2)
        return int(self._failed)

    def _run(self, url: str) -> None:
        try:
            asyncio.run(tour(self._settings, url))
        except httpx.HTTPError:
            return  # the server is stopping
        except (Refused, UserError) as error:
            print(f"usher: {error}", file=sys.stderr)
            self._failed = True
            os.kill(os.getpid(), signal.SIGTERM)


async def tour(settings: Settings, url: str) -> None:
    """Take the documents in, make the keys, and ask one question as two people."""
    report = await take_in(settings, _what_to_take_in(), bar=True)
    for refusal in report["refused"]:
        raise UserError(refusal["path"], refusal["problem"], refusal["remedy"])
    async with road(settings) as client:
        keys = await fresh_keys(client, settings.home / KEY_IDS)
        roles = {user: await _roles(client, key) for user, key in keys.items()}
        say(f"Usher is ready at {url} with the documents of the sample company ({counts(report)}).", "")
        say("Keys, shown this once; each run makes new ones and ends the old:", "")
        say(*(f"  {user:6} {keys[user]}  {roles[user]}" for user in PEOPLE), "")
        showcase = yaml.safe_load((ROOT / "sample" / "questions.yaml").read_text("utf-8"))[0]
        say(f"The same question, asked by {' and '.join(showcase['shown'])}: {showcase['question']}")
        for user in showcase["shown"]:
            say("", f"{user}:", *indented(await answer(client, keys[user], showcase["question"])))
            say("", f"  {curl(url, keys[user], showcase['question'])}")
    say("", "Ctrl-C ends it; the data stays.")


def say(*lines: str) -> None:
    for line in lines:
        print(clean(line), flush=True)


def _what_to_take_in() -> dict[str, Any]:
    sample = ROOT / "sample"
    return {"root": str(sample / "documents"), "source": "sample", "sync": True, "rules": str(sample / "rules.yaml")}


async def fresh_keys(operator: httpx.AsyncClient, remembered: Path) -> dict[str, str]:
    """A new key for each of the four people, who are added if absent; the last run's keys are revoked."""
    known = {person["user"] for person in await request(operator, "GET", "/operator/person")}
    for user in PEOPLE:
        if user not in known:
            await request(operator, "POST", "/operator/person", body={"user": user, "groups": []})
    for old in _ids_in(remembered):
        await request(operator, "POST", "/operator/key/revoke", body={"id": old})
    made = [await request(operator, "POST", "/operator/key", body={"user": user}) for user in PEOPLE]
    _put_ids(remembered, [key["id"] for key in made])
    return {user: key["key"] for user, key in zip(PEOPLE, made, strict=True)}


def _ids_in(file: Path) -> list[str]:
    return list(json.loads(file.read_text())) if file.exists() else []


def _put_ids(file: Path, ids: list[str]) -> None:
    file.write_text(json.dumps(ids))


async def _roles(client: httpx.AsyncClient, key: str) -> str:
    me = await request(client, "GET", "/api/me", key=key)
    return ", ".join(role.removeprefix("role:") for role in me["roles"])


async def answer(client: httpx.AsyncClient, key: str, question: str) -> list[str]:
    """The answer and its sources."""
    told = await request(client, "POST", "/v1/chat/completions", body=body(question), key=key)
    sources = [f"[{cited['n']}] {cited['path']}" for cited in told["usher"]["citations"]]
    return [*told["choices"][0]["message"]["content"].splitlines(), *sources]


def body(question: str) -> dict[str, Any]:
    return {"model": "assistant", "messages": [{"role": "user", "content": question}]}


def curl(url: str, key: str, question: str) -> str:
    """The same request for a shell."""
    sent = shlex.quote(json.dumps(body(question), ensure_ascii=False))
    headers = f"-H 'authorization: Bearer {key}' -H 'content-type: application/json'"
    return f"curl -s {url}/v1/chat/completions {headers} -d {sent}"


def indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"usher: {error}")
