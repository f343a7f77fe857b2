"""The data folder is private, is Usher's, and has one owner."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from usher.data_folder import hold, is_held, socket_address
from usher.errors import DataFolderBusy, UserError


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    """It is made with mode 0700, parents included if absent."""
    with hold(tmp_path / "a" / "home"):
        assert (tmp_path / "a" / "home").stat().st_mode & 0o777 == 0o700


def test_files_made_in_it_are_private_whatever_makes_them(tmp_path: Path) -> None:
    """A database's files and a folder's too; parents of the folder, and the process afterwards, keep their ways."""
    before = os.umask(0o022)
    try:
        with hold(tmp_path / "a" / "home"):
            home = tmp_path / "a" / "home"
            with closing(sqlite3.connect(home / "usher.sqlite")) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("CREATE TABLE t (x)")
                (home / "vectors").mkdir()
                (home / "vectors" / "index.json").touch()
                files = {file.name: file.stat().st_mode & 0o077 for file in home.rglob("*")}
        assert files.keys() > {"usher.sqlite", "usher.sqlite-wal", "usher.sqlite-shm", "vectors", "index.json"}
        assert set(files.values()) == {0}
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_an_empty_folder_is_made_private(tmp_path: Path) -> None:
    """A folder that others could enter is closed to them."""
    tmp_path.chmod(0o755)
    with hold(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    """A folder with files that are not Usher's is refused, with its mode as it was."""
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.odt").touch()
    with pytest.raises(UserError, match="not Usher's"), hold(tmp_path):
        pass
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.odt"]


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    """A path that cannot be a folder is named with the remedy."""
    (tmp_path / "home").touch()
    with pytest.raises(UserError, match="USHER_HOME"), hold(tmp_path / "home"):
        pass


def test_a_second_owner_is_refused(tmp_path: Path) -> None:
    """The error names the process that owns the folder; afterwards the folder is free again."""
    with hold(tmp_path):
        assert is_held(tmp_path)
        with pytest.raises(DataFolderBusy, match=f"process {os.getpid()}"), hold(tmp_path):
            pass
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    with hold(tmp_path):
        pass


def test_looking_leaves_no_trace(tmp_path: Path) -> None:
    """Whether a folder is held can be asked of one that does not exist, and makes none."""
    assert not is_held(tmp_path / "home")
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_a_killed_owner_leaves_the_folder_free(tmp_path: Path) -> None:
    """After SIGKILL the lock is gone."""
    script = f"from usher.data_folder import *; h = hold(Path({str(tmp_path)!r})); h.__enter__(); print(1); input()"
    with subprocess.Popen(
        [sys.executable, "-uc", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "1\n"
        assert is_held(tmp_path)
        owner.kill()
        owner.wait()
    assert not is_held(tmp_path)


@pytest.mark.parametrize("length", [1, 200])
def test_a_socket_has_an_address_however_deep_it_lies(length: int, tmp_path: Path) -> None:
    """A path over 107 bytes binds and connects too, and the socket lies where the path says."""
    folder = tmp_path / ("d" * length)
    folder.mkdir()
    path = folder / "operator.sock"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with socket_address(path) as address:
            server.bind(address)
        server.listen()
        assert path.is_socket()
        with socket_address(path) as address:
            client.connect(address)
