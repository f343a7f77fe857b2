"""`usher adapter …`: adapters taken on by two people, published, and stopped."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from usher.cli_output import Json, bullets, dump, say, table
from usher.cli_road import ask_operator, key_of, run
from usher.errors import UserError
from usher.settings import read_settings

adapter = typer.Typer(
    help="LoRA adapters: from documents to one that answers, and what stops it.",
    epilog="From documents to answers: plan, dataset, train, evaluate, register, gate, approve (somebody else's), "
    "publish; each says what comes next. Then `servers` tells which model servers have it, and "
    "routing.yaml, beside the policy's rule file, which questions it answers: see `usher route explain`.",
    no_args_is_help=True,
)

Key = Annotated[
    str | None,
    typer.Option("--key", envvar="USHER_KEY", help="The key to act with; without one, the operator.", show_envvar=True),
]
Own = Annotated[str | None, typer.Option("--key", envvar="USHER_KEY", help="The key to act with.", show_envvar=True)]
Named = Annotated[str, typer.Argument(metavar="ADAPTER", help="Its name, as `usher adapter list` shows it.")]
COLUMNS = ("name", "state", "gate", "author", "approved_by", "alarm", "stale")


def register(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What a training wrote.")],
    key: Key = None,
    json: Json = False,
) -> None:
    """Look through what a training wrote, copy its weights, and register it as a draft. With a key, that person is its
    author, who never approves it."""
    root = "/operator/adapters" if key is None else "/operator/authored-adapters"
    settings = read_settings()
    _tell(run(ask_operator(settings, "POST", root, body={"folder": str(folder.absolute())}, key=key)), json)


def list_adapters(key: Key = None, json: Json = False) -> None:
    """The adapters that you may decide on, the newest first, and how to train anew what learned what has gone."""
    found = _ask("GET", "", key)
    if json:
        dump(found)
        return
    table(found["adapters"], COLUMNS)
    for one in found["adapters"]:
        if one["name"] in found["to_train_anew"]:
            _tell_anew(one)


def show(adapter: Named, key: Key = None, json: Json = False) -> None:
    """One adapter: what it is, what the gate found, what it learned."""
    found = _ask("GET", f"/{adapter}", key)
    if json:
        dump(found)
        return
    _tell(found["adapter"], json)
    if made := found["adapter"]["made_for"]:
        say(f"made for {made['role']}, from {', '.join(made['collections'])}")
    learned = found["lineage"]
    say(f"learned {learned['documents']} document(s) of the access classes {learned['access_classes']}")
    bullets(f"from {parent}" for parent in learned["parents"])


def gate(
    adapter: Named,
    file: Annotated[Path, typer.Argument(metavar="GATE.json", help="What `usher adapter evaluate` wrote.")],
    json: Json = False,
) -> None:
    """Hand in what an evaluation found. What passed waits for somebody else's approval; what did not is exit code 1."""
    import msgspec

    try:
        found = msgspec.json.decode(file.read_bytes())
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise UserError(
            "GATE.json", f"cannot be read ({type(error).__name__})", "name the gate.json of a run"
        ) from None
    shown = run(ask_operator(read_settings(), "POST", f"/operator/adapters/{adapter}/evaluated", body={"gate": found}))
    _tell(shown, json)
    raise typer.Exit(0 if shown["state"] == "evaluated" else 1)


def approve(
    adapter: Named,
    digest: Annotated[str, typer.Option(help="The digest that stands beside it: what you have looked at.")],
    key: Own = None,
    json: Json = False,
) -> None:
    """Approve what somebody else has made: exactly this adapter with exactly this gate."""
    _tell(_ask("POST", f"/{adapter}/approve", key_of(key), {"digest": digest}), json)


def publish(
    adapter: Named,
    digest: Annotated[str | None, typer.Option(help="Only what has this digest.")] = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Have an approved adapter served. Its files, its base, its gate and its approval are judged again. Which questions
    it answers is for the rules of routing.yaml to say."""
    wanted = digest or _ask("GET", f"/{adapter}", key)["adapter"]["digest"] or ""
    _tell(_ask("POST", f"/{adapter}/publish", key, {"digest": wanted}), json)


def retire(adapter: Named, key: Key = None, json: Json = False) -> None:
    """Have it served no more, from now on."""
    _tell(_ask("POST", f"/{adapter}/retire", key), json)


def quarantine(adapter: Named, key: Key = None, json: Json = False) -> None:
    """Stop it everywhere, now."""
    _tell(_ask("POST", f"/{adapter}/quarantine", key), json)


def reopen(adapter: Named, key: Own = None, json: Json = False) -> None:
    """Let what was retired or quarantined begin again as a draft; never by who made it."""
    _tell(_ask("POST", f"/{adapter}/reopen", key_of(key)), json)


def check(json: Json = False) -> None:
    """Read every file of every adapter: what is not what it was is quarantined. Exit code 1 if anything is found."""
    found = run(ask_operator(read_settings(), "POST", "/operator/adapters/check"))
    if json:
        dump(found)
    else:
        bullets(f"{one['adapter']} {one['problem']}" for one in found["findings"])
        say("all is as it was registered" if found["ok"] else f"{len(found['findings'])} found")
    raise typer.Exit(0 if found["ok"] else 1)


def _ask(method: str, path: str, key: str | None, body: object = None) -> dict[str, Any]:
    root = "/operator/adapters" if key is None else "/api/adapters"
    found: dict[str, Any] = run(ask_operator(read_settings(), method, root + path, body=body, key=key))
    return found


def _tell(shown: Mapping[str, Any], json: bool) -> None:
    """An adapter as it stands, and the command that comes next."""
    if json:
        dump(shown)
        return
    alarm = f" ({shown['alarm']})" if shown["alarm"] else ""
    say(f"{shown['name']}: {shown['state']}{alarm}")
    if shown["stale"]:
        _tell_anew(shown)
    bullets(shown["reasons"])
    if shown["state"] == "draft" and shown["gate"] is None:
        say("to hand in what `usher adapter evaluate` wrote:")
        say(f"  usher adapter gate {shown['name']} GATE.json")
    elif shown["state"] == "evaluated":
        say("it waits for somebody else, who approves it with:")
        say(f"  usher adapter approve {shown['name']} --digest {shown['digest']}")
    elif shown["state"] == "approved":
        say("to have it served:")
        say(f"  usher adapter publish {shown['name']}")


def _tell_anew(shown: Mapping[str, Any]) -> None:
    """What takes the place of an adapter that learned what may no longer be known."""
    say(f"{shown['name']} learned what may no longer be known ({', '.join(shown['stale'])}); to train another:")
    made = shown["made_for"]
    if made is None:
        say("  make its data set anew with `usher adapter dataset`")
    else:
        say(f"  {dataset_command(made, shown['policy_object'].partition(':')[2])}")
    say("  usher adapter train RECIPE.yaml, by the recipe that it had, with that data set and a new output folder")


def dataset_command(made_for: Mapping[str, Any], name: str | None = None) -> str:
    """The command that makes such a data set, as a shell takes it."""
    words = ["usher", "adapter", "dataset", "--role", made_for["role"]]
    words += [word for one in made_for["collections"] for word in ("--collection", one)]
    words += [word for one in made_for.get("makers", ()) for word in ("--maker", one)]
    words += ["--seed", str(made_for["seed"])] if "seed" in made_for else []
    words += [] if name is None else ["--name", name]
    return shlex.join([*words, "--out", "DIR"])


def add_to(group: typer.Typer) -> None:
    """The commands of this file."""
    by_name: dict[str, Callable[..., None]] = {"register": register, "gate": gate, "approve": approve}
    by_name |= {"publish": publish, "list": list_adapters, "show": show, "retire": retire}
    for name, command in (by_name | {"quarantine": quarantine, "reopen": reopen, "check": check}).items():
        group.command(name)(command)
