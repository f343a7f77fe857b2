"""What cannot go in: refused alone, by its path and with a remedy, while the others go in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from tests.ingest.faults import Killed, Plan
from tests.ingest.ingest_kit import OPERATOR, House, Rooms

from usher import ingest_take_in
from usher.backends.folder import RealFolder
from usher.backends.ledger_sql import SqlLog
from usher.errors import UserError
from usher.ingest import IngestOptions
from usher.ingest_commit import DiskShort
from usher.ports import BadFile, FileRefused


def _refused(report: Mapping[str, Any]) -> dict[str, str]:
    """Path -> problem, of a report in which each refusal has a remedy."""
    assert all(item["remedy"] for item in report["refused"])
    return {item["path"]: item["problem"] for item in report["refused"]}


def _found(house: House, user: str) -> set[str]:
    return {path.removeprefix("docs/") for path in house.seen()[user]}


@pytest.mark.slow
def test_a_document_with_neither_collection_nor_readers_is_refused(house: House) -> None:
    """It is not public; the ones beside it go in."""
    house.write("open/a.md", "word a")
    house.write("stray.md", "word stray")
    report = house.take_in(rules=house.rules({"glob": "open/**", "collection": "open"}, {"glob": "**", "markings": []}))
    assert _refused(report) == {"stray.md": "it has neither a collection nor readers"}
    assert report["added"] == 1
    assert _found(house, "ann") == {"open/a.md"}


@pytest.mark.slow
def test_an_unknown_role_is_refused_by_name(house: House) -> None:
    """Users and groups need not be known: the policy does not name them all."""
    for name in ("a", "b", "c"):
        house.write(f"{name}.md", f"word {name}")
    report = house.take_in(
        acl=house.acl({"a.md": ["role:hr", "role:nosuch"], "b.md": ["user:new"], "c.md": ["group:new", "role:all"]})
    )
    assert _refused(report) == {"a.md": "the active policy knows no role:nosuch"}
    assert report["added"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("path", ["../out.md", "/etc/passwd", "a/../../out.md", "./a.md", "a//b.md", "a/", ""])
def test_an_access_list_line_outside_the_folder_is_refused(house: House, path: str) -> None:
    """By the path it gives, and nothing of that path is read."""
    house.write("out.md", "word outside", root="")
    house.write("a.md", "word a")
    report = house.take_in(acl=house.acl({path: ["role:all"], "a.md": ["role:all"]}))
    assert path in _refused(report)
    assert report["added"] == 1
    assert _found(house, "bob") == {"a.md"}


@pytest.mark.slow
def test_a_file_over_the_limit_is_refused(house: House) -> None:
    """To the byte."""
    house.write("fits.md", b"x" * 10_000)
    house.write("large.md", b"x" * 10_001)
    report = house.take_in(collection="open")
    assert _refused(report) == {"large.md": "it is larger than 10000 bytes"}
    assert report["added"] == 1


def test_a_file_that_changes_while_it_is_read_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grown, cut short, or rewritten at the same size: none of it is one document."""
    real_fstat = os.fstat
    folder = RealFolder(house.docs)
    for how in ("grown", "cut", "rewritten"):
        house.write("busy.md", "word at rest")
        looks: list[int] = []

        def fstat(descriptor: int, how: str = how, looks: list[int] = looks) -> os.stat_result:
            """The change happens after the first look at the open file."""
            status = real_fstat(descriptor)
            looks.append(descriptor)
            if len(looks) == 1:
                path = house.docs / "busy.md"
                os.truncate(path, {"grown": 50, "cut": 3, "rewritten": 12}[how])
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
            return status

        monkeypatch.setattr(os, "fstat", fstat)
        with pytest.raises(FileRefused, match="changed while it was read"):
            folder.read("busy.md", 1000)
        monkeypatch.undo()
    assert folder.read("busy.md", 1000) == b"word at rest"


@pytest.mark.slow
def test_names_that_cannot_be_kept_are_refused(house: House) -> None:
    """Not UTF-8, with a control character; shown in a form that can be printed."""
    house.write("a.md", "word a")
    (house.docs / os.fsdecode(b"caf\xe9.md")).write_text("word")
    (house.docs / "line\nbreak.md").write_text("word")
    report = house.take_in(collection="open")
    problems = _refused(report)
    assert problems["caf\\udce9.md"] == "its name is not UTF-8"
    assert problems["line\nbreak.md"] == "its path is too long or has a control character"
    assert report["added"] == 1


@pytest.mark.slow
def test_hidden_files_and_other_kinds_are_no_documents(house: House) -> None:
    """Hidden ones are not even counted; others are counted as unsupported, whatever they are."""
    house.write(".git/config.md", "word")
    house.write(".hidden.md", "word")
    house.write("a.MD", "word a")
    house.write("image.png", b"png")
    os.mkfifo(house.docs / "pipe.md")
    (house.docs / "folder.md").mkdir()
    report = house.take_in(collection="open")
    assert (report["added"], report["unsupported"], report["refused"]) == (1, 2, [])


def test_a_document_that_is_now_refused_is_withdrawn_at_once(house: House) -> None:
    """Without `--sync`: by its access list, its size, its text, its being a link; the others stay."""
    paths = ["role.md", "line.md", "large.md", "broken.md", "link.md", "stays.md"]
    for path in paths:
        house.write(path, f"word {path}")
    house.take_in(acl=house.acl({path: ["role:all"] for path in paths}))
    assert _found(house, "bob") == set(paths)
    house.write("large.md", "word " * 5000)
    house.write("broken.md", "BROKEN")
    (house.docs / "link.md").unlink()
    (house.docs / "link.md").symlink_to("/etc/hostname")
    acl = house.acl({path: ["role:nosuch"] if path == "role.md" else ["role:all"] for path in paths})
    acl.write_text(acl.read_text().replace('"line.md", "readers": ["role:all"]', '"line.md", "readers": "role:all"'))
    report = house.take_in(acl=acl)
    assert _refused(report).keys() == set(paths) - {"stays.md"}
    assert (report["withdrawn"], report["unchanged"]) == (5, 1)
    assert _found(house, "bob") == {"stays.md"}
    house.check_whole()


@pytest.mark.slow
def test_what_the_access_list_does_not_name_is_unlisted_and_withdrawn(house: House) -> None:
    """So is a line without a file; neither is a refusal. A collection takes the unlisted in."""
    for name in ("a", "b", "c"):
        house.write(f"{name}.md", f"word {name}")
    report = house.take_in(acl=house.acl({"a.md": ["role:all"], "b.md": ["role:all"], "nofile.md": ["role:all"]}))
    assert (report["added"], report["unlisted"], report["refused"]) == (2, 2, [])
    report = house.take_in(acl=house.acl({"a.md": ["role:all"]}))
    assert (report["withdrawn"], report["unlisted"], report["unchanged"], report["refused"]) == (1, 2, 1, [])
    assert _found(house, "ann") == {"a.md"}
    report = house.take_in(acl=house.acl({"a.md": ["role:all"]}), collection="hr")
    assert (report["added"], report["relabelled"], report["unlisted"]) == (2, 1, 0)
    assert _found(house, "ann") == {"a.md", "b.md", "c.md"}
    assert _found(house, "bob") == set()


@pytest.mark.slow
def test_an_empty_list_of_readers_admits_nobody(house: House) -> None:
    """Beside a collection too: every requirement must be met."""
    house.write("a.md", "word a")
    assert house.take_in(acl=house.acl({"a.md": []}))["added"] == 1
    assert house.take_in(acl=house.acl({"a.md": []}), collection="open")["relabelled"] == 1
    assert all(not documents for documents in house.seen().values())


BAD_OPTIONS: Sequence[tuple[dict[str, Any], str]] = [
    ({"collection": "../hr"}, "collection"),
    ({"collection": ""}, "collection"),
    ({"collection": "open", "source": "x" * 501}, "source"),
    ({"collection": "open", "source": "a\x00b"}, "source"),
    ({"rules": "- {glob: [}"}, "rules.*line 1.*is not YAML"),
    ({"rules": "{glob: x}"}, "rules.*not a list"),
    ({"rules": "- {glob: x, collektion: hr}"}, "unknown key collektion"),
    ({"rules": "- {glob: /hr/**, collection: hr}"}, "glob"),
    ({"rules": "- {glob: hr/**.md, collection: hr}"}, "glob"),
    ({"rules": "- {glob: hr/**, markings: pii}"}, "markings"),
    ({"acl": "{"}, "acl.*line 1.*not JSON"),
    ({"acl": '{"readers": []}'}, "acl.*line 1.*no path"),
    ({"acl": '{"path": "a.md", "readers": []}\n{"path": "a.md", "readers": ["role:all"]}'}, "line 2.*second time"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("options", "problem"), BAD_OPTIONS)
def test_a_run_that_was_told_nonsense_is_refused_whole(house: House, options: dict[str, Any], problem: str) -> None:
    """Before anything is touched: not even read."""
    house.write("a.md", "word a")
    house.take_in(collection="open")
    for name in ("rules", "acl"):
        if name in options:
            options = options | {name: house.write(f"{name}.txt", options[name], root="")}
    with pytest.raises(UserError, match=problem):
        house.take_in(**options)
    assert _found(house, "bob") == {"a.md"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rules", "acl"])
def test_a_file_of_rules_or_readers_that_is_absent_or_not_text_refuses_the_run(house: House, name: str) -> None:
    """Fail closed: no rules is not the same as empty ones."""
    with pytest.raises(UserError, match="cannot be read"):
        house.take_in(**{name: house.folder / "absent"})
    with pytest.raises(UserError, match="not UTF-8"):
        house.take_in(**{name: house.write("bytes", b"\xff\xfe", root="")})


@pytest.mark.slow
def test_a_line_separator_in_a_path_does_not_cut_its_line(house: House) -> None:
    """JSON ends a line with a newline only."""
    path = "a\u2028b\x85.md"
    house.write(path, "word a")
    acl = house.write("acl.jsonl", '{"path": "a\u2028b\x85.md", "readers": ["role:all"]}\n', root="")
    assert house.take_in(acl=acl)["added"] == 1


@pytest.mark.slow
def test_a_second_run_beside_a_first_is_refused(house: House) -> None:
    """And the first goes on."""
    house.write("a.md", "word a")

    async def story(rooms: Rooms) -> dict[str, Any]:
        first = rooms.ingest.run(IngestOptions(house.docs, "docs", collection="open"), OPERATOR)
        event = await anext(first)
        assert event["event"] == "progress"
        with pytest.raises(UserError, match="another run is under way"):
            await rooms.take_in(house.docs, collection="open")
        rest = [event async for event in first]
        report: dict[str, Any] = rest[-1]
        return report

    assert house.using(story)["added"] == 1


@pytest.mark.slow
def test_an_ingest_stops_where_the_reserve_begins(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two batches, with the reason: what is in stays, deletions go on, and with room again so does the rest."""
    monkeypatch.setattr(ingest_take_in, "BATCH_DOCUMENTS", 1)
    house.write("gone.md", "word gone")
    told: dict[str, Any] = {"source": "docs", "collection": "open", "sync": True, "allow_mass_delete": True}

    async def fills_up(rooms: Rooms) -> None:
        async for _ in rooms.ingest.run(IngestOptions(house.docs, **told), OPERATOR):
            cast("SqlLog", rooms.ledger._log)._reserve = 2**62

    async def story(rooms: Rooms) -> None:
        await rooms.take_in(house.docs, **told)
        new = {house.write(f"{n}.md", f"word {n}") for n in range(6)}
        with pytest.raises(DiskShort, match="USHER_DISK_RESERVE"):
            await fills_up(rooms)
        known = (await rooms.seen(house.keys))["bob"].keys()
        waiting = {file for file in new if f"docs/{file.name}" not in known}
        assert 2 <= len(waiting) <= 5
        for file in {*waiting, house.docs / "gone.md"}:
            file.unlink()
        assert (await rooms.take_in(house.docs, **told))["deleted"] == 1
        cast("SqlLog", rooms.ledger._log)._reserve = 0
        for file in waiting:
            house.write(file.name, "word")
        assert (await rooms.take_in(house.docs, **told))["added"] == len(waiting)

    house.using(story)
    house.check_whole()


@pytest.mark.slow
def test_what_goes_wrong_in_a_commit_is_told_as_itself(house: House) -> None:
    """Not as a group of consequences, so that it gets its own status and words."""
    house.write("a.md", "word a")
    plan = Plan(None, only="intake.stage")
    with pytest.raises(Killed, match=r"intake\.stage"):
        house.using(lambda rooms: rooms.take_in(house.docs, collection="open"), wrap=plan.wrap)


def test_a_file_that_vanishes_while_the_folder_is_listed_is_refused_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on."""
    house.write("a.md", "word a")
    gone = house.write("b.md", "word b")
    folder = RealFolder(house.docs)
    listing = folder.walk()
    assert next(listing) is not None
    gone.unlink()
    last = next(listing)
    assert isinstance(last, BadFile)
    assert "cannot be read" in last.problem
