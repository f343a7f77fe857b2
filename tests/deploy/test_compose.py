"""The deployment's files: what they name exists, what must not be there is not, and each flag is explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.guard_kit import ROOT, guard_module

from usher.backends import adapter_server_vllm
from usher.core.serve_config import SLOTS, serve_config
from usher.settings import read_settings, unknown_variables
from usher.settings_values import SHORTEST_TOKEN

DEPLOY = ROOT / "deploy"
README = (DEPLOY / "README.md").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
VLLM = sorted(name for name in SERVICES if name.startswith("vllm"))
GUARD = guard_module()
FORBIDDEN = (
    *("--enable-log-requests", "--enable-log-outputs", "--trust-remote-code", "--trust-request-chat-template"),
    *("--allowed-local-media-path", "--enable-auto-tool-choice", "--root-path", "--allowed-origins", "--uds"),
    *("VLLM_PLUGINS", "VLLM_LORA_RESOLVER", "VLLM_SERVER_DEV_MODE", "VLLM_DEBUG_LOG", "VLLM_LOGGING_LEVEL"),
)


def flags(name: str) -> dict[str, str]:
    """A vLLM's flags with their values; empty for a flag that has none."""
    parts = [flag.partition("=") for flag in SERVICES[name]["command"]]
    assert all(flag.startswith("--") for flag, _, _ in parts)
    return {flag: value for flag, _, value in parts}


def environment(name: str) -> dict[str, str]:
    """A service's variables, with something in the place of each secret."""
    given: dict[str, str] = SERVICES[name]["environment"]
    return {key: re.sub(r"\$\{[^}]*\}", "s" * 43 + "=", value) for key, value in given.items()}


def test_there_is_all_that_usher_needs() -> None:
    """And one model server in each profile, under one name."""
    assert set(SERVICES) == {"usher", "postgres", "qdrant", "vllm-cpu", "vllm-gpu"}
    for name in VLLM:
        assert SERVICES[name]["profiles"] == [name.removeprefix("vllm-")]
        assert SERVICES[name]["networks"] == {"models": {"aliases": ["vllm"]}}


def test_every_variable_is_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the files and in what is said of them; and together they are settings that Usher starts with."""
    for file in [*DEPLOY.rglob("*"), ROOT / "docs" / "capacity.md"]:
        if file.suffix in (".yaml", ".md", ".env", ".py") or file.name.endswith("Dockerfile"):
            found = re.findall(r"\bUSHER_[A-Z_]+\b", file.read_text("utf-8"))
            assert unknown_variables(iter(found)) == [], file
    monkeypatch.chdir(tmp_path)
    for key, value in environment("usher").items():
        monkeypatch.setenv(key, value)
    settings = read_settings()
    assert settings.model_url == "http://vllm:8000/v1"
    assert settings.adapters_path == Path("/adapters")


def test_every_secret_is_in_the_example() -> None:
    """Without a value, and nothing else is there."""
    wanted = set(re.findall(r"\$\{([A-Z_]+):\?", (DEPLOY / "compose.yaml").read_text("utf-8")))
    lines = (DEPLOY / "example.env").read_text("utf-8").splitlines()
    assert sorted(line for line in lines if not line.startswith("#")) == sorted(f"{name}=" for name in wanted)
    assert not re.search(r"\$\{[A-Z_]+(:-[^}]*)?\}", (DEPLOY / "compose.yaml").read_text("utf-8"))


def test_only_usher_is_reached_from_outside() -> None:
    """On the host's own address; the networks of everything else lead nowhere."""
    assert [name for name in SERVICES if "ports" in SERVICES[name]] == ["usher"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["usher"]["ports"])
    assert not [name for name in SERVICES if {"network_mode", "expose", "privileged"} & set(SERVICES[name])]
    for name in SERVICES:
        for network in SERVICES[name]["networks"]:
            assert name == "usher" or COMPOSE["networks"][network] == {"internal": True}
    sharing = {name for name in SERVICES if "models" in SERVICES[name]["networks"]}
    assert sharing == {"usher", *VLLM}


@pytest.mark.parametrize("name", VLLM)
def test_the_guard_stands_before_the_model_server(name: str) -> None:
    """As a flag, as a file, and with what it takes to import it."""
    service, given = SERVICES[name], flags(name)
    assert given["--middleware"] == f"guard.{GUARD.Guard.__name__}"
    assert "./vllm/guard.py:/guard/guard.py:ro" in service["volumes"]
    assert service["environment"]["PYTHONPATH"] == "/guard"
    assert (DEPLOY / "vllm" / "guard.py").is_file()
    if "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in service["environment"]:
        assert GUARD.TOKEN_VARIABLE in service["environment"]


@pytest.mark.parametrize("name", VLLM)
def test_the_model_server_only_reads(name: str) -> None:
    """Weights, base model and guard."""
    assert SERVICES[name]["read_only"] is True
    assert all(volume.endswith(":ro") for volume in SERVICES[name]["volumes"])
    assert "adapters:/adapters:ro" in SERVICES[name]["volumes"]
    assert "adapters:/adapters" in SERVICES["usher"]["volumes"]


@pytest.mark.parametrize("name", VLLM)
def test_no_flag_that_gives_anything_away(name: str) -> None:
    """Neither a flag nor a variable, whatever its value."""
    given = [*flags(name), *SERVICES[name]["environment"]]
    assert not [(one, bad) for one in given for bad in FORBIDDEN if one.startswith(bad)]
    assert "--api-key" not in given


def test_what_usher_writes_has_no_such_flag_either() -> None:
    """`usher adapter serve-config`, and the files of the images."""
    made = [f"--{flag}" for flag in serve_config("base", 8192, 64, [], loads=True)]
    told = "".join(path.read_text("utf-8") for path in DEPLOY.rglob("*Dockerfile"))
    assert not [bad for bad in FORBIDDEN if bad in told or any(flag.startswith(bad) for flag in made)]
    for name in VLLM:
        assert set(made) - {"--lora-modules"} <= set(flags(name)), "the two ways to start a server differ"


def test_flags_agree_with_settings() -> None:
    """The name, the context, the rank and the slots are those that Usher counts on."""
    told = environment("usher")
    for name in VLLM:
        given = flags(name)
        assert given["--served-model-name"] == told["USHER_MODEL"]
        assert given["--max-model-len"] == told["USHER_MODEL_CONTEXT_TOKENS"]
        assert given["--max-lora-rank"] == told["USHER_ADAPTER_MAX_RANK"]
        assert int(given["--max-loras"]) <= SLOTS <= int(given["--max-cpu-loras"])
        assert told["USHER_MODEL_URL"] == f"http://vllm:{given['--port']}/v1"


def test_every_flag_is_explained() -> None:
    """In a table of deploy/README.md; and nothing is explained that is not there."""
    rows = [line.split("|")[1] for line in README.splitlines() if re.match(r"\| `(--|[A-Z])", line)]
    explained = {name for row in rows for name in re.findall(r"`([^`]+)`", row) if " " not in name}
    used = {flag for name in VLLM for flag in [*flags(name), *SERVICES[name]["environment"]]}
    assert explained == used
    assert not [bad for bad in FORBIDDEN[:6] if f"`{bad}`" not in README]


def test_the_guard_is_open_for_exactly_what_is_called() -> None:
    """The paths that the code sends, and the container's health check."""
    backends = ROOT / "service" / "usher" / "backends"
    sent = {path for file in backends.glob("*.py") for path in re.findall(r'"(/v1/[a-z_/]+)"', file.read_text("utf-8"))}
    asked = {re.search(r"8000(/\w+)", SERVICES[name]["healthcheck"]["test"][-1]) for name in VLLM}
    sent |= {found[1] for found in asked if found}
    assert {path for _, path in GUARD.OPEN | GUARD.LOADING} == sent
    table = re.findall(r"\| `(GET|POST) (\S+)` \|.*\| (.*) \|", README)
    assert {(method, path) for method, path, _ in table} == GUARD.OPEN | GUARD.LOADING
    assert {(method, path) for method, path, takes in table if "second token" in takes} == GUARD.LOADING


def test_guard_and_usher_agree_on_the_token() -> None:
    """Its header, and how short it may be."""
    assert adapter_server_vllm.TOKEN_HEADER.encode() == GUARD.TOKEN_HEADER
    assert SHORTEST_TOKEN == GUARD.SHORTEST_TOKEN


@pytest.mark.parametrize("file", ["Dockerfile", "vllm/cpu.Dockerfile"])
def test_images_are_pinned_and_run_as_nobody_special(file: str) -> None:
    """A version for each image; no root; what is copied is there."""
    lines = (DEPLOY / file).read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER ")][-1] != "USER root"
    for line in lines:
        if line.startswith("FROM "):
            assert re.fullmatch(r"\S+:\d\S*", line.split()[1])
        if line.startswith("COPY ") and "--from" not in line:
            assert all((ROOT / source).exists() for source in line.split()[1:-1]), line
    for name in ("postgres", "qdrant", "vllm-gpu"):
        assert re.fullmatch(r"[\w./-]+:v?\d\S*", SERVICES[name]["image"])
