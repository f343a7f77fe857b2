"""Links are no documents: what is taken in lies where it is shelved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.ingest.ingest_kit import House

from usher.backends.folder import RealFolder
from usher.ports import FileRefused


def _refused(report: Mapping[str, Any]) -> set[str]:
    return {item["path"] for item in report["refused"]}


def _found(house: House, user: str) -> set[str]:
    return {path.removeprefix("docs/") for path in house.seen()[user]}


def test_links_are_refused_wherever_they_lead(house: House) -> None:
    """Out of the folder and inside it; files, folders, chains of links, and links that lead nowhere."""
    outside = house.write("secret.md", "word outside", root="")
    house.write("elsewhere/deep.md", "word outside", root="")
    house.write("a.md", "word a")
    house.write(".git/config", "word token")
    links = {
        "out.md": str(outside),
        "chain.md": "out.md",
        "folder": str(house.folder / "elsewhere"),
        "relative.md": "../secret.md",
        "nowhere.md": "absent.md",
        "inside.md": "a.md",
        "hidden.txt": ".git/config",
        "loop": ".",
    }
    for name, target in links.items():
        (house.docs / name).symlink_to(target)
    report = house.take_in(collection="open")
    assert _refused(report) == links.keys()
    assert _found(house, "bob") == {"a.md"}


@pytest.mark.slow
def test_a_link_does_not_take_a_document_to_another_shelf(house: House) -> None:
    """Its text is where its file is; a link put in a document's place withdraws the document."""
    rules = house.rules({"glob": "open/**", "collection": "open"}, {"glob": "hr/**", "collection": "hr"})
    house.write("hr/pay.md", "word salary")
    copy = house.write("open/copy.md", "word a")
    house.take_in(rules=rules)
    assert _found(house, "bob") == {"open/copy.md"}
    copy.unlink()
    copy.symlink_to("../hr/pay.md")
    report = house.take_in(rules=rules)
    assert _refused(report) == {"open/copy.md"}
    assert report["withdrawn"] == 1
    assert _found(house, "bob") == set()
    assert _found(house, "ann") == {"hr/pay.md"}


def test_a_link_that_is_turned_between_listing_and_reading_is_refused(house: House) -> None:
    """What was opened is judged, not what was listed; out of the folder or inside it, a file or a folder above it."""
    outside = house.write("secret.md", "word outside", root="")
    house.write("sub/a.md", "word a")
    house.write("hr/a.md", "word hr")
    folder = RealFolder(house.docs)
    assert [file.path for file in folder.walk()] == ["hr/a.md", "sub/a.md"]
    house.write("a.md", "word outside too", root="")
    (house.docs / "sub").rename(house.docs / "moved")
    for target in (outside.parent, "hr"):
        (house.docs / "sub").symlink_to(target)
        with pytest.raises(FileRefused, match="it is a link"):
            folder.read("sub/a.md", 1000)
        (house.docs / "sub").unlink()
    (house.docs / "sub").mkdir()
    (house.docs / "sub/a.md").symlink_to("../hr/a.md")
    with pytest.raises(FileRefused, match="it is a link"):
        folder.read("sub/a.md", 1000)
