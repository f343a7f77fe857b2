"""Signed notes, as written and as verified."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from usher.ledger.checkpoint import BadCheckpoint, Checkpoint, key_id, open_note, sign, verifier_key
from usher.ledger.verify.notes import BadNote, key_of, read_note

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
CHECKPOINT = Checkpoint("usher/log", 42, b"r" * 32)


def test_a_checkpoint_is_a_signed_note() -> None:
    """Origin, size and root on three lines, a blank one, and a signature line that leads with the key's id."""
    lines = sign(CHECKPOINT, KEY).split("\n")
    assert lines[:4] == ["usher/log", "42", base64.b64encode(b"r" * 32).decode(), ""]
    name, blob = lines[4].removeprefix("\u2014 ").split(" ")
    assert (name, lines[5:]) == ("usher/log", [""])
    assert base64.b64decode(blob)[:4] == key_id("usher/log", PUBLIC)
    KEY.public_key().verify(base64.b64decode(blob)[4:], "\n".join([*lines[:3], ""]).encode())


def test_the_key_id_is_that_of_the_specification() -> None:
    """The verifier key that C2SP's signed-note page shows has the id that is computed here."""
    example = "example.com/foo+530ba2f3+AYHhNs2Rn7pI6NCxpjIZ6tVX5UGMz2CQVB1SJZ4XJkcO"
    key = base64.b64decode(example.rsplit("+", 1)[1])[1:]
    ident = key_id("example.com/foo", key).hex()
    assert verifier_key("example.com/foo", key) == f"example.com/foo+{ident}+{example.rsplit('+', 1)[1]}"
    assert key_of(verifier_key("example.com/foo", key), "example.com/foo") == key


def test_writer_and_verifier_read_the_note_alike() -> None:
    """Both take the note, also with a second signature and an extension line before it is signed."""
    note = sign(CHECKPOINT, KEY)
    cosigned = note + "\u2014 witness AAAAAAAA\n"
    for text in (note, cosigned):
        assert open_note(text, "usher/log", PUBLIC) == CHECKPOINT
        read = read_note(text, "usher/log", PUBLIC, "it")
        assert (read.size, read.root) == (42, b"r" * 32)


def test_any_changed_character_is_found() -> None:
    """A note with one character changed is accepted by neither reader."""
    note = sign(CHECKPOINT, KEY)
    for position, character in enumerate(note):
        changed = note[:position] + ("A" if character != "A" else "B") + note[position + 1 :]
        with pytest.raises(BadCheckpoint):
            open_note(changed, "usher/log", PUBLIC)
        with pytest.raises(BadNote):
            read_note(changed, "usher/log", PUBLIC, "it")


@pytest.mark.parametrize(
    "key", [b"k" * 32, Ed25519PrivateKey.generate().public_key().public_bytes_raw()], ids=["no key", "a stranger's"]
)
def test_another_key_is_refused(key: bytes) -> None:
    """A note signed by another key is no checkpoint of this log."""
    with pytest.raises(BadCheckpoint):
        open_note(sign(CHECKPOINT, KEY), "usher/log", key)
    with pytest.raises(BadNote):
        read_note(sign(CHECKPOINT, KEY), "usher/log", key, "it")


def test_every_verifier_key_is_read_back() -> None:
    """Base64 has plus signs too: a key is found whatever its bytes are."""
    for number in range(300):
        key = number.to_bytes(2, "big") * 16
        assert key_of(verifier_key("usher/log", key), "usher/log") == key
        assert key_of(verifier_key("usher/log", key), "usher/other") is None
