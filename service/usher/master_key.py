"""The master key, from where the settings say: a variable, or a command such as a KMS client."""

from __future__ import annotations

import shlex
import subprocess

from usher.backends.keyring import KeyRingError, parse_master_key
from usher.errors import UserError
from usher.settings import Settings

TIMEOUT = 30
"""Seconds for the command."""


def master_key(settings: Settings) -> bytes | None:
    """The key that seals the key ring; None where none is set.

    Raises:
        UserError: it is no key, or the command fails. The command's output is quoted nowhere.
    """
    if settings.master_key is not None:
        return _parsed("USHER_MASTER_KEY", settings.master_key.get_secret_value())
    if settings.master_key_command is not None:
        return _parsed("USHER_MASTER_KEY_COMMAND", _printed_by(settings.master_key_command))
    return None


def _parsed(variable: str, text: str) -> bytes:
    try:
        return parse_master_key(text)
    except KeyRingError:
        raise UserError(
            variable, "gives no key", "give 32 bytes in hex or base64, such as `openssl rand -hex 32` prints"
        ) from None


def _printed_by(command: str) -> str:
    variable = "USHER_MASTER_KEY_COMMAND"
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command; no shell is between
            shlex.split(command), stdout=subprocess.PIPE, timeout=TIMEOUT, check=True, text=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise UserError(variable, f"fails ({type(error).__name__})", "run it by hand and mend what it says") from None
    return done.stdout
