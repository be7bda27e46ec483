"""Notices: lines that operators and programs put on the board. Only a secret key may."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec

from rushlight.events.envelope import now
from rushlight.store.database import Database

NoticeKind = Literal["info", "fault", "healed"]
MAX_TEXT_CHARACTERS = 280
KEPT_NOTICES = 200


class NewNotice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to show: plain text of at most 280 characters, and what kind of news it is."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
    kind: NoticeKind = "info"


class Notice(msgspec.Struct, kw_only=True):
    """A line on the board."""

    at: datetime
    text: str
    kind: NoticeKind


async def post(database: Database, shop: str, notice: NewNotice) -> Notice:
    """Put a line on a shop's board; the shop's oldest beyond 200 go."""
    posted = Notice(at=now(), text=notice.text, kind=notice.kind)
    await database.notices.insert_one({"shop": shop, **msgspec.structs.asdict(posted)})
    old = database.notices.find({"shop": shop}, {"_id": 1}).sort("_id", -1).skip(KEPT_NOTICES)
    if ids := [document["_id"] async for document in old]:
        await database.notices.delete_many({"_id": {"$in": ids}})
    return posted


async def latest(database: Database, shop: str, limit: int, session: Any = None) -> list[Notice]:
    """The newest lines, newest first."""
    found = database.notices.find({"shop": shop}, session=session).sort("_id", -1).limit(limit)
    return [Notice(at=row["at"], text=row["text"], kind=row["kind"]) async for row in found]


async def shop_of_secret_key(database: Database, key: str) -> str | None:
    """The shop whose secret key this is, or None. Keys are kept only as their SHA-256, and may have an end."""
    digest = sha256(key.encode("utf-8", "replace")).hexdigest()
    found = await database.keys.find_one({"_id": digest, "kind": "secret"}, {"shop": 1, "expiresAt": 1})
    if found is None or ("expiresAt" in found and found["expiresAt"] <= now()):
        return None
    return str(found["shop"])
