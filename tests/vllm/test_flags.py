"""The flags that we ship are flags of this vLLM, by its own parser."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml
from tests.vllm.kit import PATIENCE, PYTHON, ROOT, environment

from usher.cli_adapter_serve import as_yaml
from usher.core.serve_config import ToServe, serve_config

PARSE = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser

for line in sys.stdin:
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(json.loads(line))
    validate_parsed_serve_args(args)
    told = {name: getattr(args, name) for name in ("served_model_name", "max_lora_rank", "max_loras", "middleware")}
    told["lora_modules"] = [[one.name, one.path] for one in args.lora_modules or []]
    print("PARSED", json.dumps(told))
"""


def parsed(*lines: list[str]) -> list[dict[str, Any]]:
    """Each line of flags as vLLM reads it."""
    done = subprocess.run(
        [PYTHON, "-c", PARSE],
        input="\n".join(map(json.dumps, lines)),
        env=environment(20000, loading=True),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line.removeprefix("PARSED ")) for line in done.stdout.splitlines() if line.startswith("PARSED ")]


def test_what_is_shipped_is_read_as_it_is_meant(tmp_path: Path) -> None:
    """The deployment's commands, and the file that `usher adapter serve-config` writes, with names that have colons."""
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))["services"]
    commands = [services[name]["command"] for name in ("vllm-gpu", "vllm-cpu")]
    served = [ToServe(f"{name}@sha256:{'0' * 64}", f"/adapters/{name}", 16) for name in ("money", "support")]
    files = []
    for loads in (False, True):
        file = tmp_path / f"{loads}.yaml"
        file.write_text(as_yaml(serve_config("base", 8192, 64, served, loads=loads)))
        files.append(["--config", str(file), "--model", "/models/base"])
    gpu, cpu, named, loaded = parsed(*commands, *files)
    assert [one["middleware"] for one in (gpu, cpu, named, loaded)] == [["guard.Guard"]] * 4
    assert [one["served_model_name"] for one in (gpu, cpu, named, loaded)] == [["base"]] * 4
    assert [one["max_lora_rank"] for one in (gpu, cpu, named, loaded)] == [64, 64, 16, 64]
    assert [one["max_loras"] for one in (gpu, cpu, named, loaded)] == [8, 2, 2, 8]
    assert named["lora_modules"] == [[one.name, one.path] for one in served]
    assert loaded["lora_modules"] == []
