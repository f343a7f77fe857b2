"""The whole road over a real handbook: leaks, hits, latency, ingest and start, through a real server.

    make bench-spine            (options: --skip-install, --keep FOLDER)

Each of 60 questions is asked by each of 12 roles, by search and by chat, and compared with the access list. The last
line is `RESULT {json}` with every figure by name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
from ranking import Corpus, Question, handbook

from usher.backends.embed_onnx import OnnxEmbedder
from usher.core import chunking

ROOT = Path(__file__).parents[2]
USHER = Path(sys.executable).with_name("usher")
BARE_CHUNKS = 300
"""Chunks that the bare embedder is timed with, half before the ingest and half after it."""


@dataclass
class World:
    """A data folder with the handbook in it, and a key for each role."""

    folder: Path
    corpus: Corpus
    keys: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def usher(self, *words: str) -> Any:
        """What a command of the CLI prints with `--json`."""
        done = subprocess.run([USHER, *words, "--json"], env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"usher {words[0]} failed: {done.stderr}{done.stdout}")
        return json.loads(done.stdout)

    @property
    def environment(self) -> dict[str, str]:
        own = {"USHER_HOME": str(self.folder / "home"), "USHER_POLICY": str(self.folder / "policy.csv")}
        return {**os.environ, **own}

    @property
    def roles(self) -> list[str]:
        return sorted({role for readers in self.corpus.readers.values() for role in readers})

    def write_inputs(self) -> None:
        """The oracle's access list as reader lists, and a policy that knows its roles."""
        rules = [f"p, role:{role}, sys:chat, chat.ask, allow, always" for role in self.roles]
        links = [f"g, user:{role}-person, role:{role}" for role in self.roles]
        (self.folder / "policy.csv").write_text("\n".join([*rules, *links]) + "\n")
        lines = [
            json.dumps({"path": path, "readers": [f"role:{role}" for role in sorted(readers)]})
            for path, readers in self.corpus.readers.items()
        ]
        (self.folder / "acl.jsonl").write_text("\n".join(lines) + "\n")

    @contextmanager
    def server(self) -> Iterator[float]:
        """A server on a free port; gives the seconds from start to ready."""
        began = time.perf_counter()
        process = subprocess.Popen(
            [USHER, "serve", "--port", "0"], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            if not line:
                raise SystemExit("usher serve ended before it was ready: run it by hand to see why")
            self.url = next(word for word in line.split() if word.startswith("http"))
            httpx.get(f"{self.url}/health/ready").raise_for_status()
            yield time.perf_counter() - began
        finally:
            process.terminate()
            process.wait(15)

    def ingest(self) -> tuple[float, dict[str, Any]]:
        began = time.perf_counter()
        acl = str(self.folder / "acl.jsonl")
        report = self.usher("ingest", str(self.folder / "handbook"), "--source", "handbook", "--acl", acl)
        return time.perf_counter() - began, report


def install() -> dict[str, float]:
    """Seconds and MiB of a new environment, made by the project's own command in a copy of the tracked files."""
    with tempfile.TemporaryDirectory() as folder:
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for name in filter(None, files.decode().split("\0")):
            target = Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        began = time.perf_counter()
        subprocess.run(["make", "setup"], cwd=folder, check=True, capture_output=True)
        took = time.perf_counter() - began
        size = subprocess.run(["du", "-sm", f"{folder}/.venv"], capture_output=True, check=True, text=True).stdout
    return {"install_s": round(took, 1), "venv_mib": int(size.split()[0])}


class Bare:
    """The embedder alone, over chunks of the handbook, in this process."""

    def __init__(self, corpus: Corpus, folder: Path) -> None:
        self.embedder = OnnxEmbedder.load(folder / "model")
        texts = [text for document in corpus.documents for text in self._texts(document.title, document.text)]
        step = max(1, len(texts) // BARE_CHUNKS)
        self.sample = texts[::step]

    def _texts(self, title: str, text: str) -> Iterator[str]:
        for chunk in chunking.split(text, self.embedder.count_tokens, title):
            yield chunking.embed_text(title, chunk.headings, text[chunk.start : chunk.end])

    def seconds_per_chunk(self, part: int) -> float:
        """Over one half of the sample; every second chunk, so that both halves are alike."""
        texts = self.sample[part::2]
        began = time.perf_counter()
        asyncio.run(self.embedder.embed(texts))
        return (time.perf_counter() - began) / len(texts)


def ask_all(world: World, client: httpx.Client) -> dict[str, float]:
    """Each question by each role, by search and by chat: leaks anywhere, hits where the role may read an answer."""
    leaks = 0
    places: dict[str, list[int]] = {}
    answered = 0
    for question in world.corpus.questions:
        for role in world.roles:
            headers = {"authorization": f"Bearer {world.keys[role]}"}
            hits = _post(client, f"{world.url}/api/search", {"q": question.text, "k": 50}, headers)["hits"]
            body = {"model": "assistant", "messages": [{"role": "user", "content": question.text}]}
            told = _post(client, f"{world.url}/v1/chat/completions", body, headers)
            cited = [citation["path"] for citation in told["usher"]["citations"]]
            answered += bool(cited)
            shown = [hit["path"] for hit in hits] + cited
            leaks += sum(role not in world.corpus.readers[path] for path in shown)
            if role in question.roles:
                files = list(dict.fromkeys(hit["path"] for hit in hits))
                at = next((n for n, path in enumerate(files) if path in question.right), 99)
                for group in _groups(question):
                    places.setdefault(group, []).append(at)
    return {"leaks": leaks, "chat_answered_share": answered / (60 * len(world.roles)), **_hits(places)}


def prompt_leaks(world: World, admin: Sequence[Mapping[str, Any]], pseudonyms: Mapping[str, str]) -> int:
    """Passages in any recorded retrieval (so in any prompt) that the oracle forbids to whoever asked."""
    paths = {document["id"]: document["path"] for document in admin}
    leaks, after = 0, 0
    while True:
        page = world.usher("audit", "events", "--type", "retrieval", "--limit", "500", "--after", str(after))
        for event in page["events"]:
            role = pseudonyms[event["who"]["pseudonym"]]
            leaks += sum(role not in world.corpus.readers[paths[p["document"]]] for p in event["passages"])
        if page["next"] is None:
            return leaks
        after = page["next"]


def _groups(question: Question) -> list[str]:
    style, half = question.group.split(", ")
    return [style, f"{style}_{half}"]


def _hits(places: Mapping[str, Sequence[int]]) -> dict[str, float]:
    return {
        f"hit{n}_{group}": round(float(np.mean([at < n for at in found])), 4)
        for group, found in sorted(places.items())
        for n in (1, 5)
    }


def _post(client: httpx.Client, url: str, body: object, headers: dict[str, str]) -> Any:
    response = client.post(url, json=body, headers=headers)
    response.raise_for_status()
    return response.json()


def latency(world: World, client: httpx.Client) -> dict[str, float]:
    """One client, one request after the other, the default number of passages, different questions and roles."""
    took = []
    for n in range(600):
        question = world.corpus.questions[n % 60].text
        headers = {"authorization": f"Bearer {world.keys[world.roles[n % len(world.roles)]]}"}
        began = time.perf_counter()
        _post(client, f"{world.url}/api/search", {"q": question}, headers)
        took.append((time.perf_counter() - began) * 1000)
    measured = took[20:]
    return {
        "search_p50_ms": round(median(measured), 2),
        "search_p99_ms": round(float(np.percentile(measured, 99)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skip-install", action="store_true", help="do not time a new environment")
    parser.add_argument("--keep", type=Path, help="use this folder, and keep it: a second run takes in nothing new")
    options = parser.parse_args()
    results: dict[str, float] = {} if options.skip_install else install()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        results |= measure(World(folder, handbook(folder)))
    print("RESULT " + json.dumps(results), flush=True)


def measure(world: World) -> dict[str, float]:
    world.write_inputs()
    for role in world.roles:
        world.keys[role] = world.usher("key", "create", f"{role}-person")["key"]
    bare = Bare(world.corpus, world.folder)
    with world.server(), httpx.Client(timeout=60) as client:
        results = told(ingest_figures(world, bare))
        results |= told(latency(world, client))
        results |= told(ask_all(world, client))
        results["leaks"] += prompt_leaks(world, everything(world, client), who(world, client))
    with world.server() as start_s:
        results["start_s"] = round(start_s, 2)
    verdict = world.usher("audit", "verify")
    print(f"audit verify: {verdict['ok']}, {verdict['size']} events", flush=True)
    return results


def told(figures: dict[str, float]) -> dict[str, float]:
    """The figures, printed as they come: the run takes minutes."""
    print("  ".join(f"{name}={value}" for name, value in figures.items()), flush=True)
    return figures


def ingest_figures(world: World, bare: Bare) -> dict[str, float]:
    before = bare.seconds_per_chunk(0)
    took, report = world.ingest()
    results: dict[str, float] = {"chunks": report["chunks"]}
    if report["chunks"]:
        per_chunk = (before + bare.seconds_per_chunk(1)) / 2
        results["ingest_vs_embedder"] = round(per_chunk / (took / report["chunks"]), 3)
        results["ingest_s"] = round(took, 1)
    again, report = world.ingest()
    assert report["unchanged"] == len(world.corpus.readers), report
    results["reingest_unchanged_s"] = round(again, 2)
    return results


def everything(world: World, client: httpx.Client) -> list[dict[str, Any]]:
    """Every document, as the role that may read all of them lists it."""
    headers = {"authorization": f"Bearer {world.keys['admin']}"}
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = client.get(f"{world.url}/api/documents?limit=500{after}", headers=headers).raise_for_status().json()
        found += page["documents"]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


def who(world: World, client: httpx.Client) -> dict[str, str]:
    """Pseudonym -> role, learned from one search by each role (the log holds no names)."""
    found: dict[str, str] = {}
    for role in world.roles:
        headers = {"authorization": f"Bearer {world.keys[role]}"}
        audit_id = _post(client, f"{world.url}/api/search", {"q": "holiday", "k": 1}, headers)["audit_id"]
        found[audit_id] = role
    by_pseudonym: dict[str, str] = {}
    after = 0
    while True:
        page = world.usher("audit", "events", "--type", "request", "--limit", "500", "--after", str(after))
        for event in page["events"]:
            if event["audit_id"] in found:
                by_pseudonym[event["who"]["pseudonym"]] = found[event["audit_id"]]
        if page["next"] is None:
            return by_pseudonym
        after = page["next"]


if __name__ == "__main__":
    main()
