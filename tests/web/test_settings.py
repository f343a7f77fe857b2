"""Settings are read once, and a wrong one is named with its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from usher.errors import UserError
from usher.settings import Settings, is_loopback, read_settings, settings_table, unknown_variables


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_need_nothing(tmp_path: Path) -> None:
    """Without any variable there is a data folder below here, and its key ring beside it."""
    settings = read_settings()
    assert settings.home == tmp_path / ".usher"
    assert settings.keyring_path == tmp_path / ".usher.keys"
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)


def test_a_variable_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file gives what no variable gives; what is handed over goes before both."""
    (tmp_path / "usher.toml").write_text('port = 7001\nmax_file_size = "1MiB"\nhost = "::1"\n')
    monkeypatch.setenv("USHER_PORT", "7002")
    settings = read_settings(host="127.0.0.2", port=None)
    assert (settings.port, settings.max_file_size, settings.host) == (7002, 1024**2, "127.0.0.2")


WRONG = {
    "a port beyond the last": ({"USHER_PORT": "65536"}, "USHER_PORT"),
    "a port that is a word": ({"USHER_PORT": "http"}, "USHER_PORT"),
    "a size without a number": ({"USHER_DISK_RESERVE": "much"}, "USHER_DISK_RESERVE"),
    "a model without a server": ({"USHER_MODEL": "m"}, "USHER_MODEL_URL"),
    "a key for a store's socket": (
        {"USHER_QDRANT_URL": "unix:store", "USHER_QDRANT_API_KEY": "k"},
        "USHER_QDRANT_API_KEY",
    ),
    "a server without a model": ({"USHER_MODEL_URL": "http://m/v1"}, "USHER_MODEL"),
    "a model's address without a scheme": ({"USHER_MODEL_URL": "m:8000", "USHER_MODEL": "m"}, "USHER_MODEL_URL"),
    "a load token without a server": ({"USHER_MODEL_LOAD_TOKEN": "t" * 32}, "USHER_MODEL_LOAD_TOKEN"),
    "a load token that is short": (
        {"USHER_MODEL_LOAD_TOKEN": "t" * 31, "USHER_MODEL_URL": "http://m/v1", "USHER_MODEL": "m"},
        "USHER_MODEL_LOAD_TOKEN",
    ),
    "servers that are no addresses": (
        {"USHER_MODEL_SERVERS": "http://a,b:8000", "USHER_MODEL_URL": "http://m/v1", "USHER_MODEL": "m"},
        "USHER_MODEL_SERVERS",
    ),
    "a password in a model server's address": (
        {"USHER_MODEL_URL": "http://usher:secret@m/v1", "USHER_MODEL": "m"},
        "USHER_MODEL_URL",
    ),
    "a query behind a model server's address": (
        {"USHER_MODEL_SERVERS": "http://a:8000?key=1", "USHER_MODEL_URL": "http://m/v1", "USHER_MODEL": "m"},
        "USHER_MODEL_SERVERS",
    ),
    "two master keys": ({"USHER_MASTER_KEY": "a", "USHER_MASTER_KEY_COMMAND": "b"}, "USHER_MASTER_KEY_COMMAND"),
    "a certificate without its key": ({"USHER_TLS_CERT": "/dev/null"}, "USHER_TLS_KEY"),
    "TLS files that are not there": ({"USHER_TLS_CERT": "/no", "USHER_TLS_KEY": "/no"}, "USHER_TLS_CERT"),
    "every address, in plain text": ({"USHER_HOST": "0.0.0.0"}, "USHER_HOST"),  # noqa: S104  (must be refused)
    "a host name, in plain text": ({"USHER_HOST": "usher.example"}, "USHER_HOST"),
    "a proxy that is no address": ({"USHER_TRUSTED_PROXY": "proxy"}, "USHER_TRUSTED_PROXY"),
    "a limit of none": ({"USHER_STREAMS": "0"}, "USHER_STREAMS"),
    "an origin with a path": ({"USHER_ORIGINS": "https://chat.example.com/"}, "USHER_ORIGINS"),
    "a database of another kind": ({"USHER_DATABASE_URL": "mysql://db"}, "USHER_DATABASE_URL"),
}


@pytest.mark.parametrize(("environment", "field"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_named(environment: dict[str, str], field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, what is wrong and what to do."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as raised:
        read_settings()
    assert raised.value.field == field
    assert raised.value.problem
    assert raised.value.remedy


@pytest.mark.parametrize("way", [{"USHER_TRUSTED_PROXY": "10.0.0.0/8"}, {"USHER_HOST": "127.0.0.1"}])
def test_a_public_address_is_fine_behind_a_proxy(way: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that ends TLS, or an address of this machine only, needs no certificate."""
    for name, value in ({"USHER_HOST": "0.0.0.0"} | way).items():  # noqa: S104  (the proxy makes it right)
        monkeypatch.setenv(name, value)
    read_settings()


@pytest.mark.parametrize(
    ("host", "local"), [("127.8.8.8", True), ("[::1]", True), ("localhost", True), ("10.0.0.1", False), ("", False)]
)
def test_what_counts_as_this_machine(host: str, local: bool) -> None:
    """Loopback addresses and `localhost` do, and nothing else."""
    assert is_loopback(host) is local


@pytest.mark.parametrize("text", ["prot = 1\n", "port =\n", "\x00"])
def test_a_wrong_file_is_named(text: str, tmp_path: Path) -> None:
    """An unknown name in the file, or a file that is no TOML, is an error about that file."""
    (tmp_path / "usher.toml").write_text(text)
    with pytest.raises(UserError, match=r"usher\.toml"):
        read_settings()


def test_a_secret_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings as text nor an error about one holds a secret's value."""
    monkeypatch.setenv("USHER_DATABASE_URL", "postgresql://u:hunter2@db/usher")
    monkeypatch.setenv("USHER_MASTER_KEY", "hunter2")
    assert "hunter2" not in repr(read_settings())
    monkeypatch.setenv("USHER_DATABASE_URL", "mysql://u:hunter2@db/usher")
    with pytest.raises(UserError) as raised:
        read_settings()
    assert "hunter2" not in f"{raised.value!r} {raised.value.__context__}"


def test_a_slip_of_the_pen_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that looks like a setting and is none is told; the key of the command line is no setting."""
    monkeypatch.setenv("USHER_TRUSTED_PROXI", "10.0.0.1")
    monkeypatch.setenv("USHER_KEY", "secret")
    assert unknown_variables() == ["USHER_TRUSTED_PROXI"]


def test_the_table_has_every_setting() -> None:
    """One row for each field, with a description."""
    rows = settings_table().splitlines()[2:]
    assert len(rows) == len(Settings.model_fields)
    assert not [row for row in rows if row.endswith("None |")]
