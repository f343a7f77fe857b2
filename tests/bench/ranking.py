"""How good the ranking is: the share of questions whose right file is among the first 1, 5 and 10.

    python tests/bench/ranking.py [--cache FILE.npz]

Exact search with numpy over the corpora that `USHER_CORPORA` names (default: `../shared/corpora` beside the project),
through the same chunks, vectors, fusion and late interaction as the service. Every question is asked by each role that
may read an answer, over the files that this role may read. Parameters are tuned on odd question ids only; even ones
check them.
A row "top 10" takes the files of ten passages, the default of a search; the others those of fifty.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from usher.backends.convert import title_of
from usher.backends.embed_onnx import OnnxEmbedder
from usher.core import chunking, fusion, late, lexical
from usher.core.fusion import Found, Hit, SparseVector
from usher.ports import Encoded, TokenVectors

CORPORA = Path(os.environ.get("USHER_CORPORA", Path(__file__).parents[3] / "shared" / "corpora"))
FloatArray = NDArray[np.float32]
Search = Callable[[str, NDArray[np.bool_], int], list[int]]
"""(question, which chunks may be read, k) -> numbers of the best chunks."""


@dataclass(frozen=True)
class Document:
    path: str
    title: str
    text: str


@dataclass(frozen=True)
class Question:
    id: str
    group: str
    text: str
    right: frozenset[str]
    roles: tuple[str, ...]


@dataclass
class Corpus:
    documents: list[Document]
    questions: list[Question]
    readers: Mapping[str, frozenset[str]]
    """Path -> the roles that may read it."""


class Embeddings:
    """The embedder with a memory of what it has embedded, kept in a file where one is named."""

    def __init__(self, embedder: OnnxEmbedder, cache: Path | None) -> None:
        self._embedder, self._cache = embedder, cache
        self._known: dict[str, Encoded] = {}
        if cache and cache.exists():
            stored = np.load(cache)
            tokens = np.split(stored["tokens"], np.cumsum(stored["lengths"])[:-1])
            self._known = dict(zip(stored["keys"].tolist(), map(Encoded, stored["vectors"], tokens), strict=True))
        self.count_tokens = embedder.count_tokens

    def __call__(self, texts: Sequence[str]) -> list[Encoded]:
        keys = [sha256(text.encode()).hexdigest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        self._known.update(zip(new, asyncio.run(self._embedder.encode(list(new.values()))), strict=True))
        if self._cache and new:
            self._save(self._cache)
        return [self._known[key] for key in keys]

    def _save(self, cache: Path) -> None:
        known = self._known.values()
        vectors, tokens = np.stack([one.vector for one in known]), np.concatenate([one.tokens for one in known])
        lengths = [len(one.tokens) for one in known]
        np.savez(cache, keys=list(self._known), vectors=vectors, tokens=tokens, lengths=lengths)


@dataclass
class Index:
    """Every chunk with its vectors, searched exactly; what `Store` backends promise, in numpy."""

    documents: Sequence[Document]
    embed: Embeddings
    paths: list[str] = field(init=False)
    dense: FloatArray = field(init=False)
    tokens: list[TokenVectors] = field(init=False)
    postings: dict[int, tuple[NDArray[np.int64], FloatArray]] = field(init=False)

    def __post_init__(self) -> None:
        self.paths = []
        texts: list[str] = []
        postings: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for document in self.documents:
            for chunk in chunking.split(document.text, self.embed.count_tokens, document.title):
                body = document.text[chunk.start : chunk.end]
                sparse = lexical.document(document.title, chunk.headings, document.path, body)
                for term, weight in zip(sparse.indices, sparse.values, strict=True):
                    postings[term].append((len(texts), weight))
                texts.append(chunking.embed_text(document.title, chunk.headings, body))
                self.paths.append(document.path)
        encoded = self.embed(texts)
        self.dense, self.tokens = np.stack([one.vector for one in encoded]), [one.tokens for one in encoded]
        self.postings = {
            term: (np.array([n for n, _ in held]), np.array([w for _, w in held], dtype=np.float32))
            for term, held in postings.items()
        }

    def find(self, question: str, scope: NDArray[np.bool_]) -> Found:
        """Both lists over the chunks in scope, with every statistic of the scope."""
        cosine = self.dense @ self.embed([question])[0].vector
        bm25, idf, size = np.zeros(len(scope)), {}, int(scope.sum())
        for term in lexical.query(question).indices:
            chunks, weights = self.postings.get(term, (np.array([], dtype=np.int64), np.array([], dtype=np.float32)))
            holding = int(scope[chunks].sum())
            idf[term] = math.log((size - holding + 0.5) / (holding + 0.5) + 1)
            bm25[chunks] += idf[term] * weights
        return Found(_best(cosine, scope), _best(bm25, scope & (bm25 > 0)), idf)


def _best(scores: NDArray[np.floating], scope: NDArray[np.bool_]) -> tuple[Hit, ...]:
    inside = np.flatnonzero(scope)
    order = inside[np.argsort(-scores[inside], kind="stable")][: fusion.OVERFETCH]
    return tuple(Hit(UUID(int=int(n)), float(scores[n])) for n in order)


def searches(index: Index) -> dict[str, Search]:
    """The ranking, the fusion that it starts from, and the halves of that."""

    def fused(found: Found, query: SparseVector, k: int) -> list[int]:
        return [ranked.chunk.int for ranked in fusion.fuse(found, query, k)]

    def by(halves: Callable[[Found], Found]) -> Search:
        return lambda question, scope, k: fused(halves(index.find(question, scope)), lexical.query(question), k)

    def reranked(question: str, scope: NDArray[np.bool_], k: int) -> list[int]:
        found, terms = index.find(question, scope), lexical.query(question)
        tokens = {r.chunk: index.tokens[r.chunk.int] for r in fusion.fuse(found, terms, max(k, late.CANDIDATES))}
        weighed = fusion.fuse(found, terms, len(found.dense) + len(found.sparse), late.LEXICAL)
        asked = index.embed([question])[0].tokens
        return [r.chunk.int for r in late.rerank((r for r in weighed if r.chunk in tokens), asked, tokens)][:k]

    return {
        "cosine": by(lambda found: Found(found.dense, (), found.idf)),
        "BM25": by(lambda found: Found((), found.sparse, found.idf)),
        "fused": by(lambda found: found),
        "late": reranked,
    }


def handbook(folder: Path) -> Corpus:
    with tarfile.open(CORPORA / "handbook.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    readers = {line["path"]: frozenset(line["allowed_roles"]) for line in _lines(CORPORA / "acl_handbook.jsonl")}
    documents = []
    for path in sorted(readers):
        text = (folder / "handbook" / path).read_text(encoding="utf-8")
        documents.append(Document(path, title_of(text, ".md", "", path), text))
    questions = [
        Question(
            line["id"],
            f"{line['style']}, {'odd' if int(line['id'][-3:]) % 2 else 'even'}",
            line["question"],
            frozenset(line["gold_paths"] + line["alt_paths"]),
            tuple(line["allowed_roles"]),
        )
        for line in _lines(CORPORA / "questions_handbook.jsonl")
    ]
    return Corpus(documents, questions, readers)


def squad(folder: Path) -> Corpus:
    """Each passage is a document; only questions that have an answer."""
    with tarfile.open(CORPORA / "qa.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    passages = list(_lines(folder / "qa" / "passages.jsonl"))
    documents = [Document(line["id"], line["title"], line["text"]) for line in passages]
    questions = [
        Question(line["id"], "SQuAD", line["question"], frozenset(line["gold_passage_ids"]), ("all",))
        for line in _lines(folder / "qa" / "questions.jsonl")
        if line["answerable"]
    ]
    return Corpus(documents, questions, {document.path: frozenset(["all"]) for document in documents})


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def places(corpus: Corpus, index: Index, search: Search, k: int) -> dict[str, list[int]]:
    """Group -> for each question and role, how many files stand before the first right one."""
    roles = {role for question in corpus.questions for role in question.roles}
    scopes = {role: np.array([role in corpus.readers[path] for path in index.paths]) for role in roles}
    out: dict[str, list[int]] = defaultdict(list)
    for question in corpus.questions:
        for role in question.roles:
            files = dict.fromkeys(index.paths[n] for n in search(question.text, scopes[role], k))
            out[question.group].append(next((at for at, path in enumerate(files) if path in question.right), k))
    return out


def report(corpus: Corpus, embed: Embeddings) -> None:
    index = Index(corpus.documents, embed)
    embed([question.text for question in corpus.questions])
    print(f"{len(corpus.documents)} documents, {len(index.paths)} chunks")
    rows = [(name, search, 50) for name, search in searches(index).items()]
    for name, search, k in [*rows, ("late, top 10", searches(index)["late"], 10)]:
        for group, found in sorted(places(corpus, index, search, k).items()):
            hits = "  ".join(f"hit@{n} {np.mean([place < n for place in found]):.3f}" for n in (1, 5, 10))
            print(f"{name:14} {group:16} {hits}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="keep embeddings in this file (.npz) for the next run")
    cache = parser.parse_args().cache
    with tempfile.TemporaryDirectory() as folder:
        embed = Embeddings(OnnxEmbedder.load(Path(folder) / "model"), cache)
        for corpus in (handbook(Path(folder)), squad(Path(folder))):
            report(corpus, embed)


if __name__ == "__main__":
    main()
