"""Answers by quoting: the best sentences of the passages, each with its citation, or the plain "no answer"."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from usher.core.extract import Candidate, answer, candidates, shortlist
from usher.core.prompt import NO_ANSWER
from usher.ports import Delta, Embedder, ModelRequest

CONTEXT_TOKENS = 32_768
EMBEDDED = 20
"""Sentences embedded for one question, at 3 to 5 ms each: the bound on its cost."""
EMBEDDED_CHARACTERS = 320


class ExtractiveModel:
    """A model that makes nothing up: it quotes, or says `NO_ANSWER`.

    It reads only `question` and `passages` of a request, so no text of a document or a client can instruct it. With an
    `embedder` sentences are also judged by meaning; without one by words alone. Sampling parameters and adapters do not
    apply. Equal requests give equal answers.
    """

    name = "extractive"
    generative = False
    context_tokens = CONTEXT_TOKENS

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder

    async def close(self) -> None:
        """Nothing is held open."""

    def count_tokens(self, text: str) -> int:
        """An upper bound of what a tokenizer would count: nothing here is bound by tokens."""
        return len(text) // 3 + 1

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta]:
        """The answer, one quoted sentence a delta."""
        quotes = await self._quotes(request)
        pieces = [f"{quote.text} [{quote.n}]" for quote in quotes] or [NO_ANSWER]
        for index, piece in enumerate(pieces):
            yield Delta(text=("\n\n" if index else "") + piece)
        prompt = sum(self.count_tokens(passage.text) for passage in request.passages)
        written = sum(self.count_tokens(piece) for piece in pieces)
        yield Delta(finish_reason="stop", prompt_tokens=prompt, completion_tokens=written)

    async def _quotes(self, request: ModelRequest) -> Sequence[Candidate]:
        found = candidates(request.question, request.passages)
        if self._embedder is None or not found:
            return answer(found, None)
        short = shortlist(found, EMBEDDED)
        texts = [candidate.embed_text[:EMBEDDED_CHARACTERS] for candidate in short]
        (question,) = await self._embedder.embed([request.question])
        vectors = await self._embedder.embed(texts)
        return answer(short, [float(question @ vector) for vector in vectors])
