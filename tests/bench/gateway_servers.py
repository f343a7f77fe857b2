"""The processes that the gateway's bench compares: the model server, Usher, and LiteLLM's proxy."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gateway_adapter
import httpx
from gateway_load import Target
from revocations import operator

ROOT = Path(__file__).parents[2]
USHER = Path(sys.executable).with_name("usher")
LITELLM = "litellm[proxy]==1.106.2"
PEOPLE = 16
RULES = """\
p, role:staff, sys:chat, chat.ask, allow, always
p, role:staff, coll:docs, document.read, allow, always
g, group:staff, role:staff
"""
TOKEN = "bench-" + "t" * 32


@contextmanager
def upstream() -> Iterator[Target]:
    """The model server, bare."""
    command = [sys.executable, str(Path(__file__).with_name("gateway_upstream.py"))]
    with _process(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Target("upstream", int(process.stdout.readline()), "base", ["none"], [process.pid])


def set_pace(model: Target, seconds: float, *, leading: bool) -> None:
    url = f"http://127.0.0.1:{model.port}/pace?seconds={seconds}&leading={int(leading)}"
    httpx.put(url).raise_for_status()


@contextmanager
def usher(
    folder: Path, model: Target, *more: Target, adapter: bool, files: Sequence[Mapping[str, bytes] | None] = (None,)
) -> Iterator[Target]:
    """`usher serve` as it is, with its policy, its ledger on disk and a person for each client. With `adapter` every
    question is answered by one, which all of the model servers load (one for each of `files`, people take turns with
    them); else by the base model from passages that were retrieved."""
    names = [gateway_adapter.NAME, *(f"{gateway_adapter.NAME}{n}" for n in range(1, len(files)))]
    people = [f"person{number}" for number in range(max(PEOPLE, len(names)))]
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "budget.md").write_text("# Budget\n\nThe budget of the year is four million euros.\n")
    (folder / "policy").mkdir()
    (folder / "policy" / "policy.csv").write_text(RULES + gateway_adapter.rules(names, people))
    if adapter:
        (folder / "policy" / "routing.yaml").write_text(gateway_adapter.routing(names))
    own = {
        "HOME": str(folder / "home"),
        "POLICY": str(folder / "policy"),
        "PORT": "0",
        "MODEL_URL": f"http://127.0.0.1:{model.port}/v1",
        "MODEL": gateway_adapter.BASE,
        "MODEL_LOAD_TOKEN": TOKEN,
        "MODEL_SERVERS": ",".join(f"http://127.0.0.1:{one.port}/v1" for one in (model, *more)),
    }
    environment = {**os.environ, **{f"USHER_{name}": value for name, value in own.items()}}

    def command(*words: str) -> Any:
        done = subprocess.run([USHER, *words, "--json"], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"usher {' '.join(words[:2])} failed: {done.stderr}{done.stdout}")
        return json.loads(done.stdout)

    command("ingest", str(folder / "docs"), "--collection", "docs")
    with (
        (folder / "log").open("wb") as log,
        _process([USHER, "serve", "--json"], env=environment, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        keys = asyncio.run(_keys(folder, people))
        for name, held in zip(names if adapter else (), files, strict=False):
            asyncio.run(new_adapter(folder, url, (model, *more), held, name))
        yield Target(
            "usher" if adapter else "usher_retrieve", int(url.rpartition(":")[2]), "assistant", keys, [process.pid]
        )


async def _keys(folder: Path, people: Sequence[str]) -> list[str]:
    """Theirs, once each is in the directory."""
    keys = []
    async with operator(folder) as ask:
        for person in people:
            await ask("/operator/person", {"user": person, "groups": ["staff"]})
            keys.append((await ask("/operator/key", {"user": person}))["key"])
    return keys


async def new_adapter(
    folder: Path,
    url: str,
    models: Sequence[Target],
    files: Mapping[str, bytes] | None = None,
    named: str = gateway_adapter.NAME,
) -> tuple[str, str]:
    """One is published, and loaded by the model servers: its id and its served name."""
    async with operator(folder) as ask, httpx.AsyncClient() as client:
        await ask("/operator/person", {"user": "lead", "groups": []})
        key = (await ask("/operator/key", {"user": "lead"}))["key"]

        async def approve(ident: str, digest: str) -> None:
            headers = {"authorization": f"Bearer {key}"}
            path = f"{url}/api/adapters/{ident}/approve"
            (await client.post(path, json={"digest": digest}, headers=headers)).raise_for_status()

        ident, name = await gateway_adapter.published(folder, ask, approve, files, named)
        for _ in range(1_000):
            if all([name in await loaded(client, model) for model in models]):
                return ident, name
            await asyncio.sleep(0.01)
    raise SystemExit("the adapter was not loaded within ten seconds")


async def loaded(client: httpx.AsyncClient, model: Target) -> set[str]:
    """The names that a model server has."""
    return {one["id"] for one in (await client.get(f"http://127.0.0.1:{model.port}/v1/models")).json()["data"]}


@contextmanager
def litellm(environment: Path, folder: Path, model: Target) -> Iterator[Target]:
    """LiteLLM's proxy with one worker, no database and a key, in an environment of its own."""
    _installed(environment)
    folder.mkdir()
    key, port = "sk-" + secrets.token_hex(32), _free_port()
    where = {
        "model": f"openai/{gateway_adapter.BASE}",
        "api_base": f"http://127.0.0.1:{model.port}/v1",
        "api_key": "none",
    }
    config = {
        "model_list": [{"model_name": "assistant", "litellm_params": where}],
        "litellm_settings": {"telemetry": False},
        "general_settings": {"master_key": key},
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    words = ["--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    with (
        (folder / "log").open("wb") as log,
        _process(
            [environment / "bin" / "litellm", *words], env={**os.environ, **quiet}, stdout=log, stderr=log, cwd=folder
        ) as process,
    ):
        target = Target("litellm", port, "assistant", [key], [process.pid])
        _await_health(f"http://127.0.0.1:{port}/health/liveliness", process, folder / "log")
        yield target


def _installed(environment: Path) -> None:
    if (environment / "bin" / "litellm").exists():
        return
    print(f"Making LiteLLM's environment in {environment}: about a minute.", flush=True)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, LITELLM], check=True)


def _await_health(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(url).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise SystemExit(f"LiteLLM's proxy did not start: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _process(command: list[Any], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
