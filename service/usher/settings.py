"""Settings: environment variables `USHER_…`, or the same names in lower case without the prefix in `./usher.toml`.

They are read once, at start. A wrong one is a `UserError` that names the variable.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pydantic import ByteSize, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from usher.errors import UserError
from usher.settings_values import (
    DatabaseUrl,
    FilePath,
    HttpUrl,
    LedgerUrl,
    Networks,
    Origins,
    Servers,
    Sink,
    Token,
    VectorsUrl,
)

PREFIX = "USHER_"
TOML = "usher.toml"
CLI_VARIABLES = frozenset({"USHER_KEY"})
"""Variables that belong to the command line, not to the settings."""


class Settings(BaseSettings):
    """Every setting. The descriptions are the README's table."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file=TOML, extra="forbid", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    home: FilePath = Field(Path(".usher"), description="The data folder. One process owns it.")
    policy: FilePath | None = Field(
        None, description="A rule file, or a folder with one; imported when the data folder is empty, and never again."
    )
    keyring: FilePath | None = Field(
        None,
        description="The key ring that opens recorded content. Keep it out of backups of the data folder. "
        "Default: the data folder's path with `.keys` at its end.",
    )
    master_key: SecretStr | None = Field(None, description="Wraps the key ring: 32 bytes in base64.")
    master_key_command: str | None = Field(
        None, description="A command that prints the master key instead (a KMS client, for example)."
    )
    database_url: DatabaseUrl | None = Field(
        None, description="The metadata database, such as `postgresql://…`. Default: a SQLite file in the data folder."
    )
    ledger_url: LedgerUrl | None = Field(
        None,
        description="The ledger in PostgreSQL, `postgresql://…`, which several servers may share. "
        "Default: `ledger.sqlite` in the data folder.",
    )
    qdrant_url: VectorsUrl | None = Field(
        None,
        description="A Qdrant server (1.19 or newer), or `unix:PATH` of a `usher store`. "
        "Default: the embedded store in the data folder.",
    )
    qdrant_api_key: SecretStr | None = Field(None, description="The Qdrant server's API key.")
    model_url: HttpUrl | None = Field(
        None,
        description="An OpenAI-compatible server, up to and including `/v1`. "
        "Default: none; answers quote the permitted passages.",
    )
    model: str | None = Field(None, description="The model's name on that server.")
    model_api_key: SecretStr | None = Field(None, description="That server's API key.")
    model_context_tokens: int = Field(8192, ge=1024, description="How many tokens that model takes, answer included.")
    adapters: FilePath | None = Field(
        None,
        description="Where the weights of adapters lie, by the digest of all that each is: a folder that model servers "
        "may only read. Default: `adapters` in the data folder.",
    )
    model_load_token: Token | None = Field(
        None,
        description="The second token of the model servers' guard, of at least 32 characters: with it Usher loads and "
        "unloads adapters while they run. Default: none; they are named when the server starts (`usher adapter "
        "serve-config`).",
    )
    model_servers: Servers = Field(
        (),
        description="Each model server behind `USHER_MODEL_URL`, where that is a router, with commas between them. "
        "Default: `USHER_MODEL_URL` itself.",
    )
    model_files: FilePath | None = Field(
        None,
        description="A folder with that model's files, to tell whether adapters were trained on exactly these. "
        "Default: none; adapters are held against the model's name.",
    )
    adapter_max_rank: int = Field(64, ge=1, le=512, description="The highest rank of an adapter that it takes.")
    host: str = Field("127.0.0.1", description="The address to listen on. A public one needs TLS or a trusted proxy.")
    port: int = Field(8080, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    tls_cert: FilePath | None = Field(None, description="The certificate chain, PEM.")
    tls_key: FilePath | None = Field(None, description="The certificate's private key, PEM.")
    trusted_proxy: Networks | None = Field(
        None, description="Addresses or networks of the proxy that ends TLS, with commas between them."
    )
    origins: Origins = Field(
        (),
        description="Origins of web pages that may call Usher from a browser, such as `https://chat.example.com`, with "
        "commas between them. Default: none.",
    )
    requests_per_minute: int = Field(6000, ge=1, description="Requests of one person; more are answered 429.")
    tokens_per_minute: int = Field(
        12_000_000, ge=1, description="Tokens of one person's prompts and answers; who has used them up waits."
    )
    streams: int = Field(8, ge=1, description="Answers that one person may have under way at once.")
    sockets: int = Field(16, ge=1, description="WebSockets that one person may have open at once.")
    conversations: int = Field(100_000, ge=1, description="Conversations of one person; for more some must be deleted.")
    stored_bytes: ByteSize = Field(
        ByteSize(1024**3), ge=1, description="Stored questions and answers of one person, documents not included."
    )
    disk_reserve: ByteSize = Field(
        ByteSize(256 * 1024**2),
        ge=0,
        description="Free space that is kept for recording how things end, and administration: below it nothing is "
        "answered.",
    )
    checkpoint_sink: Sink | None = Field(
        None,
        description="Where each new checkpoint is carried, best to another machine: a file to append it to, or a "
        "vertical bar and a command that gets it on standard input (run without a shell, for at most 10 seconds).",
    )
    max_file_size: ByteSize = Field(ByteSize(64 * 1024**2), ge=1, description="Larger files are refused by `ingest`.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field, problem, remedy in _contradictions(self):
            raise UserError(variable(field), problem, remedy)
        return self

    @property
    def keyring_path(self) -> Path:
        """The key ring's folder-independent place: beside the data folder unless set."""
        return self.keyring or self.home.with_name(self.home.name + ".keys")

    @property
    def adapters_path(self) -> Path:
        """Where the weights of adapters lie."""
        return self.adapters or self.home / "adapters"

    @property
    def operator_socket(self) -> Path:
        return self.home / "operator.sock"


def read_settings(**given: object) -> Settings:
    """Read the settings once; `given` (by field name, None left out) goes before environment and file.

    Raises:
        UserError: a setting is wrong; `field` is the variable's name.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**chosen)  # type: ignore[arg-type]  # validated by pydantic, which is the point of the call
    except ValidationError as error:
        raise _first_error(error) from None
    except (SettingsError, ValueError, OSError) as error:  # ValueError: TOML that does not parse
        raise UserError(TOML, f"cannot be read ({type(error).__name__})", "correct or remove the file") from None


def _first_error(error: ValidationError) -> UserError:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(Settings.model_fields)
        return UserError(f"{field} in {TOML}", "is not a setting", f"remove it; the settings are {known}")
    what = first["msg"].removeprefix("Value error, ").rstrip(".")
    remedy = f"correct or unset it ({Settings.model_fields[field].description})" if field else "correct it"
    return UserError(variable(field), f"is not valid ({what})", remedy)


def _contradictions(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """What no single field can tell: (field, problem, remedy)."""
    if (settings.model_url is None) != (settings.model is None):
        missing = "model" if settings.model is None else "model_url"
        yield missing, "is not set, but its partner is", "set both USHER_MODEL_URL and USHER_MODEL, or neither"
    for field in ("model_load_token", "model_servers"):
        if getattr(settings, field) and settings.model_url is None:
            yield field, "is set, but no model server is", "set USHER_MODEL_URL and USHER_MODEL too, or unset it"
    if settings.qdrant_api_key and (settings.qdrant_url or "").startswith("unix:"):
        yield "qdrant_api_key", "is set, but a store's socket takes none", "unset it, or name a Qdrant server"
    if settings.master_key and settings.master_key_command:
        yield "master_key_command", "is set beside USHER_MASTER_KEY", "set one of them"
    if (settings.tls_cert is None) != (settings.tls_key is None):
        missing = "tls_key" if settings.tls_key is None else "tls_cert"
        yield missing, "is not set, but its partner is", "set both USHER_TLS_CERT and USHER_TLS_KEY, or neither"
    for field in ("tls_cert", "tls_key"):
        path = getattr(settings, field)
        if path is not None and not os.access(path, os.R_OK):
            yield field, "names a file that cannot be read", "correct the path or the file's rights"
    if _rewritable(settings):
        yield "checkpoint_sink", "lies where whoever can change the record can change it too", "name a place elsewhere"
    if not (is_loopback(settings.host) or settings.tls_cert or settings.trusted_proxy):
        yield (
            "host",
            "is a public address, and answers would travel in plain text",
            "set USHER_TLS_CERT and USHER_TLS_KEY, or USHER_TRUSTED_PROXY for a proxy that ends TLS, "
            "or listen on 127.0.0.1",
        )


def _rewritable(settings: Settings) -> bool:
    """True if checkpoints would be kept in the data folder or in the key ring."""
    if settings.checkpoint_sink is None or settings.checkpoint_sink.startswith("|"):
        return False
    sink = Path(settings.checkpoint_sink).resolve()
    return sink.is_relative_to(settings.home.resolve()) or sink == settings.keyring_path.resolve()


def is_loopback(host: str) -> bool:
    """True if only this machine can connect to `host`. A name other than `localhost` counts as public."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def variable(field: str) -> str:
    return PREFIX + field.upper()


def unknown_variables(environment: Iterator[str] | None = None) -> list[str]:
    """Variables that look like settings and are none: most likely a slip of the pen."""
    known = {variable(field) for field in Settings.model_fields} | CLI_VARIABLES
    names = os.environ if environment is None else environment
    return sorted(name for name in names if name.startswith(PREFIX) and name not in known)


def settings_table() -> str:
    """The README's table, in Markdown."""
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = "" if default in (None, ()) else f"`{_shown(default)}`"
        lines.append(f"| `{variable(name)}` | {shown} | {field.description} |")
    return "\n".join(lines)


def _shown(default: object) -> str:
    if isinstance(default, ByteSize):
        return default.human_readable(separator="").replace(".0", "")
    return f"./{default}" if isinstance(default, Path) else str(default)
