"""How well follow-up questions find their file: by the fixed rule, written out in full by hand, and as they stand.

    python tests/bench/followups.py [--cache FILE.npz]

30 two-turn questions over the handbook that `USHER_CORPORA` names, searched as `ranking.py` searches, each by a role
that may read the right file. hit5: the file is among the first five; hit1: it is the first. `RESULT {json}` has the
shares over all questions and for each half: the rule was tuned on the first and never on the second, which was written
later, so that is the one to believe. `standing_alone_changed`: how many of the handbook's own questions, all of which
stand alone, the rule changes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from ranking import Embeddings, Index, handbook, searches

from usher.backends.embed_onnx import OnnxEmbedder
from usher.core.followup import in_full

QUESTIONS = Path(__file__).with_name("followups.yaml")
PASSAGES = 50

Files = Callable[[str, str], Iterable[str]]
"""(question, role) -> the paths of the files found for that role, best first, each once."""


@dataclass(frozen=True)
class TwoTurns:
    first: str
    followup: str
    in_full: str
    file: str
    role: str

    def asked(self) -> dict[str, str]:
        """What is searched for, by the figures that it counts for."""
        by_rule = in_full(self.followup, [(self.first, "")])
        return {"standalone": self.in_full, "followup": by_rule, "bare": self.followup}


def halves() -> dict[str, list[TwoTurns]]:
    """The questions; the rule was tuned on `first` only."""
    loaded = yaml.safe_load(QUESTIONS.read_text(encoding="utf-8"))
    return {half: [TwoTurns(**one) for one in lines] for half, lines in loaded.items()}


def measure(files: Files) -> dict[str, float]:
    """The shares of questions whose file is found, over all and by half: `followup_hit5`, `followup_hit5_second` ..."""
    hits: dict[str, list[bool]] = {}
    for half, questions in halves().items():
        for one in questions:
            for way, text in one.asked().items():
                found = list(files(text, one.role))
                for n in (1, 5):
                    hit = one.file in found[:n]
                    hits.setdefault(f"{way}_hit{n}", []).append(hit)
                    hits.setdefault(f"{way}_hit{n}_{half}", []).append(hit)
    return {figure: round(float(np.mean(found)), 4) for figure, found in hits.items()}


def changed(questions: Iterable[str]) -> list[str]:
    """Those of `questions`, which all stand alone, that the rule changes."""
    return [question for question in questions if in_full(question, [("What is the dress code?", "")]) != question]


def by_ranking(index: Index, readers: Mapping[str, frozenset[str]]) -> Files:
    """The service's ranking, exactly, over what each role may read."""
    search = searches(index)["late"]

    def files(question: str, role: str) -> Iterable[str]:
        scope = np.array([role in readers[path] for path in index.paths])
        return dict.fromkeys(index.paths[n] for n in search(question, scope, PASSAGES))

    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="keep embeddings in this file (.npz) for the next run")
    print("RESULT " + json.dumps(shares(parser.parse_args().cache)), flush=True)


def shares(cache: Path | None) -> dict[str, float]:
    """Every figure; embeddings are kept in `cache` if that is given."""
    with tempfile.TemporaryDirectory() as folder:
        embed = Embeddings(OnnxEmbedder.load(Path(folder) / "model"), cache)
        corpus = handbook(Path(folder))
        index = Index(corpus.documents, embed)
        embed([text for half in halves().values() for one in half for text in one.asked().values()])
        files = by_ranking(index, corpus.readers)
        wrongly = changed(question.text for question in corpus.questions)
        return measure(files) | {"standing_alone_changed": len(wrongly)}


if __name__ == "__main__":
    main()
