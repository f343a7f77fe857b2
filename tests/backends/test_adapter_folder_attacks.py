"""Files of adapters that were put there to mislead whoever looks at them, or to hold them up."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from tests.lora.adapters import LIMITS, files

from usher.backends.adapter_folder import AdapterWeights
from usher_lora.canonical import sha256
from usher_lora.faults import AdapterFault

ONE = "1" * 64
TRAINING = b'{"examples":3}'


@pytest.fixture
def kept(tmp_path: Path) -> tuple[AdapterWeights, Callable[[], str | None]]:
    """An adapter that lies where it should, and what is wrong with it now."""
    run = tmp_path / "run"
    (run / "adapter").mkdir(parents=True)
    for name, data in files().items():
        (run / "adapter" / name).write_bytes(data)
    for name in ("manifest.json", "lineage.json", "training_set.json"):
        (run / name).write_bytes(TRAINING)
    weights = AdapterWeights(tmp_path / "adapters")
    found = weights.read(run, LIMITS).inspected.files
    weights.keep_manifest(ONE, b"{}")
    weights.keep(run, ONE, found, TRAINING)
    return weights, lambda: weights.changed(ONE, found, sha256(TRAINING))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _long(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, 1 << 40)  # a hole: no such bytes are on the disk, nor fit into memory


@pytest.mark.parametrize("act", [_pipe, _folder, _link, _long])
def test_what_stands_in_the_place_of_a_training_sets_manifest_is_told(
    kept: tuple[AdapterWeights, Callable[[], str | None]], tmp_path: Path, act: Callable[[Path], None]
) -> None:
    """A pipe that nobody writes to is not waited for; a link is not followed, what is too long not read."""
    _, problem = kept
    assert problem() is None
    act(tmp_path / "adapters" / f"{ONE}.training.json")
    assert problem() is not None


@pytest.mark.parametrize("act", [_pipe, _folder, _link])
def test_what_stands_in_the_place_of_a_manifest_is_refused(
    kept: tuple[AdapterWeights, Callable[[], str | None]], tmp_path: Path, act: Callable[[Path], None]
) -> None:
    """The same."""
    weights, _ = kept
    act(tmp_path / "adapters" / f"{ONE}.manifest.json")
    with pytest.raises(AdapterFault):
        weights.manifest(ONE)


@contextmanager
def _no_more_files(patch: pytest.MonkeyPatch) -> Iterator[None]:
    def refused(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EMFILE, "too many open files")

    with patch.context() as inner:
        inner.setattr(os, "open", refused)
        yield


def test_a_server_that_can_open_no_more_files_says_nothing_of_an_adapter(
    kept: tuple[AdapterWeights, Callable[[], str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opens many connections does not have every adapter quarantined for ever."""
    _, problem = kept
    with _no_more_files(monkeypatch), pytest.raises(OSError, match="too many"):
        problem()
    assert problem() is None
