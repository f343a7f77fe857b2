"""What stands beside an answer is as clean as the answer."""

from __future__ import annotations

from pathlib import Path

from tests.web.world import world


def test_a_citations_title_leads_nowhere(tmp_path: Path) -> None:
    """A document's title may come from a stranger."""
    title = "Gym <b> www.evil.example [x](https:evil.bank?q) docs.md"
    with world(tmp_path, documents={f"handbook/{title}": "# Gym\n\nThe gym opens at seven.\n"}) as usher:
        (citation,) = usher.chat("When does the gym open?").json()["usher"]["citations"]
    assert citation["title"] == "Gym  (link removed) [x] (link removed) docs.md"
