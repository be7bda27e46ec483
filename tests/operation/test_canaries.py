"""Known secrets are sent to every door and given to every role; then logs, metrics and error bodies are searched."""

from __future__ import annotations

import asyncio
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from rushlight.ingest.keys import create
from rushlight.local.process import spawn
from rushlight.settings import ENV_WHOLE, Settings
from rushlight.store.database import Database
from tests.conftest import Launch
from tests.engine.audit import eventually

CANARY = "c4n4ryWord"
KEY = f"sk_{CANARY}abcdefghijklmnopqrst"
MAIL = f"{CANARY}@customers.example"
CARD = "4111 1111 1111 1111"
CLOUD = "application/cloudevents+json"
NOWHERE = "127.0.0.1:1"


def requests(board: str, orders: str, good: str) -> list[tuple[str, str, dict[str, str], Any]]:
    """Method, URL, headers and body of everything that is tried."""
    ga4: dict[str, Any]
    basic = b64encode(f"{KEY}:".encode()).decode()
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "view_item", "subject": "v"}
    bearer = {"authorization": f"Bearer {good}", "content-type": CLOUD}
    order = {"currency": "USD", "customerId": MAIL, "lines": [{"productId": "p", "quantity": 1, "unitPrice": "1.00"}]}
    money = {"transaction_id": CARD, "currency": MAIL, "items": [{"item_id": MAIL, "price": CANARY, "coupon": KEY}]}
    ga4 = {"client_id": MAIL, "user_id": MAIL, "user_properties": {"mail": {"value": MAIL}}}
    ga4["events"] = [{"name": "purchase", "params": money}, {"name": "refund", "params": {"note": CANARY}}]
    tea = {"item_id": "tea", "price": 3.59, "quantity": 2}
    sold = {"name": "purchase", "params": {"transaction_id": "o1", "currency": "EUR", "value": 7.18, "items": [tea]}}
    return [
        ("POST", f"{board}/events", {"authorization": f"Bearer {KEY}", "content-type": CLOUD}, event),
        ("POST", f"{board}/events", {"authorization": f"Basic {basic}", "content-type": CLOUD}, event),
        ("POST", f"{board}/events", {"x-write-key": KEY, "content-type": CLOUD}, event),
        ("POST", f"{board}/events", {"cookie": f"session={KEY}", "content-type": CLOUD}, event),
        ("POST", f"{board}/events", bearer, {**event, "data": {"email": MAIL, "password": CANARY}}),
        ("POST", f"{board}/events", bearer, {**event, "type": "order_created", "data": {"customerId": MAIL}}),
        ("POST", f"{board}/events", bearer, {"password": CANARY, "token": KEY}),
        ("POST", f"{board}/events", bearer, {**event, "id": "", "data": {"email": MAIL, "card": CARD, "token": KEY}}),
        ("POST", f"{board}/events", bearer, {**event, "type": "order_created", "data": {"note": CARD, MAIL: KEY}}),
        ("POST", f"{board}/events", bearer, b'{"password": "%s", "card": "%s"' % (CANARY.encode(), CARD.encode())),
        ("POST", f"{board}/mp/collect?api_secret={KEY}", {}, {"client_id": MAIL, "events": [{"name": CARD}]}),
        ("POST", f"{board}/mp/collect?api_secret={good}&x={CANARY}", {}, ga4),
        ("POST", f"{board}/mp/collect?api_secret={good}", {}, {"client_id": "v1", "events": [sold]}),
        ("GET", f"{board}/api/v1/summary", {"authorization": f"Bearer {KEY}"}, None),
        ("GET", f"{board}/api/v1/customers/none?token={KEY}", {}, None),
        ("GET", f"{board}/api/v1/summary?from={KEY}", {}, None),
        ("POST", f"{orders}/orders", {"idempotency-key": KEY}, {"lines": [], "password": CANARY}),
        ("POST", f"{orders}/orders", {"idempotency-key": KEY}, order),
        ("POST", f"{orders}/orders", {"idempotency-key": KEY}, {**order, "currency": "EUR"}),
        ("POST", f"{orders}/orders/none/pay", {"authorization": f"Bearer {KEY}"}, {"paymentId": KEY}),
        ("GET", f"{orders}/orders/none?token={KEY}", {}, None),
        ("POST", f"{orders}/orders", {"content-type": "text/plain"}, {"password": CANARY}),
    ]


async def test_no_secret_comes_back(settings: Settings, launch: Launch) -> None:
    """Wrong keys, good keys, passwords, tokens and addresses: no log, no metric and no refusal repeats one."""
    instance = launch(settings, "web", "worker", "orders").ready()
    board, orders = instance.urls["board"], instance.urls["orders"]
    database = await Database.connect(settings, role="test")
    try:
        good = await create(database, "secret")
        told: list[str] = []
        async with aiohttp.ClientSession() as session:
            for method, url, headers, body in requests(board, orders, good):
                async with session.request(
                    method,
                    url,
                    headers=headers,
                    data=body if body is None or isinstance(body, bytes) else msgspec.json.encode(body),
                ) as answer:
                    text = await answer.text()
                    if answer.status >= 400:
                        told.append(f"{method} {answer.status}: {text}")
                        assert CANARY not in text, told[-1]

            async def stored() -> bool:
                sold = {"eventName": "order_created", "context.dialect": "ga4", "payload.gross": 718}
                return await database.journal.count_documents(sold) == 1

            async def sampled() -> bool:
                found = await database.rejected.find({"at": {"$exists": True}}).to_list()
                return {"key", "json", "missing"} <= {sample["code"] for sample in found}

            await eventually(stored)
            await eventually(sampled)
            async with session.get(f"{board}/api/v1/rejected") as answer:
                told.append(await answer.text())
                samples = msgspec.json.decode(told[-1])["samples"]
                assert any("transaction_id" in sample["sample"] for sample in samples), told[-1]
            async with session.get(f"{board}/api/v1/tracking") as answer:
                told.append(await answer.text())
                assert {"accepted", "rejected"} <= {event["state"] for event in msgspec.json.decode(told[-1])["events"]}
            async with session.get(f"{board}/docs/openapi.json") as answer:
                assert {"/events", "/mp/collect", "/api/v1/summary"} <= (await answer.json())["paths"].keys()
            for url in (board, orders):
                async with session.get(f"{url}/metrics") as answer:
                    told.append(await answer.text())
    finally:
        await database.close()
    instance_logs = sorted((instance.settings.path / "log").glob("*.log*"))
    assert {"web.log", "worker-1.log", "orders.log"} <= {path.name for path in instance_logs}
    told += [path.read_text(errors="replace") for path in instance_logs]
    for text in told:
        assert CANARY not in text
        assert CARD not in text
        assert good not in text


async def test_no_role_tells_the_password_that_it_was_given(tmp_path: Path) -> None:
    """A server that cannot be reached is named in the complaint, the password in its URL is not."""
    await asyncio.gather(*(_tells_no_password(role, tmp_path / role) for role in ("web", "worker", "orders", "relay")))


async def _tells_no_password(role: str, folder: Path) -> None:
    folder.mkdir()
    settings = Settings(
        data=str(folder / "data"),
        port=0,
        redis_url=f"redis://user:{CANARY}@{NOWHERE}/0",
        mongo_url=f"mongodb://admin:{CANARY}@{NOWHERE}/?serverSelectionTimeoutMS=300",
        orders_mongo_url=f"mongodb://shop:{CANARY}@{NOWHERE}/?serverSelectionTimeoutMS=300",
    )
    command = [sys.executable, "-P", "-m", "rushlight.app", role]
    child = spawn(role, command, log=folder / "log", environment={ENV_WHOLE: settings.to_json()})
    assert await child.wait() != 0
    text = (folder / "log").read_text()
    assert NOWHERE in text
    assert CANARY not in text
