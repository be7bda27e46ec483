"""``rushlight keys``."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import click
import msgspec

from rushlight.commands.session import opened
from rushlight.commands.text import when
from rushlight.errors import SetupError
from rushlight.events.envelope import now
from rushlight.ingest import keys
from rushlight.settings import Settings

Kind = Literal["public", "secret"]


async def create(
    settings: Settings, *, kind: Kind, shop: str, origins: tuple[str, ...], limit: int | None, as_json: bool
) -> None:
    """Make a write key and print it, for the only time."""
    async with opened(settings, role="keys", roles=()) as session:
        key = await keys.create(session.database, kind, shop, origins=origins, limit=limit)
    _show_once(key, {"kind": kind, "shop": shop}, as_json=as_json)


async def rotate(settings: Settings, *, key: str, grace: timedelta, as_json: bool) -> None:
    """Make a key with the rights of another, print it, and let the other end."""
    async with opened(settings, role="keys", roles=(), reads=True) as session:
        made = await keys.rotate(session.database, _named(key), grace)
    end = now() + grace
    _show_once(made, {"oldExpires": end}, as_json=as_json)
    if not as_json:
        click.echo(f"The old key works until {when(end)}." if grace else "The old key works no more.", err=True)


async def change(settings: Settings, *, key: str, origins: tuple[str, ...] | None, limit: int | None) -> None:
    """Give a key other origins or another limit."""
    if origins is None and limit is None:
        raise SetupError("say what to change: --origin, --any-origin, --limit or --no-limit")
    async with opened(settings, role="keys", roles=(), reads=True) as session:
        await keys.change(session.database, _named(key), origins=origins, limit=limit)
    click.echo("Changed: everywhere within seconds.")


async def show(settings: Settings, *, as_json: bool) -> None:
    """Print which keys there are, by their first characters."""
    async with opened(settings, role="keys", roles=(), reads=True) as session:
        found = await keys.listed(session.database)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for key in found:
        click.echo("  ".join(_line(key)))
    if not found:
        click.echo("There are no keys.")


async def revoke(settings: Settings, *, key: str) -> None:
    """Delete a key; every process refuses it within seconds."""
    async with opened(settings, role="keys", roles=(), reads=True) as session:
        count = await keys.revoke(session.database, _named(key))
    if not count:
        raise SetupError("there is no such key: see `rushlight keys list`")
    click.echo(
        f"{'1 key' if count == 1 else f'{count} keys'} revoked: refused from here on, everywhere within seconds."
    )


def _show_once(key: str, more: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"key": key, **more}))
    else:
        click.echo(key)
        click.echo("Keep it: only its hash is stored.", err=True)


def _line(key: keys.Listed) -> list[str]:
    shown = [f"{key.prefix}…", key.kind, f"shop {key.shop}", f"created {when(key.created)}"]
    if key.origins:
        shown.append(f"origins {' '.join(key.origins)}")
    if key.limit is not None:
        shown.append(f"limit {key.limit}/s")
    if key.expires is not None:
        shown.append(f"{'expired' if key.expires <= now() else 'expires'} {when(key.expires)}")
    shown.append(f"used {when(key.used)}" if key.used is not None else "never used")
    return shown


def _named(key: str) -> str:
    return key.removesuffix("…")
