"""``rushlight keys``."""

from __future__ import annotations

from typing import Literal

import click
import msgspec

from rushlight.commands.session import opened
from rushlight.commands.text import when
from rushlight.errors import SetupError
from rushlight.ingest.keys import create as create_key
from rushlight.ingest.keys import listed
from rushlight.ingest.keys import revoke as revoke_key
from rushlight.settings import Settings

Kind = Literal["public", "secret"]


async def create(settings: Settings, *, kind: Kind, shop: str, as_json: bool) -> None:
    """Make a write key and print it, for the only time."""
    async with opened(settings, role="keys", roles=()) as session:
        key = await create_key(session.database, kind, shop)
    if as_json:
        click.echo(msgspec.json.encode({"key": key, "kind": kind, "shop": shop}))
    else:
        click.echo(key)
        click.echo("Keep it: only its hash is stored.", err=True)


async def show(settings: Settings, *, as_json: bool) -> None:
    """Print which keys there are, by their first characters."""
    async with opened(settings, role="keys", roles=(), reads=True) as session:
        found = await listed(session.database)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for key in found:
        click.echo(f"{key.prefix}…  {key.kind}  shop {key.shop}  created {when(key.created)}")
    if not found:
        click.echo("There are no keys.")


async def revoke(settings: Settings, *, key: str) -> None:
    """Delete a key; every process refuses it within seconds."""
    async with opened(settings, role="keys", roles=(), reads=True) as session:
        count = await revoke_key(session.database, key.removesuffix("…"))
    if not count:
        raise SetupError("there is no such key: see `rushlight keys list`")
    click.echo(
        f"{'1 key' if count == 1 else f'{count} keys'} revoked: refused from here on, everywhere within seconds."
    )
