"""``rushlight rebuild``: a bar and the rate on stderr, the result on stdout."""

from __future__ import annotations

import time
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from rushlight.commands import NOT_WELL
from rushlight.commands.session import modules_of, opened
from rushlight.engine.compare import Comparison, Difference
from rushlight.engine.rebuild import Progress, Rebuilt, discard, rebuild
from rushlight.errors import SetupError
from rushlight.projections.projection import Projection
from rushlight.projections.registry import projections_of
from rushlight.settings import Settings

RATE_SECONDS = 5.0
STANDSTILL = "waiting: no worker with this code is at work"


async def run(settings: Settings, projection: str, *, diff: bool, give_up: bool, as_json: bool) -> int:
    """Rebuild, compare or give up; 3 when the comparison found a difference."""
    if diff and give_up:
        raise click.UsageError("--diff builds in order to compare and --discard gives up: say one of the two")
    chosen = None if give_up else _chosen(settings, projection)
    async with opened(settings, role="rebuild", reads=True) as session:
        if chosen is None:
            # Also of a projection whose code is gone: it was perhaps taken out because its fold cannot go on.
            number = await discard(session.database, projection)
            if number is None:
                _chosen(settings, projection)
            _say_given_up(projection, number, as_json=as_json)
            return 0
        with _Bar(projection) as bar:
            result = await rebuild(session.database, chosen, look=diff, show=bar.show)
    if as_json:
        click.echo(msgspec.json.encode(_summary(result)))
    else:
        _print(result)
    return NOT_WELL if result.comparison and not result.comparison.is_equal else 0


def _chosen(settings: Settings, name: str) -> Projection:
    known = projections_of(modules_of(settings))
    if name not in known:
        raise SetupError(
            f"there is no projection {name!r}; there are {', '.join(sorted(known))} (name the module of yours with"
            " --module or the setting modules)"
        )
    return known[name]


class _Bar:
    """Progress in events, on a terminal only."""

    def __init__(self, name: str) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not Console(stderr=True).is_terminal,
        )
        self._task = self._bars.add_task(f"Rebuilding {name}", total=None, rate="")
        self._seen: list[tuple[float, int]] = []

    def __enter__(self) -> _Bar:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, progress: Progress) -> None:
        """Move the bar."""
        now = time.monotonic()
        self._seen = [(at, n) for at, n in self._seen if at > now - RATE_SECONDS] + [(now, progress.folded)]
        (then, before), *_ = self._seen
        rate = f"{(progress.folded - before) / (now - then):,.0f} events/s" if now > then else ""
        self._bars.update(
            self._task,
            completed=progress.folded,
            total=progress.total,
            rate=STANDSTILL if progress.standstill else rate,
        )


def _summary(result: Rebuilt) -> dict[str, Any]:
    summary: dict[str, Any] = msgspec.to_builtins(result)
    return {**summary, "seconds": round(result.seconds, 3), "eventsPerSecond": round(result.rate)}


def _print(result: Rebuilt) -> None:
    resumed = " (gone on with where it stood)" if result.resumed else ""
    click.echo(
        f"{result.projection}: {result.events:,} events in {result.seconds:.1f} s, {result.rate:,.0f} a second, into"
        f" generation {result.generation} (version {result.version}){resumed}"
    )
    if result.flipped:
        click.echo("It is what readers read now.")
    if result.comparison is not None:
        _print_comparison(result.projection, result.comparison)


def _print_comparison(name: str, found: Comparison) -> None:
    if found.is_equal:
        click.echo(f"Compared {found.documents:,} documents with the live ones: the same bytes. Given up again.")
        return
    click.echo(
        f"Compared with {found.documents:,} live documents: {found.missing:,} missing, {found.extra:,} extra,"
        f" {found.different:,} different"
    )
    for difference in found.first:
        click.echo(f"  {_line(difference)}")
    if found.unequal:
        partitions = ", ".join(map(str, found.unequal))
        click.echo(f"Not compared, because no worker folds the live generation there any more: partitions {partitions}")
    click.echo(
        f"Not flipped. `rushlight rebuild {name}` lets readers read the new ones, `rushlight rebuild {name} --discard`"
        " gives them up; until then both are kept up to date."
    )


def _line(difference: Difference) -> str:
    where = f"partition {difference.partition}, {difference.key}: "
    if difference.kind != "different":
        return where + {"missing": "only live", "extra": "only new"}[difference.kind]
    return where + f"{difference.field} is {difference.live or 'absent'} live, {difference.new or 'absent'} new"


def _say_given_up(name: str, number: int | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"projection": name, "discarded": number}))
    elif number is None:
        click.echo(f"No generation of {name} is being built.")
    else:
        click.echo(f"Gave up generation {number} of {name}; workers delete its documents.")
