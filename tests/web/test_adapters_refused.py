"""What is not what it says, or cannot be served, is refused by name; nothing of it is left behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from tests.lora.adapters import arrays, tensor, weights
from tests.web.registry_kit import (
    adapter_events,
    company,
    evaluated,
    fresh,
    handbook,
    learned,
    lying,
    other_config,
    registered,
    spoilt,
    trained,
)
from tests.web.world import World

from usher.errors import UserError
from usher_lora.canonical import encode
from usher_lora.lineage import ParentKind, lineage
from usher_lora.manifest import CONFIG, WEIGHTS, Base, FileDigest, MadeFor, Manifest, Peft
from usher_lora.manifest import parse as parse_manifest

DIGEST = "ef" * 32
Q = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with company(tmp_path_factory.mktemp("refused")) as (made, _):
        yield made


def refused(usher: World, folder: Path) -> UserError:
    """Why it is refused; nothing is registered, recorded or left behind."""
    before, events = lying(usher), len(adapter_events(usher))
    with pytest.raises(UserError) as error:
        usher.run(registered(usher, folder))
    assert lying(usher) == before
    assert len(adapter_events(usher)) == events
    return error.value


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "the weights' digest": (
        {"files": (FileDigest(CONFIG, 400, DIGEST), FileDigest(WEIGHTS, 9_000, DIGEST))},
        "manifest.files",
    ),
    "the rank": ({"peft": Peft(4, 16.0, ("k_proj", "q_proj"), rslora=True)}, "manifest.peft"),
    "the training set": ({"training_set": DIGEST}, "manifest.training_set"),
    "the lineage": ({"lineage": DIGEST}, "manifest.lineage"),
    "what it was made for": (
        {"made_for": MadeFor("role:employee", ("coll:handbook",), ("structure",), 1)},
        "manifest.made_for",
    ),
    "the base": ({"base": Base("another-llama", DIGEST)}, "manifest.base.model"),
}


@pytest.mark.parametrize("what", LIES)
def test_a_lying_manifest_is_refused(usher: World, tmp_path: Path, what: str) -> None:
    """By the field that lies."""
    lies, field = LIES[what]
    error = refused(usher, trained(tmp_path / "run", handbook(usher), **lies))
    assert (error.field, bool(error.remedy)) == (field, True)


def test_a_manifest_with_a_gate_of_elsewhere_is_refused(usher: World, tmp_path: Path) -> None:
    """Whatever it says: the gate is run, and signed, here."""
    from tests.lora.made import gate

    folder = trained(tmp_path / "run", handbook(usher))
    identity = parse_manifest((folder / "manifest.json").read_bytes()).identity
    claimed = Manifest(identity, gate(adapter=identity.served_name))
    (folder / "manifest.json").write_bytes(encode(claimed))
    assert refused(usher, folder).field == "manifest.gate"


def config(**changes: object) -> Callable[[Path], None]:
    return lambda inner: (inner / CONFIG).write_bytes(other_config(**changes)) and None


def numbers(value: float) -> Callable[[Path], None]:
    spoilt = arrays()
    spoilt[tensor(Q, "A")] = np.full_like(spoilt[tensor(Q, "A")], value)
    return lambda inner: (inner / WEIGHTS).write_bytes(weights(spoilt)) and None


def beside(name: str) -> Callable[[Path], None]:
    return lambda inner: (inner / name).write_bytes(b"x") and None


def linked(inner: Path) -> None:
    (inner / WEIGHTS).rename(inner.parent / "elsewhere")
    (inner / WEIGHTS).symlink_to(inner.parent / "elsewhere")


def piped(inner: Path) -> None:
    (inner / CONFIG).unlink()
    os.mkfifo(inner / CONFIG)


def inner_linked(inner: Path) -> None:
    inner.rename(inner.parent / "there")
    inner.symlink_to(inner.parent / "there")


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pickle": (beside("adapter_model.bin"), "can run code"),
    "a pickle of the optimiser": (beside("optimizer.pt"), "can run code"),
    "another file": (beside("README.md"), "no adapter needs"),
    "a hidden file": (beside(".cache"), "no adapter needs"),
    "dots in a name": (beside("..\\adapter_model.safetensors"), "is a path"),
    "a folder": (lambda inner: (inner / "more").mkdir(), "no plain file"),
    "a link in the place of the weights": (linked, "no plain file"),
    "a pipe in the place of the settings": (piped, "no plain file"),
    "a link in the place of the folder": (inner_linked, "that is a link"),
    "no weights": (lambda inner: (inner / WEIGHTS).unlink(), "has no adapter_model"),
    "no number": (numbers(float("nan")), "none or infinite"),
    "an infinite number": (numbers(float("inf")), "none or infinite"),
    "a rank above the limit": (config(r=128), "limit of 64"),
    "another base": (config(base_model_name_or_path="other"), "another base model"),
    "DoRA": (config(use_dora=True), "is DoRA"),
    "added tokens": (config(trainable_token_indices=[1]), "tokens of its own"),
    "saved modules": (config(modules_to_save=["lm_head"]), "whole modules"),
    "settings that are no JSON": (lambda inner: (inner / CONFIG).write_bytes(b"{") and None, "not JSON"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_served_is_refused(usher: World, tmp_path: Path, what: str) -> None:
    """With what is wrong and the remedy."""
    spoil, problem = BAD[what]
    folder = trained(tmp_path / "run", handbook(usher))
    spoil(folder / "adapter")
    error = refused(usher, folder)
    assert problem in str(error)
    assert error.remedy


@pytest.mark.parametrize("name", ["manifest.json", "lineage.json", "training_set.json", "adapter"])
def test_a_folder_without_one_of_its_parts_is_refused(usher: World, tmp_path: Path, name: str) -> None:
    """Also where the part is a link that leads out of the folder."""
    folder = trained(tmp_path / "run", handbook(usher))
    (folder / name).rename(tmp_path / "out")
    refused(usher, folder)
    (folder / name).symlink_to(tmp_path / "out")
    refused(usher, folder)


def test_a_folder_that_is_none_is_refused(usher: World, tmp_path: Path) -> None:
    """Absent, a file, a link: one answer."""
    trained(tmp_path / "run", handbook(usher))
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    told = {str(refused(usher, tmp_path / name)) for name in ("absent", "file", "link")}
    assert len(told) == 1


def test_a_lineage_of_what_is_not_there_is_refused(usher: World, tmp_path: Path) -> None:
    """A document that never was, a version that never was, a class that is none, a person who is not known."""
    real = learned(usher, "handbook/holidays.md")
    for number, (line, word) in enumerate(
        [
            (lineage([real, learned(usher, "handbook/hotels.md", document=uuid4())]), "not there"),
            (lineage([learned(usher, "handbook/holidays.md", version=7)]), "not there"),
            (lineage([learned(usher, "handbook/holidays.md", digest=DIGEST)]), "another text"),
            (lineage([learned(usher, "handbook/holidays.md", access_class=999)]), "is none"),
            (lineage([real], [str(uuid4())]), "not known"),
        ]
    ):
        error = refused(usher, trained(tmp_path / str(number), line))
        assert error.field.startswith("lineage.")
        assert word in str(error)


def test_what_was_built_from_an_adapter_inherits_all_that_it_learned(usher: World, tmp_path: Path) -> None:
    """A parent that is not registered, or whose documents are left out, is refused."""
    parent = usher.run(registered(usher, trained(tmp_path / "parent", handbook(usher), made=fresh())))
    own = [learned(usher, "handbook/notice.md")]
    whole = lineage(own, parents=[(ParentKind.ADAPTER, parent.name, handbook(usher))])
    absent = lineage(own, parents=[(ParentKind.ADAPTER, f"other@sha256:{DIGEST}", handbook(usher))])
    assert refused(usher, trained(tmp_path / "absent", absent)).field == "lineage.parents"
    less = type(whole)(tuple(own), whole.subjects, whole.parents)
    assert "leave out" in str(refused(usher, trained(tmp_path / "less", less)))
    usher.run(registered(usher, trained(tmp_path / "child", whole, made=fresh())))


def test_a_base_of_other_files_or_of_none_is_refused(
    usher: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the registering and again at the publishing, where somebody said where its files lie."""
    from usher.backends.adapter_folder import BaseModel
    from usher_lora.base_files import base_digest

    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"weights")
    acts = usher.services.adapters.registry._acts
    monkeypatch.setattr(type(acts.base), "digest", BaseModel(base).digest)
    assert refused(usher, trained(tmp_path / "other", handbook(usher))).field == "manifest.base.digest"
    told = Base("tiny-llama", base_digest(base))
    one = usher.run(
        evaluated(usher, usher.run(registered(usher, trained(tmp_path / "run", handbook(usher), base=told))))
    )
    digest = one.digest or ""
    assert usher.ask("POST", f"/api/adapters/{one.id}/approve", "carol", json={"digest": digest}).status_code == 200
    (base / "model.safetensors").unlink()
    gone = usher.ask("POST", f"/api/adapters/{one.id}/publish", "carol", json={"digest": digest})
    assert (gone.status_code, gone.json()["field"]) == (400, "base model")


def test_weights_that_change_on_the_way_are_refused(
    usher: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at them and the copy: nothing is left, and nothing registered."""
    folder = trained(tmp_path / "run", handbook(usher), made=fresh())
    weights_port = usher.services.adapters.weights
    keep = type(weights_port).keep

    def swapped(self: Any, folder: Path, *rest: Any) -> None:
        spoilt_weights = (folder / "adapter" / WEIGHTS).read_bytes()[:-4] + b"\0\0\0\1"
        (folder / "adapter" / WEIGHTS).write_bytes(spoilt_weights)
        keep(self, folder, *rest)

    monkeypatch.setattr(type(weights_port), "keep", swapped)
    assert "changed while it was copied" in str(refused(usher, folder))


def test_weights_that_are_others_by_now_are_quarantined(usher: World, tmp_path: Path) -> None:
    """At the publishing: nobody is served by them, and it never comes back."""
    one = usher.run(
        evaluated(usher, usher.run(registered(usher, trained(tmp_path / "run", handbook(usher), made=fresh()))))
    )
    digest = one.digest or ""
    usher.ask("POST", f"/api/adapters/{one.id}/approve", "carol", json={"digest": digest})
    file = usher.services.adapters.weights.place(one.id) / WEIGHTS
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    answer = usher.ask("POST", f"/api/adapters/{one.id}/publish", "carol", json={"digest": digest})
    assert (answer.status_code, "quarantined" in answer.json()["detail"]) == (409, True)
    shown = usher.ask("GET", f"/api/adapters/{one.id}", "carol").json()["adapter"]
    assert (shown["state"], shown["alarm"]) == ("quarantined", "integrity")
    assert usher.ask("POST", f"/api/adapters/{one.id}/reopen", "carol").status_code == 409
    findings = usher.run(usher.services.adapters.upkeep.check())
    assert one.name in [finding.adapter for finding in findings]


def test_a_spoilt_file_names_itself(usher: World, tmp_path: Path) -> None:
    """Weights that are no safetensors."""
    error = refused(usher, spoilt(tmp_path / "run", handbook(usher), WEIGHTS, b"PK\x03\x04 not a tensor"))
    assert error.remedy
