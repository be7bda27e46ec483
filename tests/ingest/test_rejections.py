"""What was turned away is kept for whoever looks for a mistake: cleaned, bounded, and at nobody's expense."""

from __future__ import annotations

import json
from typing import Any

from rushlight.ingest.keys import Key
from rushlight.ingest.redacting import CUT, MAX_SAMPLE_BYTES, sample_of, shown_path, shown_reason
from rushlight.ingest.refusals import unknown_key
from rushlight.ingest.rejections import MAX_OF_A_KIND, MAX_OF_A_SHOP, MAX_SAMPLES, WHOLE, Rejections
from rushlight.ingest.request import Rejection
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.rejected import KEPT, latest
from tests.ingest.making import until

PUBLIC = Key("public", "default", "pk_abcdef")
SECRETS = {
    "email": "jane@customers.example",
    "phone": "+49 30 1234567",
    "password": "correct horse",
    "card": "4111 1111 1111 1111",
    "number": 4111111111111111,
    "value": 4111111111111111,
    "cvv": 735,
    "birth year": 1973,
    "deeper": {"codes": [{"pin": 7350}]},
    "price": "horse",
    "writeKey": "sk_0123456789abcdefghijklmnop",
    "traits": {"name": "Jane Doe", "street": "Elm Street"},
    "userId": "jane@customers.example",
    "orderId": "4111-1111-1111-1111",
    "type": "jane@customers.example",
    "page_location": "https://shop.example/reset?token=tttt",
    "jane@customers.example": 1,
    "sk_0123456789abcdefghijklmnop": {"name": "Jane Doe"},
    "deep": [{"name": "Jane Doe", "note": "Elm Street"}],
}
HIDDEN = ("jane", "Jane", "1234567", "horse", "1111", "0123456789", "Elm", "tttt", "token", "73")


def shown(event: Any, index: int = WHOLE, dialect: str = "cloudevents") -> Any:
    """The sample of a request's event."""
    return json.loads(sample_of(json.dumps(event).encode(), index, dialect=dialect))


def test_nothing_that_names_a_person_or_opens_a_door() -> None:
    """Keys, addresses, numbers of cards and phones, passwords and names are gone, wherever they stand."""
    for body, index in ((SECRETS, WHOLE), ({"events": [{}, SECRETS]}, 1), ([SECRETS], 0), ({"batch": [SECRETS]}, 0)):
        text = json.dumps(shown(body, index))
        assert not [word for word in HIDDEN if word in text], text
    assert shown(SECRETS)["password"] == "… (13 characters)"


def test_what_says_what_is_wrong_is_shown() -> None:
    """Names, prices and ids of products and orders stay, and of links the host."""
    event = {"name": "purchase", "params": {"currency": "usd", "transaction_id": "o1", "value": 12.5, "new": True}}
    items = [{"item_id": "tea", "name": "Tea", "quantity": "many"}] * 5
    told = shown({"events": [event | {"items": items, "page_location": "https://shop.example/x?y=z"}]}, 0, "ga4")
    assert told["name"] == "purchase"
    assert told["params"] == event["params"]
    assert shown({"orderId": 17, "quantity": 2.5, "position": 3}) == {
        "orderId": 17,
        "quantity": 2.5,
        "position": "… (number)",
    }
    assert told["items"][0] == {"item_id": "tea", "name": "Tea", "quantity": "… (4 characters)"}
    assert told["items"][3:] == ["… (2 more)"]
    assert told["page_location"] == "https://shop.example/…"


def test_a_sample_has_bounds() -> None:
    """2 KiB, cut; and nothing of what is not JSON, too large, too deep, or not there."""
    wide = {f"field {n}": ["orderId" * 9] * 3 for n in range(40)}
    assert len(sample_of(json.dumps(wide).encode(), WHOLE, dialect="").encode()) <= MAX_SAMPLE_BYTES
    deep = b"[" * 100_000 + b"]" * 100_000
    for body, index in ((b'{"password": "x"', WHOLE), (b"[1]", 1), (deep, WHOLE), (b" " * (1 << 19) + b"1", WHOLE)):
        assert sample_of(body, index, dialect="") == ""


def test_reasons_and_paths() -> None:
    """A reason keeps numbers and currencies that it quotes, and a path the names that are names."""
    assert shown_reason("'12,50' is not a decimal number") == "'12,50' is not a decimal number"
    assert shown_reason("'XXQ' is no currency, 'Jane Doe' neither") == "'XXQ' is no currency, '…' neither"
    media_types = "send application/cloudevents+json or application/cloudevents-batch+json, not application/xml"
    assert shown_reason(media_types) == media_types
    for text in ("", "pk_unknown"):
        assert shown_reason(str(unknown_key(text))) == str(unknown_key(text))
    assert shown_reason("not application/jane-doe-of-elm-street") == f"not {CUT}"
    assert shown_path("data.items[12].price") == "data.items[12].price"
    assert shown_path("data.4111-1111-1111-1111[0]") == "data.…[0]"
    assert "jane" not in shown_path("data.jane@customers.example[0]")


async def test_samples_and_counts(database: Database) -> None:
    """Everything is counted; of a flood some are kept, of each kind, also of those whose key nobody knows."""
    rejections = Rejections(database)
    rejections.start()
    body = json.dumps({"type": "x", "orderId": 1}).encode()
    rejections.events(PUBLIC, "web", "cloudevents", [Rejection(WHOLE, "id", "must be text", "missing")] * 500, body)
    rejections.events(PUBLIC, "web", "ga4", [Rejection(WHOLE, "", "the body is not JSON", "json")], b"{")
    rejections.stranger("sk_0123456789abcdefghij", "ga4", Rejection(WHOLE, "", "not known", "key"))
    rejections.stranger("hunter2", "", Rejection(WHOLE, "", "not known", "key"))
    await rejections.stop()

    async def written() -> bool:  # by a majority, which nobody waited for
        return len((await latest(database, "default", KEPT))[2]) == MAX_OF_A_KIND + 3

    await until(written)
    counts, unknown, samples = await latest(database, "default", KEPT)
    assert counts == {"web": {"missing": 500, "json": 1}}
    assert unknown == {"unknown": {"key": 2}}
    assert sorted(sample.code for sample in samples) == ["json", "key", "key", *["missing"] * MAX_OF_A_KIND]
    assert {sample.key for sample in samples} == {"pk_abcdef", "sk_0123…", ""}
    missing = next(sample for sample in samples if sample.code == "missing")
    assert (missing.field, missing.reason, json.loads(missing.sample)) == (
        "id",
        "must be text",
        {"type": "x", "orderId": 1},
    )


async def test_only_the_last_are_kept(database: Database) -> None:
    """A shop has a hundred samples at most."""
    for number in range(KEPT // MAX_OF_A_SHOP + 3):
        rejections = Rejections(database)
        rejections.start()
        found = [Rejection(number, "", "wrong", f"code{n}") for n in range(MAX_SAMPLES + 5)]
        rejections.events(PUBLIC, "web", "ga4", found, b"[]")
        await rejections.stop()

    async def kept() -> bool:
        counts, _, _ = await latest(database, "default", KEPT)
        return counts.get("web", {}).get("code0") == KEPT // MAX_OF_A_SHOP + 3

    await until(kept)
    assert await database.rejected.count_documents({"shop": "default", "at": {"$exists": True}}) == KEPT


async def test_without_mongodb(settings: Settings) -> None:
    """Counts and the first samples wait; nobody who notes something hears of it."""
    database = await Database.connect(settings, role="test")
    rejections = Rejections(database)
    rejections.start()
    await database.close()
    rejections.events(PUBLIC, "web", "ga4", [Rejection(WHOLE, "", "wrong", "json")], b"[]")
    await rejections.stop()
    again = await Database.connect(settings, role="test")
    try:
        assert await latest(again, "default", KEPT) == ({}, {}, [])
    finally:
        await again.close()
