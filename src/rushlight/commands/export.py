"""``rushlight export``: the journal of a shop, or everything that is held of a person, as a file or on stdout."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from rushlight.commands.session import Session, opened
from rushlight.commands.tables import ndjson, write, writing
from rushlight.commands.text import plain
from rushlight.errors import RushlightError
from rushlight.query.exporting import EVENTS, Held, Tables, columns_of, heads, journal
from rushlight.settings import Settings


class Unwritable(RushlightError):
    """The output cannot be written; the message says why."""


async def export(settings: Settings, *, customer: str | None, form: str, output: Path | None, shop: str) -> None:
    """Write what is asked for; how much it was goes to stderr.

    Raises:
        Unwritable: the output cannot be written.
    """
    if customer is not None and form != "ndjson" and output is None:
        raise click.UsageError("of a person there are several tables: say with --output into which directory")
    async with opened(settings, role="export", roles=(), reads=True) as session:
        try:
            said = await (
                _shop(session, shop, form, output)
                if customer is None
                else _person(session, shop, customer, form, output)
            )
        except BrokenPipeError:  # whoever read it has seen enough
            return
        except OSError as error:
            raise Unwritable(f"cannot write {output or 'the output'}: {error.strerror or error}") from error
    click.echo(said, err=True)


async def _shop(session: Session, shop: str, form: str, output: Path | None) -> str:
    until = await heads(session.database)
    count = await write(journal(session.database, shop, until), EVENTS, form, output)
    places = " ".join(f"{partition}:{seq}" for partition, seq in sorted(until.items()))
    return f"{count:,} events of the shop {shop}, up to {places or 'nothing'} (partition:place)"


async def _person(session: Session, shop: str, customer: str, form: str, output: Path | None) -> str:
    held = await Held.of(session.database, session.settings.partitions, shop, customer)
    tables = held.tables()
    counts: dict[str, int] = {}
    if form == "ndjson":
        with writing(output) as out:
            person = held.person
            whole = {"record": "person", "customers": person.customers, "visitors": person.visitors}
            out.write(msgspec.json.encode(whole | {"firstSeen": person.first_seen}) + b"\n")
            for name, kind in zip(Tables._fields, ("trait", "link", "event", "parked"), strict=True):
                counts[name] = await ndjson(getattr(tables, name), out, record=kind)
    elif output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for name, columns in columns_of(Tables._fields):
            counts[name] = await write(getattr(tables, name), columns, form, output / f"{name}.{form}")
    return f"{plain(customer)}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())
