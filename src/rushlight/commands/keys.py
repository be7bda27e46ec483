"""``rushlight keys``."""

from __future__ import annotations

from typing import Literal

import click
import msgspec

from rushlight.commands.session import opened
from rushlight.ingest.keys import create as create_key
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
