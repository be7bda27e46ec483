"""``rushlight up``: everything until Ctrl-C, and a first event ready to send."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable

import click

from rushlight.commands.children import make_key
from rushlight.local import Instance, default_roles, running, stopped_by_signals
from rushlight.modules import require_modules
from rushlight.settings import Settings

EVENT = {
    "specversion": "1.0",
    "id": "first-event",
    "source": "my-shop",
    "type": "view_item",
    "subject": "visitor-1",
    "data": {"items": [{"productId": "sku-1", "name": "My first product", "price": "9.99", "currency": "USD"}]},
}


async def up(settings: Settings) -> None:
    """Run until a signal."""
    require_modules(settings.modules)
    await run_until_stopped(settings, introduce)


async def run_until_stopped(settings: Settings, ready: Callable[[Instance], None]) -> None:
    """Run an instance with the usual roles; ``ready`` is called once everything answers."""
    with stopped_by_signals():
        async with running(settings, default_roles(settings)) as instance:
            ready(instance)
            await asyncio.Event().wait()


def introduce(instance: Instance) -> None:
    """Say where everything is, and how to send a first event."""
    board = instance.urls["board"]
    key = make_key(instance, "public")
    click.echo(f"Rushlight is up.  Board: {board}  API: {board}/docs")
    if others := instance.settings.ingest_processes:
        click.echo(f"Events are taken in by {others + 1} processes on that port.")
    if "orders" in instance.urls:
        click.echo(f"Orders: {instance.urls['orders']}/orders")
    if instance.settings.workers == 0:
        click.echo("No worker runs: events are kept, figures stand still until `rushlight worker` starts.")
    click.echo("\nSend a first event, and see it on the board:\n")
    click.echo(
        f"  curl {board}/events -H 'Authorization: Bearer {key}' \\\n"
        f"    -H 'Content-Type: application/cloudevents+json' \\\n"
        f"    -d '{json.dumps(EVENT)}'\n"
    )
    click.echo("Ctrl-C stops everything.")
    sys.stdout.flush()
