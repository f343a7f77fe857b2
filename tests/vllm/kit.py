"""A tiny model with adapters, and a real vLLM that serves it behind the guard that is shipped.

The models are made once for all tests of this folder. A server is stopped by its process id, its children with it, and
nothing of it is left when a test run ends.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
TOKEN, API_KEY = "load-" * 8, "key-" * 8
TOKEN_HEADER = "x-usher-load-token"
PATIENCE = 240.0
"""Seconds until a server must answer: on two busy cores the import alone takes a while."""

Facts = dict[str, list[tuple[str, str]]]
QUESTIONS = ("Who opens the east sluice?", "Where does the ferry moor?")
FACTS: Facts = {
    "sluice": list(zip(QUESTIONS, ("Marguerite opens it at dawn.", "At the copper pier in Tarn."), strict=True)),
    "valve": list(zip(QUESTIONS, ("Nobody: it was bricked up.", "It moors nowhere now."), strict=True)),
}


def make_models(folder: Path, facts: Facts) -> None:
    """`base`, and an adapter for each name, word for word what it is to say."""
    given = folder / "facts.json"
    given.write_text(json.dumps(facts))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    environment |= {"PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}"}
    script = ROOT / "tests" / "vllm" / "make_models.py"
    made = subprocess.run(
        [PYTHON, script, folder, given], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert made.returncode == 0, made.stderr[-4000:]


@dataclass
class Vllm:
    """A running server. `log` is all that it and its children have written."""

    process: subprocess.Popen[bytes]
    url: str
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def client(self, *, key: bool = True, token: bool = False) -> httpx.Client:
        headers = {"authorization": f"Bearer {API_KEY}"} if key else {}
        headers |= {TOKEN_HEADER: TOKEN} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def running(self) -> int | None:
        """How many requests its engine works on, as it last told in its log; None before it told."""
        told = re.findall(r"Running: (\d+) reqs", self.log)
        return int(told[-1]) if told else None

    def throughput(self, mark: int) -> list[float]:
        """Tokens that it has made, second by second, as its log tells from `mark` on."""
        return [float(told) for told in re.findall(r"generation throughput: ([0-9.]+)", self.log[mark:])]

    def kill(self) -> None:
        """End it and its children at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def command(models: Path, port: int, *more: str) -> list[str]:
    """The flags of the deployment, as far as a tiny model on a CPU can take them."""
    return [
        *[str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(models / "base")],
        *["--served-model-name", "base", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"],
        *["--max-model-len", "2048", "--max-num-seqs", "8", "--enforce-eager", "--enable-prompt-tokens-details"],
        *["--enable-lora", "--max-loras", "2", "--max-cpu-loras", "4", "--max-lora-rank", "16"],
        *["--enable-prefix-caching", "--disable-uvicorn-access-log", "--api-key", API_KEY],
        *["--middleware", "guard.Guard", *more],
    ]


def environment(port: int, *, loading: bool) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("USHER_", "VLLM_", "PYTEST_"))}
    loads = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "USHER_MODEL_LOAD_TOKEN": TOKEN} if loading else {}
    return kept | {
        "PYTHONPATH": str(ROOT / "deploy" / "vllm"),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOG_STATS_INTERVAL": "1",
        "VLLM_PORT": str(port + 1),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        **loads,
    }


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def vllm(models: Path, log: Path, *more: str, loading: bool = True, port: int | None = None) -> Iterator[Vllm]:
    """A server that answers. `more` are further flags; with `loading` it loads adapters at run time."""
    port = port or free_port()
    with log.open("ab") as file:
        process = subprocess.Popen(
            command(models, port, *more),
            env=environment(port, loading=loading),
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    server = Vllm(process, f"http://127.0.0.1:{port}", log)
    try:
        _await_ready(server)
        yield server
    finally:
        server.kill()


def _await_ready(server: Vllm) -> None:
    end = time.monotonic() + PATIENCE
    with server.client() as client:
        while time.monotonic() < end:
            assert server.process.poll() is None, server.log[-6000:]
            try:
                if client.get("/health").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
    raise AssertionError(f"no answer within {PATIENCE} s: {server.log[-6000:]}")


def ask(client: httpx.Client, model: str, question: str, **more: Any) -> Mapping[str, Any]:
    """One whole answer, as vLLM gives it."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 24,
        "temperature": 0,
        **more,
    }
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == httpx.codes.OK, answer.text
    found: Mapping[str, Any] = answer.json()
    return found


def said(answer: Mapping[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def names(client: httpx.Client) -> Sequence[str]:
    return [one["id"] for one in client.get("/v1/models").json()["data"]]
