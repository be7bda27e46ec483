"""Write keys: who may report what for which shop. Stored hashed; a revoked key stops working within seconds.

``pk_`` keys are public: anybody can read them in a page, so what comes with them is behaviour and never money.
``sk_`` keys are secret: they may report money. Documents in ``keys`` are ``{_id: SHA-256 of the key, kind, shop,
prefix, createdAt}``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from datetime import datetime
from enum import Enum
from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec
from pymongo.errors import PyMongoError

from rushlight.errors import Rejected, Unavailable, in_short
from rushlight.events.envelope import now
from rushlight.settings import DEFAULT_SHOP, SHOP_ID
from rushlight.store.database import Database, Document

Kind = Literal["public", "secret"]

PREFIXES: dict[Kind, str] = {"public": "pk_", "secret": "sk_"}
KEY_BYTES = 24  # 192 bits
SHOWN_CHARACTERS = 6
MAX_KEY_CHARACTERS = 128
FRESH_SECONDS = 2.0
STALE_SECONDS = 5.0
# While MongoDB is away, keys that were good keep working: what they bring is safe in the log.
OUTAGE_SECONDS = 3600.0
MAX_CACHED_KEYS = 10_000


class Key(NamedTuple):
    """What a key allows."""

    kind: Kind
    shop: str
    prefix: str


class Unsure(Enum):
    """The type of UNSURE."""

    UNSURE = "unsure"


UNSURE = Unsure.UNSURE


class _Cached(NamedTuple):
    key: Key | None
    read_at: float


async def create(database: Database, kind: Kind, shop: str = DEFAULT_SHOP) -> str:
    """Make a key and return its text, which is not stored and cannot be shown again.

    Raises:
        Rejected: the kind or the shop id is malformed.
        Unavailable: MongoDB does not answer.
    """
    if kind not in PREFIXES:
        raise Rejected("must be public or secret", field="kind")
    if not SHOP_ID.match(shop):
        raise Rejected("must be lower-case letters, digits and hyphens, at most 63", field="shop")
    text = PREFIXES[kind] + secrets.token_urlsafe(KEY_BYTES)
    prefix = text[: len(PREFIXES[kind]) + SHOWN_CHARACTERS]
    document: Document = {"_id": digest(text), "kind": kind, "shop": shop, "prefix": prefix, "createdAt": now()}
    try:
        await database.keys.insert_one(document)
    except PyMongoError as error:
        raise Unavailable(f"the key cannot be stored: {error}") from error
    return text


class Listed(msgspec.Struct, frozen=True):
    """A key as a listing shows it: by its first characters only."""

    prefix: str
    kind: Kind
    shop: str
    created: datetime


async def listed(database: Database) -> list[Listed]:
    """Every key that works, the oldest first.

    Raises:
        Unavailable: MongoDB does not answer.
    """
    try:
        found = await database.keys.find({}, {"_id": 0}).sort("createdAt").to_list()
    except PyMongoError as error:
        raise Unavailable(f"the keys cannot be read: {in_short(error)}") from error
    return [Listed(key["prefix"], key["kind"], key["shop"], key["createdAt"]) for key in found]


async def revoke(database: Database, text: str) -> int:
    """Delete a key, or those that begin with the characters that listings show; returns how many.

    Args:
        text: the whole key, or its prefix as it is listed.

    Raises:
        Unavailable: MongoDB does not answer.
    """
    try:
        return (await database.keys.delete_many({"$or": [{"_id": digest(text)}, {"prefix": text}]})).deleted_count
    except PyMongoError as error:
        raise Unavailable(f"the key cannot be revoked: {in_short(error)}") from error


def digest(text: str) -> str:
    """The name under which a key is stored."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Keyring:
    """Verifies keys for one process and remembers for a few seconds what it found, good or bad."""

    def __init__(self, database: Database) -> None:
        self._keys = database.keys
        self._cache: OrderedDict[str, _Cached] = OrderedDict()
        self._reading: dict[str, asyncio.Task[Key | None]] = {}

    async def verify(self, text: str) -> Key | None:
        """What the key allows, or None for no key of ours.

        Raises:
            Unavailable: MongoDB does not answer, and the key was not seen before.
        """
        known = self.known(text)
        if known is not UNSURE:
            return known
        cached = self._cache.get(text)
        try:
            return await asyncio.shield(self._refresh(text))
        except PyMongoError as error:
            age = asyncio.get_running_loop().time() - cached.read_at if cached else OUTAGE_SECONDS
            if cached and cached.key and age < OUTAGE_SECONDS:
                return cached.key
            raise Unavailable("keys cannot be verified now") from error

    def known(self, text: str) -> Key | Unsure | None:
        """The same without waiting: UNSURE where `verify` would have to ask first."""
        cached = self._cache.get(text)
        if cached is None:
            shaped = len(text) <= MAX_KEY_CHARACTERS and text.startswith(tuple(PREFIXES.values()))
            return UNSURE if shaped else None
        age = asyncio.get_running_loop().time() - cached.read_at
        if age >= FRESH_SECONDS:
            self._refresh(text)
        return cached.key if age < STALE_SECONDS else UNSURE

    def _refresh(self, text: str) -> asyncio.Task[Key | None]:
        reading = self._reading.get(text)
        if reading is None:
            reading = self._reading[text] = asyncio.create_task(self._read(text))
            reading.add_done_callback(lambda done: self._read_done(text, done))
        return reading

    async def _read(self, text: str) -> Key | None:
        document = await self._keys.find_one({"_id": digest(text)})
        key = Key(document["kind"], document["shop"], document["prefix"]) if document else None
        self._cache[text] = _Cached(key, asyncio.get_running_loop().time())
        self._cache.move_to_end(text)
        if len(self._cache) > MAX_CACHED_KEYS:
            self._cache.popitem(last=False)
        return key

    def _read_done(self, text: str, done: asyncio.Task[Key | None]) -> None:
        self._reading.pop(text, None)
        if not done.cancelled():
            done.exception()  # whoever waited has it; nobody may have
