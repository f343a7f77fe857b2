"""The README's table of settings is the settings'."""

from __future__ import annotations

from pathlib import Path

from usher.settings import settings_table

README = Path(__file__).parents[2] / "README.md"


def test_the_table_of_settings_is_current() -> None:
    """Between its markers the README has exactly the table that the settings give."""
    told = README.read_text("utf-8").partition("<!-- settings -->")[2].partition("<!-- /settings -->")[0]
    assert told.strip() == settings_table(), "`usher.settings.settings_table()` gives the new one"
