"""Wrapping keys are renewed, and the old ones destroyed: in memory, in the file, and in what is left of the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from usher.backends import keyring_file, known_checkpoint
from usher.backends.keyring import KeyRing, KeyRingError, SealBroken
from usher.backends.known_checkpoint import KnownCheckpoint
from usher.ledger.sealing import RingUnusable

MASTER = bytes(range(32))
WHERE = b"here"


@pytest.mark.parametrize("master", [None, MASTER])
def test_what_was_wrapped_before_opens_until_the_old_keys_are_destroyed(tmp_path: Path, master: bytes | None) -> None:
    """In the ring that did it, and in one that is opened after each step; the other keys stay what they were."""
    ring = KeyRing.create(tmp_path / "home.keys", master)
    signing, lookup, old = ring.public_key, ring.lookup("alice"), ring.wrap(b"k" * 32, WHERE)
    ring.renew(master)
    new = ring.wrap(b"n" * 32, WHERE)
    assert (ring.is_current(old), ring.is_current(new), ring.retired) == (False, True, 1)
    for one in (ring, KeyRing.open(ring.path, master)):
        assert (one.unwrap(old, WHERE), one.unwrap(new, WHERE)) == (b"k" * 32, b"n" * 32)
    ring.destroy_retired(master)
    for one in (ring, KeyRing.open(ring.path, master)):
        assert (one.retired, one.unwrap(new, WHERE), one.is_current(new)) == (0, b"n" * 32, True)
        assert (one.public_key, one.lookup("alice")) == (signing, lookup)
        with pytest.raises(SealBroken):
            one.unwrap(old, WHERE)


def test_of_the_file_before_nothing_is_left(tmp_path: Path) -> None:
    """It is overwritten where it lay, drafts that a kill left are too, and the new one is private."""
    path = tmp_path / "home.keys"
    ring = KeyRing.create(path)
    os.link(path, tmp_path / "same file")
    (tmp_path / "home.keys.99.new").write_bytes(path.read_bytes())
    before = path.read_bytes()
    ring.renew()
    assert {len((tmp_path / "same file").read_bytes()), len(before)} == {len(before)}
    assert before[20:40] not in (tmp_path / "same file").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["home.keys", "same file"]  # noqa: PTH208  # names are what is compared
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_process_may_have_the_number_of_one_that_was_killed(tmp_path: Path) -> None:
    """As all first processes of containers have: what it left keeps no ring from being made."""
    (tmp_path / f"home.keys.{os.getpid()}.new").write_bytes(b"cut off")
    assert KeyRing.create(tmp_path / "home.keys").retired == 0


def test_a_checkpoint_that_is_being_kept_beside_it_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replacing the ring overwrites its own drafts only, and of two that keep a checkpoint each writes its own file."""
    ring, known = KeyRing.create(tmp_path / "home.keys"), KnownCheckpoint(tmp_path / "home.keys")
    write = known_checkpoint._write

    def between(path: Path, note: str) -> None:
        write(path, note)
        if note == "older":
            ring.renew()
            known.keep("another's")

    monkeypatch.setattr(known_checkpoint, "_write", between)
    known.keep("older")
    assert known.read() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home.keys", "home.keys.checkpoint"]


def test_a_ring_behind_a_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    """The link stays a link."""
    (tmp_path / "vault").mkdir()
    KeyRing.create(tmp_path / "vault" / "ring")
    (tmp_path / "home.keys").symlink_to(tmp_path / "vault" / "ring")
    KeyRing.open(tmp_path / "home.keys").renew()
    assert (tmp_path / "home.keys").is_symlink()
    assert KeyRing.open(tmp_path / "vault" / "ring").retired == 1


def test_a_file_that_is_another_by_now_is_left_alone(tmp_path: Path) -> None:
    """Somebody put back an older ring, or another process renewed it: nothing is written over it."""
    ring = KeyRing.create(tmp_path / "home.keys")
    KeyRing.open(ring.path).renew()
    told = ring.path.read_bytes()
    for act in (ring.renew, ring.destroy_retired):
        with pytest.raises(KeyRingError, match="changed while it is in use"):
            act()
    assert (ring.path.read_bytes(), ring.retired) == (told, 0)


@pytest.mark.parametrize("given", [None, bytes(32)])
def test_without_its_master_key_a_ring_is_not_renewed(tmp_path: Path, given: bytes | None) -> None:
    """It would be written open, or under a key that nobody has."""
    ring = KeyRing.create(tmp_path / "home.keys", MASTER)
    told = ring.path.read_bytes()
    with pytest.raises(RingUnusable):
        ring.renew(given)
    assert (ring.path.read_bytes(), ring.retired) == (told, 0)


@pytest.mark.parametrize("step", ["_draft", "_sync_folder"])
def test_a_failing_disk_leaves_a_ring_that_opens_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The old one or the new one, whole; said as an error that quotes no key."""

    def failing(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    ring = KeyRing.create(tmp_path / "home.keys")
    old = ring.wrap(b"k" * 32, WHERE)
    monkeypatch.setattr(keyring_file, step, failing)
    with pytest.raises(KeyRingError, match="No space left"):
        ring.renew()
    stored = KeyRing.open(ring.path)
    assert ring.unwrap(old, WHERE) == stored.unwrap(old, WHERE) == b"k" * 32
    assert stored.unwrap(ring.wrap(b"n" * 32, WHERE), WHERE) == b"n" * 32  # else what is wrapped now would be lost
