"""The gateway as real clients see it: a snapshot, then every delta in its order, the same bytes for everybody."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from datetime import timedelta
from typing import Any

import aiohttp
import msgspec
import pytest
import socketio
from redis.asyncio import Redis
from websockets.exceptions import InvalidStatus

from rushlight.bus.broadcast import CHANGES_CHANNEL
from rushlight.events.envelope import now
from rushlight.events.ids import partition_of
from rushlight.live import gateway as gateway_module
from rushlight.live import watch as watch_module
from rushlight.local.instance import Instance
from rushlight.query.figures import Figures
from rushlight.query.sales import summary
from rushlight.query.span import Span
from rushlight.query.view import View
from rushlight.settings import Settings, Shop
from rushlight.store.database import Database
from rushlight.store.parking import Requests, Wish
from tests.live.serving import Frame, Served, serving, viewer
from tests.query.eventually import eventually
from tests.query.pipeline import running
from tests.query.world import ordered

SNAPSHOT_KEYS = {
    "shop",
    "version",
    "snapshot",
    "asOf",
    "timeZone",
    "completeTo",
    "today",
    "series",
    "funnel",
    "products",
    "visitors",
    "carts",
    "leftOut",
    "orders",
    "ledger",
    "rate",
    "notices",
    "warnings",
    "parked",
}


async def test_a_client_sees_a_snapshot_and_then_every_delta(database: Database, settings: Settings) -> None:
    """The official client gets versions without a gap, and ends with what the query API says."""
    frames: list[Frame] = []
    client = socketio.AsyncClient()
    client.on("analyticsUpdate", frames.append, namespace="/live")
    async with running(database, settings) as pipeline, serving(database, settings) as served:
        await client.connect(served.url, namespaces=["/live"], auth={"shop": "default"})
        await eventually(lambda: bool(frames))
        for number in range(5):
            await pipeline.send([ordered(f"o{number}", now(), [("a", 1, 250, 0)], currency="EUR")])
            await asyncio.sleep(0.15)
        board: Frame = {}

        def caught_up() -> bool:
            for frame in frames:
                board.update(frame)
            sold = [product["currencies"]["EUR"]["units"] for product in board["products"]]
            return sold == [5] and board["today"]["currencies"]["EUR"]["orders"] == 5

        await eventually(caught_up)
        await client.disconnect()
        start = msgspec.convert(board["today"]["from"], type=type(now()))
        said = await Figures(database, settings).read("default", lambda view: _summary(view, start))
    assert frames[0].keys() == SNAPSHOT_KEYS
    assert [frame["version"] for frame in frames] == list(
        range(frames[0]["version"], frames[0]["version"] + len(frames))
    )
    assert not any("snapshot" in frame for frame in frames[1:])
    assert board["today"]["currencies"] == msgspec.to_builtins(said)
    assert [order["orderId"] for order in board["orders"]] == [f"o{n}" for n in (4, 3, 2, 1, 0)]
    assert board["products"] == [
        {
            "productId": "a",
            "name": "Product a",
            "category": None,
            "views": 0,
            "adds": 0,
            "currencies": {"EUR": {"units": 5, "net": "12.50"}},
        }
    ]


async def _summary(view: View, start: Any) -> Any:
    return await summary(view, Span(start, start + timedelta(days=1)))


async def test_everybody_gets_the_same_bytes(database: Database, settings: Settings) -> None:
    """A frame is encoded once: two viewers, and both namespaces, get it to the byte."""
    texts: list[dict[int, str]] = [{}, {}, {}]
    async with (
        running(database, settings) as pipeline,
        serving(database, settings) as served,
        viewer(served) as one,
        viewer(served) as two,
        viewer(served, namespace="/") as root,
    ):
        number = 0
        # They did not come at the same moment: the first ones have older frames to read before those that all have.
        while len(shared := texts[0].keys() & texts[1].keys() & texts[2].keys()) < 3:
            number += 1
            await pipeline.send([ordered(f"o{number}", now(), [("a", 1, 100, 0)])])
            for seen, each in zip(texts, (one, two, root), strict=True):
                text = await each.text()
                if "snapshot" not in json.loads(text):
                    seen[json.loads(text)["version"]] = text
    assert all(texts[0][version] == texts[1][version] == texts[2][version] for version in shared)


async def test_resync_gives_a_snapshot_and_goes_on_from_it(database: Database, settings: Settings) -> None:
    """A client that missed something asks, and counts on from what it is given."""
    async with serving(database, settings) as served, viewer(served) as watching:
        first = await watching.frame()
        await watching.frame()
        await watching.resync()
        snapshot = await watching.until("snapshot", True)
        following = await watching.frame()
    assert first["snapshot"]
    assert snapshot["version"] > first["version"]
    assert snapshot.keys() == SNAPSHOT_KEYS
    assert following["version"] == snapshot["version"] + 1


async def test_a_change_is_told_at_once(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its second look the gateway still shows an order, because it hears the broadcast."""
    monkeypatch.setattr(watch_module, "HEARTBEAT_SECONDS", 3600.0)
    async with (
        running(database, settings) as pipeline,
        serving(database, settings) as served,
        viewer(served) as watching,
    ):
        await watching.frame()
        await _subscribed(settings)
        await pipeline.send([ordered("o1", now(), [("a", 1, 100, 0)])])
        while "today" not in await watching.frame():
            pass


async def _subscribed(settings: Settings) -> None:
    """Wait until somebody hears of changes."""
    async with Redis.from_url(settings.redis_url or "") as client:

        async def heard() -> bool:
            ((_, listeners),) = await client.pubsub_numsub(CHANGES_CHANNEL)
            return bool(listeners)

        await eventually(heard)


async def test_the_board_moves_without_redis(database: Database, settings: Settings) -> None:
    """Nothing listens at the gateway's Redis; figures come with the second look."""
    deaf = msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1/0")
    async with running(database, settings) as pipeline, serving(database, deaf) as served, viewer(served) as watching:
        await watching.frame()
        await pipeline.send([ordered("o1", now(), [("a", 1, 100, 0)])])
        while "today" not in await watching.frame():
            pass


async def test_only_pages_of_the_same_host_may_watch(database: Database, settings: Settings) -> None:
    """A page from elsewhere is refused by either transport; the own page and programs are not."""
    async with serving(database, settings) as served:
        for origin in ("http://evil.example", f"http://127.0.0.1:{served.port + 1}", "null"):
            with pytest.raises(InvalidStatus):
                async with viewer(served, origin=origin):
                    pass
            async with aiohttp.ClientSession() as http:
                address = f"{served.url}/socket.io/?EIO=4&transport=polling"
                async with http.get(address, headers={"Origin": origin}) as answer:
                    assert answer.status == 400
        async with viewer(served, origin=f"http://127.0.0.1:{served.port}") as watching:
            assert (await watching.frame())["snapshot"]
        async with viewer(served) as watching:
            assert (await watching.frame())["snapshot"]


@pytest.mark.parametrize("shop", ["Upper", "", "a/b", "../x", 7, None, {"$gt": ""}])
async def test_a_shop_that_cannot_be_is_refused(database: Database, settings: Settings, shop: Any) -> None:
    """The client is told why."""
    async with serving(database, settings) as served:
        client = socketio.AsyncClient()
        reasons: list[Any] = []
        client.on("connect_error", reasons.append, namespace="/live")
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(served.url, namespaces=["/live"], auth={"shop": shop})
        assert served.gateway.watched == []
        await client.disconnect()
    assert "shop must be" in str(reasons)


async def test_each_shop_sees_its_own(database: Database, settings: Settings) -> None:
    """Figures, time zone and warnings of one shop never reach another's viewers."""
    shops = {"default": Shop(), "tokyo": Shop(time_zone="Asia/Tokyo")}
    both = msgspec.structs.replace(settings, shops=shops)
    async with running(database, both) as pipeline, serving(database, both) as served:
        await pipeline.send(
            [
                ordered("o1", now(), [("a", 1, 100, 0)]),
                ordered("o2", now(), [("b", 1, 7, 0)], currency="JPY", shop="tokyo"),
            ]
        )
        async with viewer(served) as here, viewer(served, shop="tokyo") as there:
            one, other = await here.frame(), await there.frame()
    assert (one["shop"], other["shop"]) == ("default", "tokyo")
    assert (list(one["today"]["currencies"]), list(other["today"]["currencies"])) == (["USD"], ["JPY"])
    assert (one["timeZone"], other["timeZone"]) == ("UTC", "Asia/Tokyo")
    assert other["today"]["from"].endswith("T00:00:00+09:00")


async def test_another_source_of_money_is_warned_of(database: Database, settings: Settings) -> None:
    """Its orders change no figure, and the board says that they are there."""
    async with running(database, settings) as pipeline, serving(database, settings) as served:
        await pipeline.send([ordered("o1", now(), [("a", 1, 100, 0)], source="shopify")])
        async with viewer(served) as watching:
            frame = await watching.frame()
    assert frame["today"]["currencies"] == {}
    assert frame["warnings"] == [
        "Source shopify reports money too; figures are those of orders, the shop's source of record."
    ]


async def test_what_is_parked_is_told_until_it_is_decided(database: Database, settings: Settings) -> None:
    """An order that cannot be processed stands on its shop's board with the reason; dropped, it is gone from there."""
    event = ordered("o1", now(), [("a", 1, 100, 0)])
    event.payload["currency"] = "XXX"
    async with running(database, settings) as pipeline, serving(database, settings) as served:
        await pipeline.send([event])
        async with viewer(served) as watching, viewer(served, shop="other") as elsewhere:
            told = await watching.frame()
            while not told.get("parked"):
                told = await watching.frame()
            parked = told["parked"]
            assert (parked["events"], parked["total"], parked["unreadable"]) == (1, 1, 0)
            (waiting,) = parked["aggregates"]
            assert (waiting["aggregateId"], waiting["events"]) == ("o1", 1)
            assert "XXX" in waiting["reason"]
            assert (await elsewhere.frame())["parked"] is None
            wish = Wish(partition=partition_of("default", "o1", 8), kind="drop", origin=event.origin, reason="a test")
            await Requests(database).ask([wish], by="a test")
            await watching.until("parked", None)


async def test_a_socket_that_takes_nothing_is_dropped(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen viewer is given up and its frames are freed, while the others go on."""
    async with serving(database, settings) as served, viewer(served) as healthy:
        await healthy.frame()
        frozen = await _frozen(served)
        await eventually(lambda: served.gateway.viewers == 2)
        await eventually(lambda: len(_crowd(served)._welcomed) == 2)
        frame = json.dumps({"filling": "x" * 200_000}).encode()
        while served.gateway.viewers == 2:
            _crowd(served).broadcast(frame)
            await healthy.frame()
        assert len(served.gateway._server.eio.sockets) == 1
        while "asOf" not in await healthy.frame():
            pass
        frozen.close()


async def _frozen(served: Served) -> socket.socket:
    """A viewer over a plain socket that reads its handshakes and nothing more."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", served.port))
    upgrade = (
        f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(sock, upgrade.encode())
    assert b"101" in await loop.sock_recv(sock, 1024)
    await loop.sock_sendall(sock, b"\x81\x87\0\0\0\0" + b"40/live")
    return sock


def _crowd(served: Served) -> Any:
    return served.gateway._watched["default"].crowd


async def test_nothing_is_read_while_nobody_watches(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last viewer has left the shop is no longer read, and Redis is no longer heard."""
    monkeypatch.setattr(gateway_module, "LINGER_SECONDS", 0.05)
    async with serving(database, settings) as served:
        async with viewer(served) as watching:
            await watching.frame()
            assert served.gateway.watched == ["default"]
        await eventually(lambda: served.gateway.watched == [])
        await eventually(lambda: served.gateway._listener._task is None)
        async with viewer(served) as watching:
            assert (await watching.frame())["snapshot"]


BROKEN = [
    "",
    "x",
    "9",
    "4",
    "4x",
    "42/live,",
    "42/live,{}",
    '42/live,["nope"]',
    "4999",
    "45-",
    "451-/live,[]",
    "44/live,",
]


async def test_broken_packets_hurt_only_their_sender(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a client sends, the others get their frames and nothing fails loudly."""
    async with serving(database, settings) as served, viewer(served) as healthy:
        messages: list[str | bytes] = [*BROKEN, "4" + "[" * 5000, "x" * 20_000, b"\0\1", b"x" * 20_000]
        for message in messages:
            async with viewer(served) as broken:
                await broken.connection.send(message)
                await healthy.frame()
        async with aiohttp.ClientSession() as http:
            address = f"{served.url}/socket.io/?EIO=4&transport=polling"
            async with http.get(address) as opened:
                sid = json.loads((await opened.text())[1:])["sid"]
            for body in [*BROKEN, "x" * 20_000, "\x1e" * 40, "40/live,{"]:
                async with http.post(f"{address}&sid={sid}", data=body) as answer:
                    assert answer.status < 500
        assert not (await healthy.frame()).keys() - SNAPSHOT_KEYS
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.timeout(180)
async def test_frames_go_on_while_mongodb_does_not_answer(own_servers: Instance) -> None:
    """With MongoDB frozen, heartbeats say how old the figures have become; thawed, the figures come back."""
    settings = own_servers.settings
    database = await Database.connect(settings, role="test")
    async with serving(database, settings) as served, viewer(served) as watching:
        await watching.frame()
        own_servers.freeze("mongod")
        frames = [await watching.frame() for _ in range(8)]
        own_servers.thaw("mongod")
        while (await watching.frame())["completeTo"]["money"] <= frames[-1]["completeTo"]["money"]:
            pass
    await database.close()
    assert [frame["version"] for frame in frames] == [*range(frames[0]["version"], frames[0]["version"] + 8)]
    assert frames[-1]["completeTo"] == frames[-2]["completeTo"]
    assert frames[-1]["asOf"] > frames[-2]["asOf"]
