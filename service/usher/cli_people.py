"""`usher person …` and `usher key …`: the directory of people, and their keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say, table
from usher.cli_road import ask_operator, request, road, run
from usher.errors import UserError
from usher.settings import Settings, read_settings

person = typer.Typer(help="The directory of people.", no_args_is_help=True)
key = typer.Typer(help="API keys: shown once, stored hashed.", no_args_is_help=True)

User = Annotated[str, typer.Argument(help="The person, such as alice or user:alice.")]
Groups = Annotated[list[str] | None, typer.Option("--group", help="A group; repeat the option for more.")]


def _operate(method: str, path: str, body: object = None, **params: str) -> Any:
    return run(ask_operator(read_settings(), method, path, body=body, params=params))


@person.command("add")
def add(user: User, group: Groups = None, json: Json = False) -> None:
    """Add a person with exactly these groups, or bring one back."""
    _person(_operate("POST", "/operator/person", {"user": user, "groups": group or []}), json)


@person.command("groups")
def groups(user: User, group: Groups = None, json: Json = False) -> None:
    """Replace a person's groups; without --group, the person has none."""
    _person(_operate("POST", "/operator/person/groups", {"user": user, "groups": group or []}), json)


@person.command("deactivate")
def deactivate(user: User, json: Json = False) -> None:
    """Deny a person from now on, in open streams too."""
    _person(_operate("POST", "/operator/person/deactivate", {"user": user}), json)


@person.command("list")
def list_people(json: Json = False) -> None:
    """Everybody in the directory."""
    people = run(_everybody(read_settings()))
    dump(people) if json else table(people, ("user", "active", "groups", "source", "seen_at"))


async def _everybody(settings: Settings) -> list[dict[str, Any]]:
    people: list[dict[str, Any]] = []
    async with road(settings) as client:
        while page := await request(
            client, "GET", "/operator/person", params={"after": people[-1]["user"]} if people else None
        ):
            people += page
    return people


@key.command("create")
def create(
    user: User,
    expires: Annotated[str | None, typer.Option(help="An age such as 12h or 30d, or a date.")] = None,
    purpose: Annotated[str | None, typer.Option(help="What the key is for; policy may ask for it.")] = None,
    json: Json = False,
) -> None:
    """Make a key for a person, who is added to the directory if absent. The key is shown this once."""
    body = {"user": user, "expires_at": expiry(expires, datetime.now(UTC)), "purpose": purpose}
    made = _operate("POST", "/operator/key", body)
    if json:
        dump(made)
        return
    print(made["key"])
    say(
        f"\nkey {made['id']} of {made['user']}, shown this once" + (f", until {u}" if (u := made["expires_at"]) else "")
    )


@key.command("list")
def list_keys(
    user: Annotated[str | None, typer.Argument(help="Only this person's keys.")] = None, json: Json = False
) -> None:
    """Keys, without their secrets."""
    found = _operate("GET", "/operator/key", **({"user": user} if user else {}))
    dump(found) if json else table(found, ("id", "user", "purpose", "issuer", "expires_at", "revoked_at"))


@key.command("revoke")
def revoke(id: Annotated[str, typer.Argument(help="The key's id, not the key.")], json: Json = False) -> None:
    """End a key, in open streams too."""
    revoked = _operate("POST", "/operator/key/revoke", {"id": id})
    dump(revoked) if json else say(f"key {revoked['id']} of {revoked['user']} is revoked")


def _person(person: dict[str, Any], json: bool) -> None:
    dump(person) if json else table([person], ("user", "active", "groups"))


_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def expiry(given: str | None, now: datetime) -> datetime | None:
    """An instant from an age (`90m`, `12h`, `30d`) or an ISO date or time; without a zone it is UTC.

    Raises:
        UserError: it is neither.
    """
    if given is None:
        return None
    try:
        if age := re.fullmatch(r"(\d{1,6})([mhd])", given):
            return now + timedelta(**{_UNITS[age[2]]: int(age[1])})
        instant = datetime.fromisoformat(given)
    except ValueError:
        raise UserError(
            "expires", "is no age and no date", "write 90m, 12h, 30d, 2030-01-31 or 2030-01-31T09:00"
        ) from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
