"""The folder that a training writes: how it begins, goes on after it was cut off, and is finished.

`manifest.json` is written last, so whatever has one is whole:

    adapter/            the two files that the model server reads, and nothing else
    manifest.json       what the adapter is, byte by byte; not evaluated yet, not signed
    lineage.json        the exact documents that it learned
    training_set.json   the manifest of its training set
    recipe.yaml  training.json  loss.svg
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from msgspec import Struct

from usher_lora.adapter_files import opened
from usher_lora.base_files import base_files, base_lineage
from usher_lora.canonical import Digest, decode, encode
from usher_lora.faults import AdapterFault
from usher_lora.lineage import Lineage, ParentKind, canonical, lineage
from usher_lora.manifest import Base, Identity, Manifest
from usher_lora.recipe import Recipe
from usher_lora.safetensors_header import LENGTH_BYTES, header_length, read_header
from usher_lora.training_set import TrainingSet
from usher_lora.weights import inspect

MANIFEST: Final = "manifest.json"
BEGUN: Final = "begun.json"
ADAPTER: Final = "adapter"
CHECKPOINTS: Final = "checkpoints"
_WHOLE: Final = "whole"
"""In a checkpoint's folder, once all of it is written."""


class Begun(Struct, frozen=True, forbid_unknown_fields=True):
    """What a training is of. `made` is the id of this making."""

    made: str
    recipe: Digest
    training_set: Digest
    base: Digest


@dataclass(frozen=True, slots=True)
class RunFolder:
    path: Path
    begun: Begun

    @classmethod
    def begin(cls, recipe: Recipe, training_set: str, base: str) -> RunFolder:
        """A new folder, or that of the same training where it was cut off. Raises `AdapterFault`."""
        path = recipe.output
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {one.name for one in path.iterdir()}
        if MANIFEST in names:
            raise AdapterFault("output", "has an adapter already", "name another folder in the recipe")
        if names and BEGUN not in names:
            raise AdapterFault("output", "has other files in it", "name an empty folder in the recipe")
        begun = Begun(str(uuid4()), recipe.digest, training_set, base)
        if BEGUN in names:
            begun = _continued(path, begun)
        else:
            write(path / BEGUN, encode(begun))
        return cls(path, begun)

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    def last_checkpoint(self) -> Path | None:
        """The newest one that was written to its end; what is newer is taken away."""
        found = sorted(self.checkpoints.glob("checkpoint-*"), key=lambda one: int(one.name.rpartition("-")[2]))
        while found and not (found[-1] / _WHOLE).exists():
            shutil.rmtree(found.pop())
        return found[-1] if found else None

    def finish(
        self, recipe: Recipe, data: TrainingSet, files: Mapping[str, bytes], beside: Mapping[str, bytes]
    ) -> Manifest:
        """The adapter of these files, looked through as the registry will; then what is said of it, the manifest last.

        Raises `AdapterFault` for an adapter that cannot be served.
        """
        half = self.path / ADAPTER
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        for name, content in files.items():
            write(half / name, content)
        with opened(half) as folder:
            found = inspect(folder, recipe.limits)
        learned = inherited(data.lineage, recipe)
        identity = Identity(
            name=recipe.name,
            made=self.begun.made,
            base=Base(recipe.base.model, self.begun.base),
            files=found.files,
            peft=found.peft,
            training_set=data.digest,
            lineage=learned.digest,
            recipe=recipe.digest,
            made_for=data.made_for,
        )
        manifest = Manifest(identity)
        said = {"lineage.json": canonical(learned), "training_set.json": data.manifest, **beside}
        if learned != data.lineage:
            said["training_lineage.json"] = data.lineage_bytes
        for name, content in said.items():
            write(self.path / name, content)
        write(self.path / MANIFEST, encode(manifest))
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        (self.path / BEGUN).unlink()
        return manifest


def mark_whole(checkpoint: Path) -> None:
    write(checkpoint / _WHOLE, b"")


def inherited(own: Lineage, recipe: Recipe) -> Lineage:
    """The lineage of the training set, with that of the base where its folder has a `lineage.json`. Raises
    `AdapterFault`."""
    above = base_lineage(recipe.base.path)
    if above is None:
        return own
    made = lineage(own.documents, own.subjects, [(ParentKind.BASE, recipe.base.model, above)])
    return Lineage(made.documents, made.subjects, tuple(sorted({*made.parents, *own.parents})))


def base_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The tensors of a base model by name, from its files' headers. Raises `AdapterFault`."""
    found: dict[str, tuple[int, ...]] = {}
    for name, file in sorted(base_files(path).items()):
        if name.endswith(".safetensors"):
            try:
                found |= _shapes(file)
            except AdapterFault as fault:
                remedy = "train on the base as it was released, unquantised"
                raise AdapterFault(f"base model: {name}", fault.problem, remedy) from None
    if not found:
        raise AdapterFault("base model", "has no weights as safetensors", "convert it, or name another folder")
    return found


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    size = file.stat().st_size
    with file.open("rb") as opened_file:
        length = header_length(opened_file.read(LENGTH_BYTES), size)
        tensors = read_header(opened_file.read(length), size - LENGTH_BYTES - length)
    return {tensor.name: tensor.shape for tensor in tensors}


def write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    half = path.with_name(f".{path.name}.half")
    with half.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def _continued(path: Path, wanted: Begun) -> Begun:
    begun = decode((path / BEGUN).read_bytes(), Begun, BEGUN)
    for field in ("recipe", "training_set", "base"):
        if getattr(begun, field) != getattr(wanted, field):
            problem = f"has a training of another {field.replace('_', ' ')}, which was cut off"
            raise AdapterFault("output", problem, "name another folder, or take that one away")
    return begun
