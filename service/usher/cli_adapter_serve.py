"""`usher adapter servers` and `usher adapter serve-config`: model servers, and what they are to have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say, table, write_out
from usher.cli_road import ask_operator, run
from usher.settings import read_settings

COLUMNS = ("server", "ready", "missing", "leaving", "problem")


def servers(json: Json = False) -> None:
    """What each model server has of what is published. Exit code 1 where one is not as it should be."""
    found = run(ask_operator(read_settings(), "GET", "/operator/adapter-serving"))
    if json:
        dump(found)
    else:
        table(found["servers"], COLUMNS)
        say("adapters are loaded while they run" if found["loads"] else "adapters are named when they start")
    raise typer.Exit(1 if any(one["problem"] for one in found["servers"]) else 0)


def serve_config(
    out: Annotated[Path | None, typer.Option(help="Write it to this file, which vLLM takes as --config.")] = None,
    at: Annotated[str | None, typer.Option(help="Where the server sees the folder of adapters.")] = None,
    json: Json = False,
) -> None:
    """vLLM's flags for what is published now. Without USHER_MODEL_LOAD_TOKEN every adapter is named in them, and a
    server that is started with them has exactly these; with it, Usher loads them."""
    params = {} if at is None else {"at": at}
    found = run(ask_operator(read_settings(), "GET", "/operator/adapter-serving/config", params=params))
    text = as_yaml(found)
    if out is not None:
        write_out(out, text)
    if json:
        dump(found)
    elif out is None:
        print(text, end="")
    else:
        say(f"{out}: {len(found.get('lora-modules', []))} adapter(s) named")


def as_yaml(config: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(config, sort_keys=False, width=10_000)


def add_to(group: typer.Typer) -> None:
    group.command("servers")(servers)
    group.command("serve-config")(serve_config)
