"""The ``rushlight`` command: thin; each command says what it does with the parts that do it.

Exit codes: 0 done; 1 an error that the message explains; 2 wrong usage; 3 done, but not everything is well (a ledger
that is not balanced, rows that were rejected, events that stay parked).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from rushlight.commands import parameters
from rushlight.errors import RushlightError
from rushlight.settings import DEFAULT_SHOP, SHOP_ID, Settings

if TYPE_CHECKING:
    from rushlight.commands.files import FileOptions

TIMES = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"]
Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rushlight")
def cli() -> None:
    """Real-time e-commerce analytics that cannot slow a checkout and cannot lose or double-count a sale."""


def main() -> None:
    """Run the command line; errors go to stderr in one sentence."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except RushlightError as error:
        from rushlight.logs import redacted

        click.echo(redacted(f"rushlight: {error}"), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def with_settings(command: Command) -> Command:
    """Options that every command has; the command gets one `Settings`."""

    @click.option("--data", metavar="DIR", help="Data directory [default: rushlight-data; demo: a temporary one].")
    @click.option("--redis-url", metavar="URL", help="Use this Redis or Valkey instead of the embedded one.")
    @click.option("--mongo-url", metavar="URL", help="Use this MongoDB replica set instead of the embedded one.")
    @click.option("--orders-mongo-url", metavar="URL", help="Where the orders are, if elsewhere.")
    @click.option(
        "--config", "toml", metavar="FILE", type=click.Path(path_type=Path), help="Settings [default: rushlight.toml]."
    )
    @wraps(command)
    def wrapped(
        data: str | None,
        redis_url: str | None,
        mongo_url: str | None,
        orders_mongo_url: str | None,
        toml: Path | None,
        **options: Any,
    ) -> Any:
        settings = Settings.load(
            toml, data=data, redis_url=redis_url, mongo_url=mongo_url, orders_mongo_url=orders_mongo_url
        )
        return command(settings, **options)

    return wrapped  # type: ignore[return-value]


def changed(settings: Settings, **flags: Any) -> Settings:
    """The settings with the flags that were given."""
    given = {name: value for name, value in flags.items() if value is not None}
    return Settings.load(Path("/dev/null"), {}, **{**msgspec.structs.asdict(settings), **given})


def run(main: Coroutine[Any, Any, int | None]) -> None:
    """Run to the end and leave with its code."""
    code = asyncio.run(main)
    if code:
        sys.exit(code)


def _given(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...] | None:
    return value or None


def _shop(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not SHOP_ID.match(value):
        raise click.BadParameter("a shop is lower-case letters, digits and hyphens, at most 63 of them")
    return value


modules_option = click.option(
    "--module",
    "modules",
    multiple=True,
    metavar="NAME",
    callback=_given,
    help="Import this Python module of yours: its events, projections and subscriptions; repeatable.",
)
port_option = click.option(
    "--port", type=int, metavar="N", help="Port of the board [default: 8000]; 0 is any free one."
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")
shop_option = click.option(
    "--shop", default=DEFAULT_SHOP, show_default=True, metavar="ID", callback=_shop, help="The shop (tenant)."
)
some_shop_option = click.option(
    "--shop", metavar="ID", callback=_shop, help="Only of this shop (tenant) [default: of whichever holds it]."
)


def of_file(command: Command) -> Command:
    """What `import` and `reconcile` ask about a file of orders; the command gets one `FileOptions`."""

    @click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @click.option(
        "--format", "form", type=click.Choice(["csv", "ndjson", "parquet"]), help="[default: by the file's name]"
    )
    @click.option(
        "--map", "columns", multiple=True, metavar="FIELD=COLUMN", help="Which column holds a field; repeatable."
    )
    @click.option("--currency", metavar="CODE", help="Currency of rows that name none.")
    @click.option(
        "--time-zone", default="UTC", show_default=True, metavar="ZONE", help="Zone of times without an offset."
    )
    @click.option("--source", metavar="NAME", help="Who reports this money [default: the shop's source of record].")
    @shop_option
    @json_option
    @wraps(command)
    def wrapped(**given: Any) -> Any:
        from rushlight.commands.files import FileOptions

        options = FileOptions(**{name: given.pop(name) for name in FileOptions._fields})
        return command(options=options, **given)

    return wrapped  # type: ignore[return-value]


@cli.command()
@click.option("--orders", is_flag=True, default=None, help="Also start the reference order service, on port + 1.")
@click.option("--workers", type=int, metavar="N", help="Worker processes [default: 1].")
@click.option(
    "--ingest",
    "ingest_processes",
    type=int,
    metavar="N",
    help="Processes beside the board's that take events in on the same port [default: 0].",
)
@modules_option
@port_option
@with_settings
def up(settings: Settings, **flags: Any) -> None:
    """Start everything: servers (unless URLs are given), ingest, board, workers."""
    from rushlight.commands.up import up as start

    run(start(changed(settings, **flags)))


@cli.command()
@port_option
@click.option("--count", type=click.IntRange(1), metavar="N", help="Close the doors after exactly N orders.")
@click.option("--seed", type=int, default=1, show_default=True, metavar="S", help="The same shoppers every time.")
@click.option("--chaos", is_flag=True, help="Freeze Valkey and kill a worker in mid-sale.")
@click.option("--exit", "leave", is_flag=True, help="Stop after N orders, wait until settled, print the ledger.")
@with_settings
def demo(settings: Settings, port: int | None, **options: Any) -> None:
    """Everything on this machine, with a simulated flash sale to watch."""
    from rushlight.commands.demo import demo as start

    kept = click.get_current_context().params["data"] is not None or settings.data != Settings().data
    run(start(changed(settings, port=port, orders=True), kept=kept, **options))


@cli.command()
@port_option
@with_settings
def ingest(settings: Settings, port: int | None) -> None:
    """Take events in over HTTP; nothing else on this port."""
    _alone("ingest", changed(settings, port=port))


@cli.command()
@port_option
@with_settings
def live(settings: Settings, port: int | None) -> None:
    """Serve the board and the query API."""
    _alone("live", changed(settings, port=port))


@cli.command()
@modules_option
@with_settings
def worker(settings: Settings, modules: tuple[str, ...] | None) -> None:
    """Commit events and figures, and run reactions; any number of workers share the partitions."""
    _alone("worker", changed(settings, modules=modules))


@cli.command()
@click.option("--finish", is_flag=True, help="End when the shop's outboxes are empty, for good.")
@with_settings
def relay(settings: Settings, finish: bool) -> None:
    """Move the outboxes of a shop's own MongoDB (--orders-mongo-url), to which workers need no access then."""
    from rushlight.commands.roles import relay as move

    sys.exit(move(settings, finish=finish))


def _alone(role: str, settings: Settings) -> None:
    from rushlight.commands.roles import alone

    sys.exit(alone(role, settings))


@cli.command("import")
@of_file
@with_settings
def import_(settings: Settings, options: FileOptions) -> None:
    """Bring history in, through the pipeline; doing it again changes nothing.

    Fields: order_id occurred_at customer_id product_id product_name category quantity unit_price amount discount
    currency country. Lines of one order_id are one order; amount is the line before discount; a line with a negative
    quantity or amount is a refund.
    """
    from rushlight.commands.history import import_file

    run(import_file(settings, options))


@cli.command()
@of_file
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, metavar="N", help="Orders to show.")
@with_settings
def reconcile(settings: Settings, options: FileOptions, limit: int) -> None:
    """Compare a shop's own order export with the journal; exit code 3 when an order differs.

    The file is read as `import` reads it (same fields, same rules); nothing is changed.
    """
    from rushlight.commands.reconcile import compare_file

    run(compare_file(settings, options, limit))


@cli.command()
@click.option("--aggregate", metavar="ID", help="Only events about this order or visitor.")
@click.option("--name", metavar="NAME", help="Only events of this name.")
@click.option("--follow", is_flag=True, help="Go on as events come.")
@shop_option
@json_option
@with_settings
def events(settings: Settings, **options: Any) -> None:
    """The audit trail: what the journal holds."""
    from rushlight.commands.events import show

    run(show(settings, **options))


@cli.command()
@click.option("--verify", is_flag=True, help="Recount everything from the documents.")
@json_option
@with_settings
def ledger(settings: Settings, **options: Any) -> None:
    """What was acknowledged and what became of it; exit code 3 when it is not balanced."""
    from rushlight.commands.ledger import show

    run(show(settings, **options))


@cli.command()
@click.argument("projection")
@click.option("--diff", is_flag=True, help="Only look: compare with the live figures and do not replace them.")
@click.option("--discard", "give_up", is_flag=True, help="Give up what was built and is not live.")
@modules_option
@json_option
@with_settings
def rebuild(settings: Settings, projection: str, modules: tuple[str, ...] | None, **options: Any) -> None:
    """Fold the journal anew into PROJECTION (money, behaviour or one of yours), beside the live figures.

    Events keep flowing; readers change over in one moment when the new figures are complete. Ended in the middle, the
    same command goes on. Exit code 3: --diff found a difference.
    """
    from rushlight.commands.rebuild import run as start

    run(start(changed(settings, modules=modules), projection, **options))


@cli.group()
def reactions() -> None:
    """Your own code that reacts to events: how far it is, what failed, begin again."""


@reactions.command("list")
@click.argument("name", required=False)
@json_option
@with_settings
def reactions_list(settings: Settings, **options: Any) -> None:
    """How the reactions stand, and the aggregates that they hold because an event failed."""
    from rushlight.commands.reactions import show

    run(show(settings, **options))


@reactions.command("retry")
@click.argument("name")
@click.argument("aggregates", nargs=-1, metavar="[AGGREGATE]…")
@some_shop_option
@modules_option
@with_settings
def reactions_retry(settings: Settings, modules: tuple[str, ...] | None, **options: Any) -> None:
    """Try held aggregates again at once, all of NAME or those given, each in its order."""
    from rushlight.commands.reactions import retry

    run(retry(changed(settings, modules=modules), **options))


@reactions.command("drop")
@click.argument("name")
@click.argument("aggregates", nargs=-1, metavar="[AGGREGATE]…")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with the event's id.")
@some_shop_option
@modules_option
@with_settings
def reactions_drop(settings: Settings, modules: tuple[str, ...] | None, **options: Any) -> None:
    """Give up the event on which parked aggregates stand, and go on with what comes after it."""
    from rushlight.commands.reactions import drop

    run(drop(changed(settings, modules=modules), **options))


@reactions.command("replay")
@click.argument("name")
@click.option("--from", "since", metavar="TIME", type=click.DateTime(TIMES), help="Received then or later (else UTC).")
@click.option("--from-start", is_flag=True, help="Everything.")
@modules_option
@with_settings
def reactions_replay(settings: Settings, modules: tuple[str, ...] | None, **options: Any) -> None:
    """Begin again from any point; each event keeps its id, by which your code knows a repetition."""
    from rushlight.commands.reactions import replay

    run(replay(changed(settings, modules=modules), **options))


@reactions.command("run")
@click.argument("names", nargs=-1, metavar="[NAME]…")
@modules_option
@with_settings
def reactions_run(settings: Settings, modules: tuple[str, ...] | None, **options: Any) -> None:
    """Run reactions in a process of their own, beside the workers, until Ctrl-C."""
    from rushlight.commands.reactions import run as react

    run(react(changed(settings, modules=modules), **options))


@cli.group()
def parked() -> None:
    """Events that could not be processed: look at them, retry them, or drop them with a reason."""


@parked.command("list")
@click.option("--aggregate", metavar="ID", help="Only this order or visitor, with each of its parked events.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="Show at most N.")
@shop_option
@json_option
@with_settings
def list_parked(settings: Settings, **options: Any) -> None:
    """What is parked, why, and since when; the oldest first."""
    from rushlight.commands.parked import show

    run(show(settings, **options))


@parked.command("retry")
@click.argument("names", metavar="[AGGREGATE]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Everything that is parked of the shop.")
@shop_option
@json_option
@with_settings
def retry_parked(settings: Settings, **options: Any) -> None:
    """Process parked events again, each aggregate's in order; exit code 3 when some stay parked."""
    from rushlight.commands.parked import retry

    run(retry(settings, **options))


@parked.command("drop")
@click.argument("names", metavar="AGGREGATE|ORIGIN...", nargs=-1, required=True)
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept with what is dropped.")
@shop_option
@json_option
@with_settings
def drop_parked(settings: Settings, **options: Any) -> None:
    """Give parked events up: all of an aggregate, or single ones by their origin. They count as dropped."""
    from rushlight.commands.parked import drop

    run(drop(settings, **options))


@cli.command()
@click.option("--customer", metavar="ID", help="Everything that is held of this person [default: the whole journal].")
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv", "parquet"]),
    default="ndjson",
    show_default=True,
    help="How to write it.",
)
@click.option(
    "--output",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A file, or of a person as csv or parquet a directory [default: stdout].",
)
@shop_option
@with_settings
def export(settings: Settings, **options: Any) -> None:
    """Give out the journal of a shop, or everything that is held of one person.

    What is committed when it begins is in it, and nothing later. Amounts are decimals, with their currency, beside
    integer minor units.
    """
    from rushlight.commands.export import export as give_out

    run(give_out(settings, **options))


@cli.command()
@click.option("--customer", metavar="ID", help="Whom to erase, under every name that an alias has told.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--list", "listed", is_flag=True, help="Show who was erased (by a hash of the id), when and by whom.")
@shop_option
@json_option
@with_settings
def erase(settings: Settings, **options: Any) -> None:
    """Forget a person: delete what names them and cut the links; every figure stays as it is.

    Ended in the middle, the same command goes on. Exit code 3: something of the person is still on its way.
    """
    from rushlight.commands.erase import erase as forget

    run(forget(settings, **options))


@cli.group()
def keys() -> None:
    """Write keys."""


@keys.command()
@click.option("--kind", type=click.Choice(["public", "secret"]), required=True, help="Only secret keys report money.")
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Pages that may use a public key: https://shop.example or https://*.shop.example; repeatable [default: any].",
)
@click.option(
    "--limit", callback=parameters.limit, metavar="N/s", help="Events a second [default: key_events_per_second]."
)
@shop_option
@json_option
@with_settings
def create(settings: Settings, **options: Any) -> None:
    """Make a key; it is shown once and kept only as a hash."""
    from rushlight.commands.keys import create as make

    run(make(settings, **options))


@keys.command("rotate")
@click.argument("key", metavar="KEY|PREFIX")
@click.option(
    "--grace",
    metavar="SPAN",
    callback=parameters.span,
    default="24h",
    show_default=True,
    help="How long the old key goes on working.",
)
@json_option
@with_settings
def rotate_key(settings: Settings, **options: Any) -> None:
    """Make a key with the rights of another one, which then ends when the grace is over."""
    from rushlight.commands.keys import rotate

    run(rotate(settings, **options))


@keys.command("change")
@click.argument("key", metavar="KEY|PREFIX")
@click.option("--origin", "origins", multiple=True, metavar="ORIGIN", help="Instead of its origins; repeatable.")
@click.option("--any-origin", is_flag=True, help="Pages of any origin.")
@click.option("--limit", callback=parameters.limit, metavar="N/s", help="Instead of its limit.")
@click.option("--no-limit", is_flag=True, help="No limit of its own.")
@with_settings
def change_key(
    settings: Settings, key: str, origins: tuple[str, ...], limit: int | None, *, any_origin: bool, no_limit: bool
) -> None:
    """Give a key other origins or another limit; everything else of it stays."""
    from rushlight.commands.keys import change

    if (origins and any_origin) or (limit is not None and no_limit):
        raise click.UsageError("one or the other")
    run(change(settings, key=key, origins=() if any_origin else origins or None, limit=0 if no_limit else limit))


@keys.command("list")
@json_option
@with_settings
def list_keys(settings: Settings, **options: Any) -> None:
    """Which keys there are: first characters, kind, shop, origins, limit; when made, used last, and their end."""
    from rushlight.commands.keys import show

    run(show(settings, **options))


@keys.command("revoke")
@click.argument("key", metavar="KEY|PREFIX")
@with_settings
def revoke_key(settings: Settings, key: str) -> None:
    """Make a key useless within seconds: name it, or the first characters that `keys list` shows."""
    from rushlight.commands.keys import revoke

    run(revoke(settings, key=key))
