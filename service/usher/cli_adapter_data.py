"""`usher adapter plan` and `usher adapter dataset`: which adapters would do, and what one is trained on."""

from __future__ import annotations

import json as jsonlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from usher.cli_adapter import Key, dataset_command
from usher.cli_output import Json, bullets, dump, progress, say, table
from usher.cli_road import Refused, ask_operator, encoded, headers, refused, road, run
from usher.errors import UserError
from usher.settings import Settings, read_settings

PARTS: Final = ("train", "held_out", "others")


def plan(key: Key = None, json: Json = False) -> None:
    """Which adapters would do: for which roles, from what, for how many people, and what they would save. Tokens are
    estimated; a collection that changes fast is left to retrieval."""
    root = "/operator/adapters" if key is None else "/api/adapters"
    told = run(ask_operator(read_settings(), "GET", f"{root}/plan", key=key))
    if json:
        dump(told["plan"])
    elif not told["rows"]:
        say("no role may read any document at all times: there is nothing that an adapter could learn")
    else:
        table([dict(zip(told["header"], row, strict=True)) for row in told["rows"]], told["header"])
        first = told["plan"]["groups"][0]
        if first["learns"]:
            shelves = [shelf["collection"] for shelf in first["learns"] if shelf["collection"]]
            say("the first one's data set:")
            say(f"  {dataset_command({'role': first['roles'][0], 'collections': shelves})}")


def dataset(
    role: Annotated[str, typer.Option(help="The role whose holders the adapter is for, such as role:support.")],
    collection: Annotated[list[str], typer.Option(help="What it learns, such as coll:handbook; again for more.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder that it is written to, which is made.")],
    maker: Annotated[
        list[str] | None, typer.Option(help="structure, model or exchanges; again for more. By default structure.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="What the split is drawn by.")] = 1,
    name: Annotated[str | None, typer.Option(help="The adapter that you have the right to train.")] = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Make a data set of what everybody with a role may read: questions with answers, split by document, personal data
    masked, canaries planted, with a card, a lineage and digests. That it is made is recorded."""
    if out.exists():
        raise UserError("--out", "is there already", "name a folder that is not there yet")
    body = {"role": role, "collections": collection, "makers": maker or ["structure"], "seed": seed, "name": name}
    part = out.with_name(out.name + ".part")
    part.mkdir(mode=0o700, parents=True, exist_ok=False)
    try:
        report = run(_made(body, key, part, bar=not json))
        _sound(part, report["digest"])
        part.rename(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if json:
        dump({**report, "folder": str(out)})
    else:
        _tell(report, out)


async def _made(body: Mapping[str, Any], key: str | None, folder: Path, *, bar: bool) -> dict[str, Any]:
    """The report, once the files are written. Raises `Refused`."""
    path = ("/operator/adapters" if key is None else "/api/adapters") + "/datasets"
    async with (
        road(read_settings()) as client,
        client.stream("POST", path, content=encoded(body), headers=headers(key)) as response,
    ):
        if response.is_error:
            raise refused(await response.aread())
        with progress("documents", wanted=bar) as advance:
            async for line in response.aiter_lines():
                event = jsonlib.loads(line)
                kind = event.pop("event")
                if kind == "error":
                    raise Refused(event)
                if kind == "report":
                    return dict(event)
                if kind == "file":
                    _append(folder, event["name"], event["text"])
                else:
                    advance(event["done"], event["total"])
    raise Refused({"detail": "the server ended before the report; run the command again"})


def _append(folder: Path, name: str, text: str) -> None:
    from usher_lora.training_set import FILES, MANIFEST

    if name not in FILES | {MANIFEST}:
        raise Refused({"detail": "the server sent a file that no data set has"})
    with (folder / name).open("ab") as file:
        file.write(text.encode())


def _sound(folder: Path, digest: str) -> None:
    """What was written is what was made. Raises `UserError`."""
    from usher_lora.faults import AdapterFault
    from usher_lora.training_set import read_training_set

    try:
        same = read_training_set(folder).digest == digest
    except AdapterFault as fault:
        raise UserError(fault.field, fault.problem, fault.remedy) from None
    if not same:
        raise UserError(
            "data set", "was not written as it was made", "look whether the disk is full, then run it again"
        )


def _tell(report: Mapping[str, Any], out: Path) -> None:
    card = report["card"]
    say(f"{out}: " + ", ".join(f"{card[part]['rows']} {part.replace('_', ' ')}" for part in PARTS))
    say(f"  manifest {report['digest']}")
    say(f"  {card['canaries']} canaries; {sum(card['masked']['found'].values())} pieces of personal data masked")
    say(f"  active people with {card['role']}: {report['holders']}")
    say(f"  licences: {_counted(card['licences'])}; markings: {_counted(card['markings'])} (documents)")
    if report["refused_classes"]:
        say(f"  {report['refused_classes']} access classes are left out: one with the role, or you, may not read them")
    say("what rules cannot mask:")
    bullets(card["masked"]["cannot"])
    bullets(note for note in card["notes"] if note.startswith(("there are no", "no document")))
    say("to train on it, write a recipe (adapters/recipes/default.yaml has all that one may say):")
    bullets(recipe(card["role"], out, read_settings()))
    say("then: usher adapter train RECIPE.yaml")


def _counted(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found.items()) or "none"


def recipe(role: str, out: Path, settings: Settings) -> list[str]:
    """The lines of the shortest recipe for this data set: what the settings do not say of the base stands in capitals.
    A JSON string is one in YAML too."""
    name = re.sub(r"[^a-z0-9]+", "-", role.partition(":")[2].lower())[:40].strip("-") or "NAME"
    model, files = settings.model or "MODEL", settings.model_files or "FOLDER"
    return [
        f"name: {name}",
        f"base: {{model: {jsonlib.dumps(model)}, path: {jsonlib.dumps(str(files))}}}",
        f"training_set: {jsonlib.dumps(str(out.absolute()))}",
        f"output: {jsonlib.dumps(str(out.absolute()) + '-trained')}",
    ]


def add_to(group: typer.Typer) -> None:
    """The commands of this file."""
    for command in (plan, dataset):
        group.command(command.__name__)(command)
