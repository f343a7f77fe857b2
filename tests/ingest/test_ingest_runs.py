"""Run after run over a folder: what goes in, what is left alone, what is moved, and what is taken out."""

from __future__ import annotations

import os
from typing import Any

import pytest
from tests.ingest.faults import How, Killed, Plan
from tests.ingest.ingest_kit import OPERATOR, House, Rooms, run

from usher.errors import UserError
from usher.ingest import IngestOptions

OPEN, HR = {"glob": "open/**", "collection": "open"}, {"glob": "hr/**", "collection": "hr"}


def _counts(report: dict[str, object]) -> dict[str, object]:
    """What a report counts, without the zeros."""
    return {name: count for name, count in report.items() if count and name not in ("event", "refused")}


def test_documents_go_in_under_their_collections(house: House) -> None:
    """Each is found by those alone whom its collection admits, whole."""
    house.write("open/a.md", "# A\n\nword one\n")
    house.write("hr/b.md", "# B\n\nword two\n")
    report = house.take_in(rules=house.rules(OPEN, HR))
    assert _counts(report) == {"added": 2, "chunks": 2, "embedded": 2}
    assert report["refused"] == []
    a, b = frozenset({"# A\n\nword one"}), frozenset({"# B\n\nword two"})
    assert house.seen() == {"ann": {"docs/open/a.md": a, "docs/hr/b.md": b}, "bob": {"docs/open/a.md": a}, "eve": {}}
    house.check_whole()


@pytest.mark.slow
def test_an_unchanged_folder_takes_no_embedding_and_no_event(house: House) -> None:
    """Reading it is all."""
    for n in range(5):
        house.write(f"open/{n}.md", f"word {n}")
    rules = house.rules(OPEN)
    house.take_in(rules=rules)
    before = house.events("document", "label")
    assert _counts(house.take_in(rules=rules)) == {"unchanged": 5}
    assert house.events("document", "label") == before


def test_a_changed_file_replaces_its_chunks(house: House) -> None:
    """The old text is found by nobody, the store holds the new version's chunks only, the others are left alone."""
    house.write("open/a.md", "word before\n\n" + "much more. " * 300)
    house.write("open/b.md", "word b")
    rules = house.rules(OPEN)
    house.take_in(rules=rules)
    house.write("open/a.md", "word after")
    assert _counts(house.take_in(rules=rules)) == {"changed": 1, "unchanged": 1, "chunks": 1, "embedded": 1}
    assert house.seen()["bob"] == {
        "docs/open/a.md": frozenset({"word after"}),
        "docs/open/b.md": frozenset({"word b"}),
    }
    assert len(house.in_store()) == 2
    house.check_whole()


def test_a_changed_access_list_moves_labels_without_embedding(house: House) -> None:
    """Both ways, in one run, each by an event of its own."""
    house.write("a.md", "word a")
    house.write("b.md", "word b")
    house.take_in(acl=house.acl({"a.md": ["user:bob"], "b.md": ["user:eve"]}))
    assert house.seen()["bob"].keys() == {"docs/a.md"}
    report = house.take_in(acl=house.acl({"a.md": ["user:eve"], "b.md": ["role:all"]}))
    assert _counts(report) == {"relabelled": 2}
    seen = house.seen()
    assert seen["bob"].keys() == {"docs/b.md"}
    assert seen["eve"].keys() == {"docs/a.md"}
    assert len(house.events("label")) == 2
    house.check_whole()


@pytest.mark.slow
def test_a_file_whose_text_and_access_both_change_is_put_anew(house: House) -> None:
    """Its text moves with its new label; until then the old text has both labels, by one event."""
    house.write("a.md", "word secret")
    house.take_in(acl=house.acl({"a.md": ["user:ann"]}))
    house.write("a.md", "word published")
    report = house.take_in(acl=house.acl({"a.md": ["role:all"]}))
    assert _counts(report) == {"changed": 1, "chunks": 1, "embedded": 1}
    assert len(house.events("label")) == 1
    assert house.seen()["bob"] == {"docs/a.md": frozenset({"word published"})}


@pytest.mark.slow
def test_a_vanished_file_goes_under_sync_only_and_within_its_source(house: House) -> None:
    """Another source with the same paths keeps its own."""
    for root in ("docs", "other"):
        for n in range(6):
            house.write(f"open/{n}.md", f"word {root} {n}", root=root)
    rules = house.rules(OPEN)
    house.take_in(rules=rules)
    house.take_in(root=house.folder / "other", source="other", rules=rules)
    assert len(house.seen()["bob"]) == 12
    (house.docs / "open/0.md").unlink()
    assert _counts(house.take_in(rules=rules)) == {"unchanged": 5}
    assert len(house.seen()["bob"]) == 12
    assert _counts(house.take_in(rules=rules, sync=True)) == {"unchanged": 5, "deleted": 1}
    assert "docs/open/0.md" not in house.seen()["bob"]
    assert house.seen()["bob"]["other/open/0.md"] == {"word other 0"}
    assert [event["op"] for event in house.events("document")].count("delete") == 1
    house.check_whole()


@pytest.mark.slow
def test_a_document_that_comes_back_goes_in_as_a_new_version(house: House) -> None:
    """Under the same id, so that its past stays its own."""
    file = house.write("open/a.md", "word a")
    for n in range(5):
        house.write(f"open/{n}.md", "word")
    rules = house.rules(OPEN)
    house.take_in(rules=rules)
    file.unlink()
    house.take_in(rules=rules, sync=True)
    house.write("open/a.md", "word a")
    assert _counts(house.take_in(rules=rules)) == {"added": 1, "unchanged": 5, "chunks": 1, "embedded": 1}
    assert house.query("SELECT version FROM document WHERE path = 'open/a.md'") == [(2,)]
    house.check_whole()


@pytest.mark.slow
def test_more_than_a_fifth_vanished_needs_the_word(house: House) -> None:
    """Two of ten go; three of ten need `--allow-mass-delete`, and without it nothing at all is changed."""
    files = [house.write(f"open/{n}.md", f"word {n}") for n in range(10)]
    rules = house.rules(OPEN)
    house.take_in(rules=rules)
    for file in files[:2]:
        file.unlink()
    assert house.take_in(rules=rules, sync=True)["deleted"] == 2
    house.write("open/new.md", "word new")
    for file in files[2:5]:
        file.unlink()
    with pytest.raises(UserError, match=r"lacks 3 of the source's 8 documents.*--allow-mass-delete"):
        house.take_in(rules=rules, sync=True)
    assert len(house.seen()["bob"]) == 8
    report = house.take_in(rules=rules, sync=True, allow_mass_delete=True)
    assert (report["deleted"], report["added"]) == (3, 1)
    house.check_whole()


@pytest.mark.slow
@pytest.mark.parametrize("allowed", [False, True])
def test_an_empty_folder_never_deletes(house: House, allowed: bool) -> None:
    """A mount that is missing looks just like it; files that are no documents do not help."""
    file = house.write("open/a.md", "word a")
    rules = house.rules(OPEN)
    house.take_in(rules=rules)
    file.unlink()
    house.write("image.png", b"png")
    with pytest.raises(UserError, match="holds no document at all"):
        house.take_in(rules=rules, sync=True, allow_mass_delete=allowed)
    assert _counts(house.take_in(rules=rules)) == {"unsupported": 1}
    assert house.seen()["bob"].keys() == {"docs/open/a.md"}


@pytest.mark.slow
def test_a_folder_that_cannot_be_read_never_deletes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root, a folder below it, or no folder at all: refused before anything is touched."""
    house.write("open/a.md", "word a")
    house.write("hr/b.md", "word b")
    rules = house.rules(OPEN, HR)
    house.take_in(rules=rules)
    real = os.scandir
    for closed in (house.docs, house.docs / "hr"):

        def scandir(path: str, closed: str = str(closed)) -> object:
            if str(path) == closed:
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
            house.take_in(rules=rules, sync=True, allow_mass_delete=True)
        monkeypatch.undo()
    (house.docs).rename(house.folder / "elsewhere")
    with pytest.raises(UserError, match="is not a folder"):
        house.take_in(rules=rules, sync=True, allow_mass_delete=True)
    assert house.seen()["ann"].keys() == {"docs/open/a.md", "docs/hr/b.md"}


@pytest.mark.slow
@pytest.mark.parametrize("dropped", ["acl", "rules"])
def test_a_run_without_what_its_source_had_last_time_is_refused(house: House, dropped: str) -> None:
    """Another source may do without; the same one may be given more."""
    house.write("open/a.md", "word a")
    given = {"acl": house.acl({"open/a.md": ["user:eve"]}), "rules": house.rules(OPEN)}
    house.take_in(**given)
    rest = {name: path for name, path in given.items() if name != dropped}
    with pytest.raises(UserError, match=f"{dropped} was given for this source last time"):
        house.take_in(**rest, collection="open")
    house.take_in(**rest, collection="open", source="another")
    house.take_in(**given, collection="open")


@pytest.mark.slow
def test_a_run_that_was_cut_off_binds_the_next_one_all_the_same(house: House) -> None:
    """Else documents would come in under an access list, and be opened by a second run without it."""
    house.write("a.md", "word a")
    acl = house.acl({"a.md": ["user:ann"]})
    plan = Plan(None, How.DEAD_BEFORE, only="store.write")

    async def killed() -> None:
        async with house.open(wrap=plan.wrap) as rooms:
            await rooms.take_in(house.docs, source="docs", acl=acl)

    with pytest.raises(Killed):
        run(killed())
    with pytest.raises(UserError, match="acl was given"):
        house.take_in(collection="open")


@pytest.mark.slow
def test_two_folders_are_two_sources_by_their_real_paths(house: House) -> None:
    """Without `--source` an `index.md` in each does not collide."""
    for root in ("docs", "other"):
        house.write("index.md", f"word {root}", root=root)
        house.take_in(root=house.folder / root, source=None, collection="open")
    (house.folder / "link").symlink_to(house.folder / "other")
    names = {str(house.folder / root) for root in ("docs", "other")}
    assert house.seen()["bob"].keys() == {f"{name}/index.md" for name in names}


@pytest.mark.slow
def test_an_empty_document_goes_in_without_chunks(house: House) -> None:
    """It is listed, found by nobody, and left alone the next time."""
    house.write("empty.md", "")
    assert _counts(house.take_in(collection="open")) == {"added": 1, "empty": 1}
    assert _counts(house.take_in(collection="open")) == {"unchanged": 1}
    house.write("empty.md", "word now")
    assert _counts(house.take_in(collection="open")) == {"changed": 1, "chunks": 1, "embedded": 1}
    house.write("empty.md", "")
    assert _counts(house.take_in(collection="open")) == {"changed": 1, "empty": 1}
    assert house.seen()["bob"] == {}
    house.check_whole()


@pytest.mark.slow
def test_many_documents_go_in_by_batches(house: House) -> None:
    """More than one commit's worth, of one chunk and of many; progress counts to the total."""
    for n in range(150):
        house.write(f"open/{n}.md", f"word {n}\n\n" + ("Sentence after sentence. " * 300 if n % 50 == 0 else ""))

    async def story(rooms: Rooms) -> list[dict[str, Any]]:
        options = IngestOptions(house.docs, "docs", collection="open")
        return [event async for event in rooms.ingest.run(options, OPERATOR)]

    events = house.using(story)
    assert [event["done"] for event in events[:-1]] == list(range(1, 151))
    assert {event["total"] for event in events[:-1]} == {150}
    assert events[-1]["added"] == 150
    assert events[-1]["chunks"] == len(house.in_store())
    house.check_whole()
