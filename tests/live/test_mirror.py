"""What is read through a mirror is what a fresh view reads, whatever happened in between."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from rushlight.events.catalogue import AddToCart, BeginCheckout, Item, Purchase, ViewItem
from rushlight.events.envelope import Envelope
from rushlight.live.mirror import Mirror, MirrorView
from rushlight.query.figures import Figures
from rushlight.query.funnel import funnel
from rushlight.query.heads import heads
from rushlight.query.orders import latest_orders
from rushlight.query.sales import steps, summary, warnings
from rushlight.query.span import Span
from rushlight.query.view import View
from rushlight.settings import Settings
from rushlight.store.database import Database
from tests.query.pipeline import running
from tests.query.world import cancelled, moment, ordered, paid, refunded, seal

DAY = moment("2026-11-27T00:00")
LOCAL = ZoneInfo("Asia/Kolkata")
ROUNDS = 12
STEPS = (ViewItem, AddToCart, BeginCheckout, Purchase)


def some_events(chance: random.Random, number: int) -> list[Envelope]:
    """What a shop may report in a moment: orders, their fates, and visits."""
    events: list[Envelope] = []
    for index in range(chance.randint(0, 4)):
        name, at = f"o{number}-{index}", _at(chance)
        currency = chance.choice(("USD", "EUR", "JPY"))
        source = "orders" if chance.random() < 0.8 else "shopify"
        lines = [(chance.choice("abc"), 1, chance.randint(1, 5000), 0)]
        events.append(ordered(name, at, lines, currency=currency, source=source, customer="c"))
        if source == "orders" and chance.random() < 0.5:
            events.append(paid(name, at, lines[0][2], currency))
        fate = chance.random()
        if source == "orders" and fate < 0.2:
            events.append(cancelled(name, _at(chance)))
        elif source == "orders" and fate < 0.4:
            events.append(refunded(name, "r", _at(chance), [(lines[0][0], lines[0][2])], currency=currency))
    for _ in range(chance.randint(0, 4)):
        step = chance.choice(STEPS)
        event = step(visitor_id=f"v{chance.randint(0, 5)}", items=[Item(product_id=chance.choice("abc"))])
        events.append(seal(event, _at(chance), source="web", number=chance.randint(0, 1 << 30)))
    return events


def _at(chance: random.Random) -> datetime:
    return DAY + timedelta(seconds=chance.randint(0, 2 * 86400 - 1))


async def everything(view: View) -> tuple[list[int], bytes]:
    """The view's moment, and all figures of a board that the documents give, in one canonical form."""
    day = Span(DAY + timedelta(hours=6), DAY + timedelta(hours=30))
    hour = Span(DAY + timedelta(hours=12), DAY + timedelta(hours=13))
    points = await steps(view, hour, "minute", LOCAL)
    answer: list[Any] = [
        await summary(view, day),
        {currency: {at: total.values for at, total in some.items()} for currency, some in points.items()},
        await funnel(view, day),
        await latest_orders(view, 12),
        await warnings(view, day),
    ]
    return (await heads(view)).journal, msgspec.json.encode(answer)


async def compare(database: Database, settings: Settings, seed: int) -> tuple[list[bytes], list[bytes]]:
    """What mirror and fresh views read, round by round, while events go through a worker."""
    chance = random.Random(seed)
    figures, mirror = Figures(database, settings), Mirror()
    mirrored, fresh = [], []
    async with running(database, settings) as pipeline:
        for number in range(ROUNDS):
            await pipeline.send(some_events(chance, number))
            shown, truth = None, None
            # What has just been committed may enter one snapshot and not yet the other: only one moment is compared.
            while shown is None or truth is None or shown[0] != truth[0]:
                shown = await figures.read("default", everything, view=lambda *opened: MirrorView(mirror, *opened))
                mirror.sweep()
                truth = await Figures(database, settings).read("default", everything)
            mirrored.append(shown[1])
            fresh.append(truth[1])
    return mirrored, fresh


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_mirror_shows_what_is_there(database: Database, settings: Settings, seed: int) -> None:
    """Round after round the mirror reads the same as a view that remembers nothing."""
    mirrored, fresh = await compare(database, settings, seed)
    assert mirrored == fresh
    assert len(set(fresh)) > ROUNDS // 2


async def test_a_mirror_that_forgets_to_look_is_found_out(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeded bug: documents are only read the first time."""
    refresh = MirrorView._refresh

    async def once(self: MirrorView, shelf: Any, *question: Any) -> None:
        if -1 in shelf.read_to:
            await refresh(self, shelf, *question)

    monkeypatch.setattr(MirrorView, "_refresh", once)
    mirrored, fresh = await compare(database, settings, 1)
    assert mirrored != fresh
