"""What somebody does to a log who has its file: one change each, drawn by chance."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.ledger.tamper_kit import HELD, SIZE, STORED, Act, Case, fit_tree, parsed, written

from usher.ledger.checkpoint import Checkpoint, sign, verifier_key
from usher.ledger.record import leaf_hash


def flipped(data: bytes, case: Case) -> bytes:
    place = case.chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << case.chance.randrange(8)]) + data[place + 1 :]


# Stored leaves and events


def flip_event(case: Case) -> None:
    number, event = case.event()
    case.put(number, flipped(event, case), mended=False)


def flip_leaf(case: Case) -> None:
    number, _ = case.event()
    case.run("UPDATE events SET leaf = ? WHERE number = ?", flipped(case.original.rows[number][0], case), number)


def another_time(case: Case) -> None:
    redated(case, mended=False)


def another_time_mended(case: Case) -> None:
    redated(case, mended=True)


def redated(case: Case, *, mended: bool) -> None:
    number, event = case.event()
    year = case.chance.choice([b"19", b"21"])
    case.put(number, event.replace(b'"time":"20', b'"time":"' + year), mended=mended)


def another_person(case: Case) -> None:
    attributed(case, mended=False)


def another_person_mended(case: Case) -> None:
    attributed(case, mended=True)


def attributed(case: Case, *, mended: bool) -> None:
    people = [person for (person,) in case.run("SELECT pseudonym FROM subjects")]
    asked = [n for n, (_, e) in case.original.rows.items() if any(person.encode() in e for person in people)]
    number = case.chance.choice(asked)
    event = case.original.rows[number][1]
    mine = next(person for person in people if person.encode() in event)
    other = case.chance.choice([person for person in people if person != mine])
    case.put(number, event.replace(mine.encode(), other.encode()), mended=mended)


def another_meaning_mended(case: Case) -> None:
    number, event = case.event("decision")
    case.put(number, event.replace(b"abcdef012345", b"%012x" % case.chance.getrandbits(40)), mended=True)


def something_else(case: Case) -> None:
    number, _ = case.event()
    value = case.chance.choice(["{}", "", 7, 1.5, b"", b"[]", b'{"number":1}', b"\xff\xfe", "ü", b'{"number":1e3}'])
    case.run("UPDATE events SET event = ? WHERE number = ?", value, number)


def as_text(case: Case) -> None:
    """The same letters, not as bytes."""
    case.run("UPDATE events SET event = CAST(event AS TEXT) WHERE number = ?", case.event()[0])


# Rows: their order and their number


def remove(case: Case) -> None:
    case.run("DELETE FROM events WHERE number = ?", case.event()[0])


def remove_and_close_up(case: Case) -> None:
    number, _ = case.event()
    case.run("DELETE FROM events WHERE number = ?", number)
    case.run("UPDATE events SET number = -number WHERE number > ?", number)
    case.run("UPDATE events SET number = -number - 1 WHERE number < 0")


def remove_and_number_anew(case: Case) -> None:
    """One that a held checkpoint covers; so below. After it, only what does not fit into its exchange shows."""
    at = case.chance.randrange(max(HELD))
    events = parsed(case)
    written(case, events[:at] + events[at + 1 :], signed=False)


def move(case: Case) -> None:
    """To a number that no event has, be it below the first."""
    where = case.chance.choice([-(2**63), -1, 0, SIZE + 2, 2**40])
    case.run("UPDATE events SET number = ? WHERE number = ?", where, case.event()[0])


def swap(case: Case) -> None:
    first, second = case.chance.sample(range(1, SIZE + 1), 2)
    for old, new in ((first, -1), (second, first), (-1, second)):
        case.run("UPDATE events SET number = ? WHERE number = ?", new, old)


def swap_and_number_anew(case: Case) -> None:
    first, second = sorted(case.chance.sample(range(max(HELD)), 2))
    events = parsed(case)
    events[first], events[second] = (
        events[second] | {"time": events[first]["time"]},
        events[first] | {"time": events[second]["time"]},
    )
    written(case, events, signed=False)


def duplicate(case: Case) -> None:
    source, target = case.chance.sample(range(1, SIZE + 1), 2)
    case.run("DELETE FROM events WHERE number = ?", target)
    case.run("INSERT INTO events SELECT ?, leaf, event FROM events WHERE number = ?", target, source)


def duplicate_and_number_anew(case: Case) -> None:
    at = case.chance.randrange(max(HELD))
    events = parsed(case)
    written(case, [*events[: at + 1], *events[at:]], signed=False)


def append(case: Case) -> None:
    _, event = case.event()
    event = event.replace(b'"number":', b'"number":%d,"was":' % (SIZE + 1), 1)
    case.run("INSERT INTO events VALUES (?, ?, ?)", SIZE + 1, leaf_hash(event), event)


def truncate(case: Case) -> None:
    case.run("DELETE FROM events WHERE number > ?", case.chance.randrange(SIZE))


def truncate_with_tree(case: Case) -> None:
    truncate(case)
    fit_tree(case.connection)


def truncate_with_all_beside(case: Case) -> None:
    """Below the newest held checkpoint, with the later checkpoints and the content."""
    size = case.chance.randrange(max(HELD))
    written(case, parsed(case)[:size], signed=False)
    case.run("DELETE FROM checkpoints WHERE size > ?", size)


def an_older_copy(case: Case) -> None:
    case.connection.deserialize(case.original.older[min(HELD)])


EVENTS: list[Act] = [
    *(flip_event, flip_leaf, another_time, another_time_mended, another_person, another_person_mended),
    *(another_meaning_mended, something_else, as_text, remove, remove_and_close_up, remove_and_number_anew, move, swap),
    *(swap_and_number_anew, duplicate, duplicate_and_number_anew, append, truncate, truncate_with_tree),
    *(truncate_with_all_beside, an_older_copy),
]
"""By somebody without any key."""


# Tree and checkpoints: no event is bad


def tree_edge(case: Case) -> None:
    ((edge,),) = case.run("SELECT edge FROM tree")
    case.run("UPDATE tree SET edge = ?", flipped(edge, case))


def tree_size(case: Case) -> None:
    case.run("UPDATE tree SET size = ?", case.chance.randrange(-2, SIZE))


def tree_gone(case: Case) -> None:
    case.run("DELETE FROM tree")


def tree_twice(case: Case) -> None:
    case.run("INSERT INTO tree SELECT size, edge, mac FROM tree")


def note_changed(case: Case) -> None:
    ident, note = case.chance.choice(case.run("SELECT id, note FROM checkpoints"))
    place = case.chance.randrange(len(note))
    other = "A" if note[place] != "A" else "B"
    case.run("UPDATE checkpoints SET note = ? WHERE id = ?", note[:place] + other + note[place + 1 :], ident)


def note_of_another(case: Case) -> None:
    (one, _), (_, other) = case.chance.sample(case.run("SELECT id, note FROM checkpoints"), 2)
    case.run("UPDATE checkpoints SET note = ? WHERE id = ?", other, one)


def checkpoint_gone(case: Case) -> None:
    case.run("DELETE FROM checkpoints WHERE size = ?", case.chance.choice(HELD))


def checkpoint_twice(case: Case) -> None:
    older = case.chance.choice(STORED[:-1])
    case.run("INSERT INTO checkpoints (size, edge, note, key) SELECT size, edge, note, key FROM checkpoints"
             " WHERE size = ? LIMIT 1", older)  # fmt: skip


def checkpoint_swapped(case: Case) -> None:
    first, second = case.chance.sample(STORED, 2)
    ((one,),) = case.run("SELECT id FROM checkpoints WHERE size = ? LIMIT 1", first)
    ((other,),) = case.run("SELECT id FROM checkpoints WHERE size = ? LIMIT 1", second)
    for old, new in ((one, -1), (other, one), (-1, other)):
        case.run("UPDATE checkpoints SET id = ? WHERE id = ?", new, old)


def checkpoint_edge(case: Case) -> None:
    size = case.chance.choice(STORED[1:])
    ((edge,),) = case.run("SELECT edge FROM checkpoints WHERE size = ? LIMIT 1", size)
    case.run("UPDATE checkpoints SET edge = ? WHERE size = ?", flipped(edge, case), size)


def checkpoint_size(case: Case) -> None:
    size = case.chance.choice(STORED)
    other = case.chance.choice([n for n in range(-2, 40) if n != size])
    case.run("UPDATE checkpoints SET size = ? WHERE size = ?", other, size)


def forged_signature(case: Case, *, with_key: bool) -> None:
    """A checkpoint over another root, by a key of the forger's own."""
    size, key = case.chance.choice(STORED[1:]), Ed25519PrivateKey.generate()
    ((origin,),) = case.run("SELECT origin FROM log")
    note = sign(Checkpoint(origin, size, case.chance.randbytes(32)), key)
    case.run("UPDATE checkpoints SET note = ? WHERE size = ?", note, size)
    if with_key:
        stored = verifier_key(origin, key.public_key().public_bytes_raw())
        case.run("UPDATE checkpoints SET key = ? WHERE size = ?", stored, size)


def note_by_a_stranger(case: Case) -> None:
    forged_signature(case, with_key=False)


def note_and_key_of_a_stranger(case: Case) -> None:
    forged_signature(case, with_key=True)


BESIDE: list[Act] = [
    *(tree_edge, tree_size, tree_gone, tree_twice, note_changed, note_of_another, checkpoint_gone, checkpoint_twice),
    *(checkpoint_swapped, checkpoint_edge, checkpoint_size, note_by_a_stranger, note_and_key_of_a_stranger),
]
