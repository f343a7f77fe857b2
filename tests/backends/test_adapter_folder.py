"""The contract of `Weights`: whole or not at all, read-only, and never what is somebody else's taken away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.lora.adapters import LIMITS, files

from usher.backends.adapter_folder import AdapterWeights, BaseModel
from usher_lora.canonical import folder_digest, sha256
from usher_lora.faults import AdapterFault
from usher_lora.manifest import CONFIG, WEIGHTS, FileDigest

ONE, TWO = "1" * 64, "2" * 64
TRAINING = b'{"examples":3}'


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a training wrote."""
    inner = tmp_path / "run" / "adapter"
    inner.mkdir(parents=True)
    for name, data in files().items():
        (inner / name).write_bytes(data)
    for name in ("manifest.json", "lineage.json"):
        (tmp_path / "run" / name).write_bytes(name.encode())
    (tmp_path / "run" / "training_set.json").write_bytes(TRAINING)
    return tmp_path / "run"


@pytest.fixture
def weights(tmp_path: Path) -> AdapterWeights:
    return AdapterWeights(tmp_path / "adapters")


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "adapters").iterdir())


def told(weights: AdapterWeights, run: Path) -> Sequence[FileDigest]:
    return weights.read(run, LIMITS).inspected.files


def test_what_a_training_wrote_is_read_whole(weights: AdapterWeights, run: Path) -> None:
    """Byte by byte, and its weights looked through."""
    package = weights.read(run, LIMITS)
    assert (package.manifest, package.lineage, package.training_set) == (b"manifest.json", b"lineage.json", TRAINING)
    assert [one.name for one in package.inspected.files] == [CONFIG, WEIGHTS]
    (run / "manifest.json").write_bytes(b"x" * (1 << 21))
    with pytest.raises(AdapterFault, match="too long"):
        weights.read(run, LIMITS)


def test_weights_lie_read_only_beside_what_is_said_of_them(weights: AdapterWeights, run: Path, tmp_path: Path) -> None:
    """Kept once more they stay; nothing of it is writable, nor hidden names left."""
    found = told(weights, run)
    for _ in range(2):
        weights.keep(run, ONE, found, TRAINING)
        weights.keep_manifest(ONE, b"signed")
    assert names(tmp_path) == [ONE, f"{ONE}.manifest.json", f"{ONE}.training.json"]
    place = weights.place(ONE)
    assert sorted(path.name for path in place.iterdir()) == [CONFIG, WEIGHTS]
    below = [place, *place.iterdir(), *(tmp_path / "adapters").glob("*.json")]
    assert not [path for path in below if path.stat().st_mode & 0o222]
    assert weights.changed(ONE, found, sha256(TRAINING)) is None
    assert weights.kept() == [ONE]
    assert (weights.manifest(ONE), weights.manifest(TWO)) == (b"signed", None)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_what_is_not_as_it_was_looked_at_is_not_kept(
    weights: AdapterWeights, run: Path, tmp_path: Path, name: str
) -> None:
    """A byte, a length: nothing is left behind."""
    found = told(weights, run)
    sound = (run / "adapter" / name).read_bytes()
    for data in (sound[:-1] + b"\1", sound + b"x", sound[:-1]):
        (run / "adapter" / name).write_bytes(data)
        with pytest.raises(AdapterFault, match="changed while it was copied"):
            weights.keep(run, ONE, found, TRAINING)
        assert names(tmp_path) == []


def test_other_weights_under_a_name_are_never_written_over(weights: AdapterWeights, run: Path) -> None:
    """They are told, and somebody looks why."""
    found = told(weights, run)
    weights.keep(run, ONE, found, TRAINING)
    file = weights.place(ONE) / WEIGHTS
    file.chmod(0o600)
    file.write_bytes(b"other")
    with pytest.raises(AdapterFault, match="lies there already"):
        weights.keep(run, ONE, found, TRAINING)
    assert file.read_bytes() == b"other"


def test_every_difference_is_told(weights: AdapterWeights, run: Path, tmp_path: Path) -> None:
    """Of a file, of another one beside it, of the training set; and that it is gone."""
    found, digest = told(weights, run), sha256(TRAINING)
    weights.keep(run, ONE, found, TRAINING)
    place, training = weights.place(ONE), tmp_path / "adapters" / f"{ONE}.training.json"
    assert weights.changed(ONE, found, sha256(b"other")) == "the manifest of its training set is another file"
    training.unlink()
    assert weights.changed(ONE, found, digest) == "the manifest of its training set is not there"
    place.chmod(0o700)
    (place / "more.json").write_bytes(b"")
    assert "no adapter needs" in (weights.changed(ONE, found, digest) or "")
    (place / "more.json").unlink()
    (place / CONFIG).chmod(0o600)
    (place / CONFIG).write_bytes(b"{}")
    assert weights.changed(ONE, found, digest) == f"{CONFIG} is another file"
    weights.drop(ONE)
    assert "cannot be opened" in (weights.changed(ONE, found, digest) or "")
    assert names(tmp_path) == []


def test_what_was_half_written_is_taken_away_and_nothing_else(
    weights: AdapterWeights, run: Path, tmp_path: Path
) -> None:
    """Hidden parts only, and only their own; what has no name of an adapter is nobody's."""
    weights.keep(run, ONE, told(weights, run), TRAINING)
    root = tmp_path / "adapters"
    (root / f".{TWO}.part").mkdir()
    (root / f".{TWO}.part" / WEIGHTS).write_bytes(b"half")
    (root / f".{TWO}.manifest.json.part").write_bytes(b"half")
    (root / "notes.txt").write_bytes(b"mine")
    (root / ".snapshot").mkdir()
    weights.tidy()
    assert names(tmp_path) == [".snapshot", ONE, f"{ONE}.training.json", "notes.txt"]
    assert weights.kept() == [ONE]


def test_a_folder_that_is_not_there_yet_is_empty(weights: AdapterWeights) -> None:
    """Nothing is made by looking."""
    assert weights.kept() == []
    weights.tidy()
    weights.drop(ONE)


def test_a_base_model_is_known_by_its_files(tmp_path: Path) -> None:
    """By all that are not hidden; read again once they look changed; told where they have gone."""
    base, folder = BaseModel(tmp_path / "base"), tmp_path / "base"
    with pytest.raises(AdapterFault, match="is not there"):
        base.digest()
    folder.mkdir()
    (folder / ".cache").write_bytes(b"")
    with pytest.raises(AdapterFault, match="is not there"):
        base.digest()
    (folder / "model.safetensors").write_bytes(b"one")
    assert base.digest() == folder_digest({"model.safetensors": sha256(b"one")})
    (folder / "model.safetensors").write_bytes(b"other")
    assert base.digest() == folder_digest({"model.safetensors": sha256(b"other")})
    assert BaseModel(None).digest() is None
