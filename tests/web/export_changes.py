"""Ways to change the files of an export, each of which its verifier must find."""

from __future__ import annotations

import base64
import hashlib
import json

Files = dict[str, bytes]


def lines_of(files: Files, name: str = "events.jsonl") -> list[bytes]:
    return files[name].splitlines(keepends=True)


def with_lines(files: Files, lines: list[bytes], name: str = "events.jsonl") -> Files:
    return {**files, name: b"".join(lines)}


def flip(files: Files) -> Files:
    """A person in one event."""
    return {**files, "events.jsonl": files["events.jsonl"].replace(b'"pseudonym":"', b'"pseudonym":"0', 1)}


def drop(files: Files) -> Files:
    lines = lines_of(files)
    return with_lines(files, lines[:2] + lines[3:])


def drop_last(files: Files) -> Files:
    return with_lines(files, lines_of(files)[:-1])


def double(files: Files) -> Files:
    lines = lines_of(files)
    return with_lines(files, lines[:3] + lines[2:])


def swap(files: Files) -> Files:
    lines = lines_of(files)
    return with_lines(files, [lines[1], lines[0], *lines[2:]])


def renumber(files: Files) -> Files:
    """An event in the place of the one before it, which is not there."""
    event = json.loads(lines_of(files)[0])
    event["number"] -= 1
    return with_lines(files, [json.dumps(event, separators=(",", ":")).encode() + b"\n", *lines_of(files)[1:]])


def invent(files: Files) -> Files:
    """An event of the same form, behind the others."""
    event = json.loads(lines_of(files)[-1])
    event |= {"number": event["number"] + 1, "time": event["time"].replace("Z", "1Z")}
    return with_lines(files, [*lines_of(files), json.dumps(event, separators=(",", ":")).encode() + b"\n"])


def no_event(files: Files) -> Files:
    return with_lines(files, [*lines_of(files)[:4], b"[]\n", *lines_of(files)[5:]])


def torn(files: Files) -> Files:
    return {**files, "events.jsonl": files["events.jsonl"][:-1]}


def said_to_be_cut(files: Files) -> Files:
    """Another event, with the hash of the right one beside it."""
    lines = lines_of(files)
    leaf = hashlib.sha256(b"\x00" + lines[0].removesuffix(b"\n")).hexdigest()
    line = json.dumps({"cut": leaf, "event": {**json.loads(lines[0]), "credential_id": "another"}}).encode() + b"\n"
    return with_lines(files, [line, *lines[1:]])


def proof_less(files: Files) -> Files:
    return with_lines(files, lines_of(files, "proof.txt")[:-1], "proof.txt")


def proof_more(files: Files) -> Files:
    return with_lines(files, [*lines_of(files, "proof.txt"), base64.b64encode(b"x" * 32) + b"\n"], "proof.txt")


def proof_swapped(files: Files) -> Files:
    lines = lines_of(files, "proof.txt")
    return with_lines(files, [lines[1], lines[0], *lines[2:]], "proof.txt")


def proof_garbled(files: Files) -> Files:
    return with_lines(files, [b"x\n", *lines_of(files, "proof.txt")[1:]], "proof.txt")


def cell(files: Files) -> Files:
    """One cell of the table."""
    return {**files, "events.csv": files["events.csv"].replace(b'"bob"', b'"eve"', 1)}


def formula(files: Files) -> Files:
    return {**files, "events.csv": files["events.csv"].replace(b'"bob"', b'"=1+1"', 1)}


def row_less(files: Files) -> Files:
    return with_lines(files, lines_of(files, "events.csv")[:-1], "events.csv")


def row_more(files: Files) -> Files:
    return with_lines(files, [*lines_of(files, "events.csv"), lines_of(files, "events.csv")[-1]], "events.csv")


def header(files: Files) -> Files:
    return {**files, "events.csv": files["events.csv"].replace(b'"pseudonym"', b'"person"', 1)}


def no_table(files: Files) -> Files:
    return {**files, "events.csv": b'"\xff'}


EVENTS = [flip, drop, drop_last, double, swap, renumber, invent, no_event, torn, said_to_be_cut]
PROOF = [proof_less, proof_more, proof_swapped, proof_garbled]
TABLE = [cell, formula, row_less, row_more, header, no_table]
