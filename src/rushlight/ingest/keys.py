"""Write keys: who may report what for which shop. Stored hashed; a revoked key stops working within seconds.

``pk_`` keys are public: anybody can read them in a page, so what comes with them is behaviour and never money; they may
be bound to the origins of the shop's pages. ``sk_`` keys are secret: they may report money. Documents in ``keys`` are
``{_id: SHA-256 of the key, kind, shop, prefix, createdAt, origins?, limit?, expiresAt?, usedAt?}``.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import msgspec
from pymongo.errors import PyMongoError

from rushlight.errors import Rejected, Unavailable, in_short
from rushlight.events.envelope import now
from rushlight.ingest import origins as origins_
from rushlight.settings import DEFAULT_SHOP, SHOP_ID
from rushlight.store.database import Database, Document

Kind = Literal["public", "secret"]

PREFIXES: dict[Kind, str] = {"public": "pk_", "secret": "sk_"}
KEY_BYTES = 24  # 192 bits
SHOWN_CHARACTERS = 6
KEY_TEXT = re.compile(r"[ps]k_[A-Za-z0-9_-]{32}\Z")
MAX_LIMIT = 1_000_000
FRESH_SECONDS = 2.0
STALE_SECONDS = 5.0
# While MongoDB is away, keys that were good keep working: what they bring is safe in the log.
OUTAGE_SECONDS = 3600.0
MAX_CACHED_KEYS = 10_000
# Texts that look like keys and were never seen are looked up at most this often: guessing must not wear MongoDB out.
LOOKUPS_PER_SECOND = 100.0
USED_SECONDS = 60.0


class Key(NamedTuple):
    """What a key allows.

    Attributes:
        prefix: its first characters, by which people name it. origins: of the pages that may use it; none: any.
        limit: events a second; None: what the settings say. expires: Unix time of its end; None: none.
    """

    kind: Kind
    shop: str
    prefix: str
    origins: tuple[str, ...] = ()
    limit: int | None = None
    expires: float | None = None


class Unsure(Enum):
    """The type of UNSURE."""

    UNSURE = "unsure"


UNSURE = Unsure.UNSURE


class _Cached(NamedTuple):
    key: Key
    read_at: float


async def create(
    database: Database,
    kind: Kind,
    shop: str = DEFAULT_SHOP,
    *,
    origins: Iterable[str] = (),
    limit: int | None = None,
) -> str:
    """Make a key and return its text, which is not stored and cannot be shown again.

    Args:
        origins: of the pages that may use it, for public keys. limit: events a second.

    Raises:
        Rejected: the kind, the shop id, an origin or the limit is malformed.
        Unavailable: MongoDB does not answer.
    """
    if kind not in PREFIXES:
        raise Rejected("must be public or secret", field="kind")
    if not SHOP_ID.match(shop):
        raise Rejected("must be lower-case letters, digits and hyphens, at most 63", field="shop")
    return await _insert(database, {"kind": kind, "shop": shop, **_rights(kind, origins, limit)})


class Listed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key as a listing shows it: by its first characters only. ``used``: to about a minute."""

    prefix: str
    kind: Kind
    shop: str
    created: datetime
    origins: tuple[str, ...] = ()
    limit: int | None = None
    expires: datetime | None = None
    used: datetime | None = None


async def listed(database: Database) -> list[Listed]:
    """Every key that was not revoked, the oldest first.

    Raises:
        Unavailable: MongoDB does not answer.
    """
    try:
        found = await database.keys.find({}, {"_id": 0}).sort("createdAt").to_list()
    except PyMongoError as error:
        raise Unavailable(f"the keys cannot be read: {in_short(error)}") from error
    return [
        Listed(
            key["prefix"],
            key["kind"],
            key["shop"],
            key["createdAt"],
            origins=tuple(key.get("origins", ())),
            limit=key.get("limit"),
            expires=key.get("expiresAt"),
            used=key.get("usedAt"),
        )
        for key in found
    ]


async def revoke(database: Database, text: str) -> int:
    """Delete a key, or those that begin with the characters that listings show; returns how many.

    Args:
        text: the whole key, or its prefix as it is listed.

    Raises:
        Unavailable: MongoDB does not answer.
    """
    try:
        return (await database.keys.delete_many(_named(text))).deleted_count
    except PyMongoError as error:
        raise Unavailable(f"the key cannot be revoked: {in_short(error)}") from error


async def rotate(database: Database, text: str, grace: timedelta) -> str:
    """A new key with the rights of another, which goes on working until the grace ends; returns the new one's text.

    Args:
        text: the old key, or its prefix as it is listed.

    Raises:
        Rejected: there is no such key, or more than one. Unavailable: MongoDB does not answer.
    """
    old = await _one(database, text)
    end = now() + grace
    rights: Document = {name: old[name] for name in ("kind", "shop", "origins", "limit") if name in old}
    # The new one first: ended here, there is one key too many, and nobody is locked out.
    made = await _insert(database, rights)
    try:
        await database.keys.update_one({"_id": old["_id"]}, {"$min": {"expiresAt": end}})
    except PyMongoError as error:
        raise Unavailable(f"the old key still works without an end: {in_short(error)}") from error
    return made


async def change(
    database: Database, text: str, *, origins: Iterable[str] | None = None, limit: int | None = None
) -> None:
    """Give a key other origins (none: any) or another limit (0: what the settings say); None leaves it.

    Raises:
        Rejected: there is no such key, or more than one, or a value is malformed. Unavailable: MongoDB does not answer.
    """
    key = await _one(database, text)
    given: Document = _rights(key["kind"], origins or (), limit or None)
    asked = {name for name, value in (("origins", origins), ("limit", limit)) if value is not None}
    statement: Document = {}
    if kept := {name: value for name, value in given.items() if name in asked}:
        statement["$set"] = kept
    if gone := asked - set(given):
        statement["$unset"] = dict.fromkeys(gone, "")
    if not statement:
        return
    try:
        await database.keys.update_one({"_id": key["_id"]}, statement)
    except PyMongoError as error:
        raise Unavailable(f"the key cannot be changed: {in_short(error)}") from error


def _rights(kind: Kind, origins: Iterable[str], limit: int | None) -> Document:
    rights: Document = {}
    if found := origins_.checked(origins):
        if kind != "public":
            raise Rejected("only public keys have origins: a secret key is for servers", field="origin")
        rights["origins"] = list(found)
    if limit is not None:
        if not 0 < limit <= MAX_LIMIT:
            raise Rejected(f"must be 1 to {MAX_LIMIT} events a second", field="limit")
        rights["limit"] = limit
    return rights


async def _insert(database: Database, rights: Document) -> str:
    start = PREFIXES[rights["kind"]]
    text = start + secrets.token_urlsafe(KEY_BYTES)
    document = {"_id": digest(text), "prefix": text[: len(start) + SHOWN_CHARACTERS], "createdAt": now(), **rights}
    try:
        await database.keys.insert_one(document)
    except PyMongoError as error:
        raise Unavailable(f"the key cannot be stored: {error}") from error
    return text


async def _one(database: Database, text: str) -> Document:
    try:
        found = await database.keys.find(_named(text)).to_list()
    except PyMongoError as error:
        raise Unavailable(f"the keys cannot be read: {in_short(error)}") from error
    if len(found) != 1:
        reason = (
            "several begin so: give the whole key" if found else "there is none like this: see `rushlight keys list`"
        )
        raise Rejected(reason, field="key")
    return found[0]


def _named(text: str) -> dict[str, Any]:
    return {"$or": [{"_id": digest(text)}, {"prefix": text}]}


def digest(text: str) -> str:
    """The name under which a key is stored."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Keyring:
    """Verifies keys for one process and remembers for a few seconds what it found, good or bad."""

    def __init__(self, database: Database) -> None:
        self._keys = database.keys
        # By text: a dict compares texts only when their keyed hashes are equal, which tells a guesser nothing.
        self._good: OrderedDict[str, _Cached] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._reading: dict[str, asyncio.Task[Key | None]] = {}
        self._noting: set[asyncio.Task[None]] = set()
        self._lookups, self._lookups_at = LOOKUPS_PER_SECOND, 0.0

    async def verify(self, text: str) -> Key | None:
        """What the key allows, or None for no key of ours, or one that has expired.

        Raises:
            Unavailable: MongoDB does not answer and the key was not seen before, or too many unknown ones are tried.
        """
        known = self.known(text)
        if known is not UNSURE:
            return known
        present = asyncio.get_running_loop().time()
        cached = self._good.get(text)
        if cached is None and text not in self._reading and not self._may_look_up(present):
            raise Unavailable("too many unknown keys are tried")
        try:
            return _valid(await asyncio.shield(self._refresh(text)))
        except PyMongoError as error:
            if cached is not None and present - cached.read_at < OUTAGE_SECONDS:
                return _valid(cached.key)
            raise Unavailable("keys cannot be verified now") from error

    def known(self, text: str) -> Key | Unsure | None:
        """The same without waiting: UNSURE where `verify` would have to ask first."""
        cached = self._good.get(text)
        if cached is None:
            if not KEY_TEXT.match(text):
                return None
            looked_up = self._unknown.get(text)
            present = asyncio.get_running_loop().time()
            return None if looked_up is not None and present - looked_up < STALE_SECONDS else UNSURE
        age = asyncio.get_running_loop().time() - cached.read_at
        if age >= FRESH_SECONDS:
            self._refresh(text)
        return _valid(cached.key) if age < STALE_SECONDS else UNSURE

    def _may_look_up(self, present: float) -> bool:
        earned = (present - self._lookups_at) * LOOKUPS_PER_SECOND
        self._lookups, self._lookups_at = min(LOOKUPS_PER_SECOND, self._lookups + earned), present
        if self._lookups < 1:
            return False
        self._lookups -= 1
        return True

    def _refresh(self, text: str) -> asyncio.Task[Key | None]:
        reading = self._reading.get(text)
        if reading is None:
            reading = self._reading[text] = asyncio.create_task(self._read(text))
            reading.add_done_callback(lambda done: self._read_done(text, done))
        return reading

    async def _read(self, text: str) -> Key | None:
        document = await self._keys.find_one({"_id": digest(text)})
        present = asyncio.get_running_loop().time()
        if document is None:
            self._good.pop(text, None)
            _keep(self._unknown, text, present)
            return None
        key = _key(document)
        self._unknown.pop(text, None)
        _keep(self._good, text, _Cached(key, present))
        used, moment = document.get("usedAt"), now()
        if _valid(key) and (used is None or (moment - used).total_seconds() >= USED_SECONDS):
            noting = asyncio.create_task(self._note_use(document["_id"], moment))
            self._noting.add(noting)
            noting.add_done_callback(self._noting.discard)
        return key

    async def _note_use(self, name: str, moment: datetime) -> None:
        """At most once a minute and key; nobody waits for it."""
        with suppress(PyMongoError):  # the next reading tries again
            await self._keys.update_one({"_id": name}, {"$max": {"usedAt": moment}})

    def _read_done(self, text: str, done: asyncio.Task[Key | None]) -> None:
        self._reading.pop(text, None)
        if not done.cancelled():
            done.exception()  # whoever waited has it; nobody may have


def _keep(cache: OrderedDict[str, Any], text: str, value: Any) -> None:
    cache[text] = value
    cache.move_to_end(text)
    if len(cache) > MAX_CACHED_KEYS:
        cache.popitem(last=False)


def _key(document: Document) -> Key:
    expires = document.get("expiresAt")
    return Key(
        document["kind"],
        document["shop"],
        document["prefix"],
        tuple(document.get("origins", ())),
        document.get("limit"),
        expires.timestamp() if expires else None,
    )


def _valid(key: Key | None) -> Key | None:
    return None if key is None or (key.expires is not None and key.expires <= time.time()) else key
