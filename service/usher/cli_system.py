"""`usher init`, `usher serve` and `usher doctor`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say
from usher.cli_road import Refused, request, road, run
from usher.errors import UserError
from usher.settings import Settings, read_settings

ADMIN_ROLE = "role:policy-admin"
ADMIN_ACTIONS = ("policy.read", "policy.propose", "policy.approve", "policy.activate", "policy.rollback")


def init(
    admin: Annotated[list[str] | None, typer.Option(help="Who may change policy; name at least two.")] = None,
    json: Json = False,
) -> None:
    """Make the data folder, the key ring and the first policy: USHER_POLICY, or one with only these admins in it."""
    settings = read_settings()
    admins = sorted(set(admin or []))
    if settings.policy is None and len(admins) < 2:
        raise UserError(
            "--admin", "is needed twice, since nobody approves their own change", "name two people, or set USHER_POLICY"
        )
    if settings.policy is not None and admins:
        raise UserError("--admin", "does not go with USHER_POLICY", "name the admins in that policy, or unset it")
    told = run(_init(settings, admins))
    if json:
        dump(told)
        return
    say(f"{settings.home} is ready; policy version {told['version']} is in force")
    say(f"the key ring is {settings.keyring_path}: keep a copy of it, and not beside the data")


async def _init(settings: Settings, admins: list[str]) -> dict[str, Any]:
    async with road(settings) as client:
        active: dict[str, Any] = await request(client, "GET", "/operator/policy")
        if not admins:
            return active
        if active["version"]:
            version = active["version"]
            raise Refused({"detail": f"policy version {version} is in force; change it with `usher policy apply`"})
        for name in admins:
            await request(client, "POST", "/operator/person", body={"user": name, "groups": []})
        applied: dict[str, Any] = await request(
            client,
            "POST",
            "/operator/policy/apply",
            body={"rules_text": first_rules(admins), "documents": {}, "cases": {}},
        )
        return applied


def first_rules(admins: list[str]) -> str:
    """A rule file in which these people may change policy, and nobody anything else."""
    from usher_policy.vocabulary import typed

    lines = [f"p, {ADMIN_ROLE}, sys:policy, {action}, allow, always" for action in ADMIN_ACTIONS]
    lines += [f"g, {typed('user', name.removeprefix('user:'))}, {ADMIN_ROLE}" for name in admins]
    return "\n".join(lines) + "\n"


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on (USHER_HOST).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port to listen on (USHER_PORT).")] = None,
    json: Json = False,
) -> None:
    """Serve until a signal, then end cleanly."""
    settings = read_settings(host=host, port=port)
    from usher.server import serve as run_server

    def announce(url: str) -> None:
        if json:
            print(f'{{"ready": true, "url": "{url}"}}', flush=True)
        else:
            print(f"Usher is ready at {url} (data folder {settings.home})", flush=True)

    run_server(settings, announce)


def doctor(json: Json = False) -> None:
    """Check settings, data folder and every part, and say the remedy for what is wrong. Changes nothing."""
    from usher.doctor import examine

    findings = examine()
    well = all(finding.ok for finding in findings)
    if json:
        dump(
            {
                "ok": well,
                "checks": [{"name": f.name, "ok": f.ok, "detail": f.detail, "remedy": f.remedy} for f in findings],
            }
        )
    else:
        for finding in findings:
            say(f"{'ok ' if finding.ok else 'BAD'}  {finding.name}: {finding.detail}")
            if finding.remedy:
                say(f"       {finding.remedy}")
    raise typer.Exit(0 if well else 1)
