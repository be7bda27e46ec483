"""What was turned away is remembered for whoever looks for a mistake, and never delays or fails a request.

A stream of bad input costs a counter an event; only so many events a second are looked at, and so few of a kind that
one sender's mistake does not hide another's. They are cleaned and written in the background.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pymongo
from pymongo.errors import PyMongoError

from rushlight.errors import in_short
from rushlight.events.envelope import now
from rushlight.ingest.dialects.ga4 import worded
from rushlight.ingest.keys import PREFIXES, Key
from rushlight.ingest.redacting import MAX_BODY_BYTES, sample_of, shown_path, shown_reason
from rushlight.ingest.request import Rejection
from rushlight.ingest.segment_context import in_segment
from rushlight.steady import steadily
from rushlight.store.database import Database
from rushlight.store.rejected import NOBODY, Counts, Sample, keep

log = logging.getLogger(__name__)

WRITE_SECONDS = 1.0
ANSWER_SECONDS = 2.0
# A second: of all, of one shop, of one shop's with one code.
MAX_SAMPLES, MAX_OF_A_SHOP, MAX_OF_A_KIND = 10, 7, 3
MAX_SHOPS = 1000
WHOLE = -1
SHOWN_CHARACTERS = 4
MIN_KEY_CHARACTERS = 20
UNKNOWN_SOURCE = "unknown"
# A field's name as its sender knows it.
WORDS: dict[str, Callable[[Rejection], Rejection]] = {"ga4": worded, "segment": in_segment}
_WORD = re.compile(r"[^A-Za-z0-9_-]")


class _Noted(NamedTuple):
    sample: Sample
    body: bytes
    place: int


class Rejections:
    """Those of one process. `start` it, and `stop` it in the end; what is noted in between is written once a second.

    Args:
        database: may be out of reach: then counts wait, and the first samples do.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: dict[str, Counts] = {}
        self._noted: list[_Noted] = []
        self._kinds: Counter[tuple[str, str]] = Counter()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False
        self._writing = asyncio.Lock()

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(steadily(self._run))

    async def stop(self) -> None:
        """Write what is left, if MongoDB takes it, and end."""
        if self._task is None:
            return
        async with self._writing:  # what is written now is not written once more
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._write()

    def events(self, key: Key, source: str, dialect: str, rejections: Sequence[Rejection], body: bytes) -> None:
        """Note events of a request that were turned away, or the request as a whole (index `WHOLE`)."""
        for code, n in Counter([rejection.code for rejection in rejections]).items():
            self._count(key.shop, source, code, n)
        for rejection in rejections:
            if len(self._noted) >= MAX_SAMPLES:
                return
            self._sample(key.shop, key.prefix, source, dialect, rejection, body)

    def stranger(self, text: str, dialect: str, rejection: Rejection) -> None:
        """Note a request without a key of any shop, by the key that it came with; its body is not looked at."""
        told = text[: 3 + SHOWN_CHARACTERS] + "…" if _is_like_a_key(text) else ""
        self._count(NOBODY, UNKNOWN_SOURCE, rejection.code, 1)
        self._sample(NOBODY, told, UNKNOWN_SOURCE, dialect, rejection, b"")

    def _count(self, shop: str, source: str, code: str, n: int) -> None:
        if shop not in self._counts and len(self._counts) >= MAX_SHOPS:
            return
        codes = self._counts.setdefault(shop, {}).setdefault(source, {})
        word = _WORD.sub("_", code) or "invalid"
        codes[word] = codes.get(word, 0) + n
        self._wake.set()

    def _sample(self, shop: str, prefix: str, source: str, dialect: str, rejection: Rejection, body: bytes) -> None:
        kind, all_kinds = (shop, rejection.code), (shop, "")
        kinds = self._kinds
        if len(self._noted) >= MAX_SAMPLES or kinds[kind] >= MAX_OF_A_KIND or kinds[all_kinds] >= MAX_OF_A_SHOP:
            return
        kinds[kind] += 1
        kinds[all_kinds] += 1
        sample = Sample(
            shop=shop,
            at=now(),
            source=source,
            dialect=dialect,
            key=prefix,
            code=rejection.code,
            field=rejection.field,
            reason=rejection.reason,
            sample="",
        )
        self._noted.append(_Noted(sample, body if len(body) <= MAX_BODY_BYTES else b"", rejection.index))

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await self._write()
            await asyncio.sleep(WRITE_SECONDS)

    async def _write(self) -> None:
        async with self._writing:
            await self._write_noted()

    async def _write_noted(self) -> None:
        self._wake.clear()
        counts, noted = self._counts, self._noted
        self._counts, self._noted, self._kinds = {}, [], Counter()
        if not counts:
            return
        try:
            with pymongo.timeout(ANSWER_SECONDS):
                await keep(self._database, [_cleaned(each) for each in noted], counts)
        except PyMongoError as error:
            if not self._away:
                log.warning("what was turned away is not written down now: %s", in_short(error))
            self._away = True
            self._take_back(counts, noted)
        else:
            self._away = False

    def _take_back(self, counts: dict[str, Counts], noted: list[_Noted]) -> None:
        for shop, of_shop in counts.items():
            for source, codes in of_shop.items():
                own = self._counts.setdefault(shop, {}).setdefault(source, {})
                for code, n in codes.items():
                    own[code] = own.get(code, 0) + n
        self._noted = [*noted, *self._noted][:MAX_SAMPLES]
        self._wake.set()


def _cleaned(noted: _Noted) -> Sample:
    sample = noted.sample
    if words := WORDS.get(sample.dialect):
        sample.field = words(Rejection(noted.place, sample.field, "", sample.code)).field
    sample.reason, sample.field = shown_reason(sample.reason), shown_path(sample.field)
    sample.sample = sample_of(noted.body, noted.place, dialect=sample.dialect) if noted.body else ""
    return sample


def _is_like_a_key(text: str) -> bool:
    return len(text) >= MIN_KEY_CHARACTERS and text.startswith(tuple(PREFIXES.values()))
