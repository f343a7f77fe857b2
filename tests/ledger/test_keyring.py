"""The key ring's file and what its keys do."""

import base64
import json
import os
from pathlib import Path

import pytest

from usher.backends.keyring import KeyRing, KeyRingError, SealBroken, parse_master_key, seal, unseal

MASTER = bytes(range(32))


def test_a_ring_opens_as_it_was_made(tmp_path: Path) -> None:
    """What a new ring wraps, signs and looks up, the opened one unwraps, signs and looks up alike."""
    made = KeyRing.create(tmp_path / "home.keys")
    opened = KeyRing.open(tmp_path / "home.keys")
    assert opened.unwrap(made.wrap(b"k" * 32, b"here"), b"here") == b"k" * 32
    assert opened.lookup("alice") == made.lookup("alice") != made.lookup("bob")
    assert opened.public_key == made.public_key
    assert (tmp_path / "home.keys").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["home.keys"]  # noqa: PTH208  # names are what is compared


def test_nothing_opens_elsewhere_or_changed(tmp_path: Path) -> None:
    """A wrapped key opens with its ring, its associated data and its bytes only."""
    ring, other = KeyRing.create(tmp_path / "a"), KeyRing.create(tmp_path / "b")
    blob = ring.wrap(b"k" * 32, b"here")
    for attempt in (lambda: ring.unwrap(blob, b"there"), lambda: other.unwrap(blob, b"here")):
        with pytest.raises(SealBroken):
            attempt()
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            ring.unwrap(bytes(changed), b"here")
    with pytest.raises(SealBroken):
        ring.unwrap(b"", b"here")


def test_seal_and_unseal_are_inverse() -> None:
    """A sealed value opens under the same key and associated data, and two seals of it differ."""
    first, second = seal(MASTER, b"text", b"aad"), seal(MASTER, b"text", b"aad")
    assert unseal(MASTER, first, b"aad") == unseal(MASTER, second, b"aad") == b"text"
    assert first != second


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_ring_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """Wider permissions than 0600 are refused, with the remedy."""
    path = tmp_path / "home.keys"
    KeyRing.create(path)
    path.chmod(mode)
    with pytest.raises(KeyRingError, match="chmod 600"):
        KeyRing.open(path)


def test_a_ring_is_never_overwritten(tmp_path: Path) -> None:
    """A second ring in the same place is refused, and the first is whole."""
    ring = KeyRing.create(tmp_path / "home.keys")
    with pytest.raises(KeyRingError, match="exists"):
        KeyRing.create(tmp_path / "home.keys")
    assert KeyRing.open(tmp_path / "home.keys").public_key == ring.public_key


def test_a_missing_ring_names_the_remedy(tmp_path: Path) -> None:
    """An absent ring is not made by opening it."""
    with pytest.raises(KeyRingError, match="USHER_KEYRING"):
        KeyRing.open(tmp_path / "home.keys")


def test_a_master_key_seals_the_file(tmp_path: Path) -> None:
    """With a master key no key of the ring stands in its file, and no other opens it."""
    path = tmp_path / "home.keys"
    ring = KeyRing.create(path, MASTER)
    text = path.read_text()
    assert set(json.loads(text)) == {"version", "sealed"}
    assert base64.b64encode(ring.lookup_key).decode() not in text
    assert KeyRing.open(path, MASTER).public_key == ring.public_key
    for wrong in (None, b"x" * 32):
        with pytest.raises(KeyRingError, match=r"sealed|master key"):
            KeyRing.open(path, wrong)


def test_a_master_key_for_a_plain_ring_is_refused(tmp_path: Path) -> None:
    """A ring that was expected to be sealed and is not is noticed."""
    KeyRing.create(tmp_path / "home.keys")
    with pytest.raises(KeyRingError, match="not sealed"):
        KeyRing.open(tmp_path / "home.keys", MASTER)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"version": 1}', '{"version": 1, "sealed": "!"}', "\xff"])
def test_a_damaged_ring_is_refused(tmp_path: Path, text: str) -> None:
    """Any other bytes are an error of the ring's own kind."""
    path = tmp_path / "home.keys"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyRingError):
        KeyRing.open(path)


def test_a_newer_ring_is_refused(tmp_path: Path) -> None:
    """A ring of a later version says so."""
    path = tmp_path / "home.keys"
    KeyRing.create(path)
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(KeyRingError, match="newer"):
        KeyRing.open(path)


def test_master_keys_are_hex_or_base64() -> None:
    """Both spellings of 32 bytes are taken, nothing else."""
    assert parse_master_key(MASTER.hex() + "\n") == parse_master_key(base64.b64encode(MASTER).decode()) == MASTER
    for wrong in ("", "ab", "zz" * 32, MASTER.hex()[:-2]):
        with pytest.raises(KeyRingError):
            parse_master_key(wrong)


def test_keys_do_not_show_in_a_ring_that_is_printed(tmp_path: Path) -> None:
    """The representation of a ring holds no key."""
    ring = KeyRing.create(tmp_path / "home.keys")
    assert repr(ring.lookup_key) not in repr(ring)
    assert not any(repr(key) in repr(ring) for key in ring.wrapping.values())
