"""The fuzzers, and a longer run of them: ``python -m tests.hostile.fuzz --minutes 5 --seed 1``.

Each tries inputs of one sort, checks after each what must hold whatever comes in, and counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import bson
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as examples
from hypothesis import strategies as st

from rushlight.errors import Rejected
from rushlight.events.envelope import MAX_ENVELOPE_BYTES, Envelope, decode, encode, now
from rushlight.ingest.http import CHECKS, DIALECTS, IngestApp
from rushlight.ingest.intake import Intake
from rushlight.ingest.keys import Keyring
from rushlight.ingest.limits import MAX_BODY_BYTES, inflate
from rushlight.ingest.rejections import Rejections
from rushlight.ingest.request import Rejection, Report, Request, Typed
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.journal import to_document, to_envelope, to_raw
from tests.conftest import Launched
from tests.hostile.payloads import (
    CONTENT_TYPES,
    ODD_HEADERS,
    QUERIES,
    closed_oddities,
    json_values,
    mutated,
    packed,
    put,
    rich,
    spots,
    text_of,
)
from tests.hostile.requests import BATCHES, good
from tests.hostile.site import Answer, Keys, ask, make_keys

PATHS = tuple(DIALECTS)
# Each dialect as often as Segment with its many paths.
paths = st.one_of(
    st.sampled_from(("/events", "/mp/collect", "/debug/mp/collect", "/v1/track", "/v1/batch")), st.sampled_from(PATHS)
)
DOCUMENTED = frozenset({200, 202, 204, 400, 401, 403, 405, 413, 415})
INPUTS_AT_ONCE = 300
SENDS_PER_WRITE = 25
BATCH_PATHS = ("/events", "/mp/collect", *sorted(BATCHES))


class Kept:
    """Stands where the write-ahead log would: what was accepted is looked at, at once, instead of written.

    Attributes:
        events: all that was accepted. rejected: what was turned away, by reason.
    """

    def __init__(self) -> None:
        self.events: dict[str, Envelope] = {}
        self.rejected: Counter[str] = Counter()
        self.latest: list[Envelope] = []

    def put(self, envelopes: Sequence[Envelope]) -> Kept:
        """Take events, as an `Intake` does."""
        for number, envelope in enumerate(envelopes):
            envelope.origin = f"w:fuzz:{len(self.events) + number}"
            envelope.received_at = now()
            if len(encode(envelope)) > MAX_ENVELOPE_BYTES:
                raise Rejected("too large", code="size")
        self.latest = [decode(encode(envelope)) for envelope in envelopes]
        for envelope in envelopes:
            check_storable(envelope)
            self.events[envelope.id] = decode(encode(envelope))
        return self

    def then(self, told: Callable[[None], None]) -> None:
        """Answer when this turn of the loop is over."""
        asyncio.get_running_loop().call_soon(told, None)

    def reject(self, _source: str, reason: str, count: int = 1) -> None:
        """Count what was turned away."""
        self.rejected[reason] += count

    def age_seconds(self) -> float:
        """Nothing waits."""
        return 0.0


def check_storable(envelope: Envelope) -> None:
    """What was accepted goes through log and stream unchanged, is BSON, and is read back equal."""
    written = encode(envelope)
    envelope = decode(written)
    assert encode(envelope) == written
    document: dict[str, Any] = bson.decode(to_raw(envelope, 0, 1).raw, codec_options=bson.CodecOptions(tz_aware=True))
    assert to_document(to_envelope(document), 0, 1) == to_document(envelope, 0, 1)
    if envelope.personal is not None:
        assert bson.decode(bson.encode(envelope.personal)) == envelope.personal
    assert envelope.aggregate_id.isprintable()


class Fuzzers:
    """All fuzzers over one door.

    Args:
        run: does something asynchronous to its end.
        database: an empty one, for keys and to store what was accepted.
    """

    def __init__(self, run: Callable[..., Any], database: Database) -> None:
        self.run = run
        self.database = database
        self.kept = Kept()
        self.keys: Keys = run(make_keys(database))
        self.rejections = Rejections(database)
        intake: Any = self.kept
        assert hasattr(Intake, "put")
        self.app = IngestApp(intake, Keyring(database), rejections=self.rejections)
        self.tried: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()

    def all(self) -> dict[str, Callable[[], Callable[[], None]]]:
        """Each fuzzer by its name: makes a test that Hypothesis runs."""
        return {
            **{f"decode {name}": partial(self.decoder, path) for name, path in _one_path_each().items()},
            "arbitrary JSON": self.arbitrary,
            "mutated requests": self.mutations,
            "neighbours": self.neighbours,
            "repetitions": self.repetitions,
            "bytes and packings": self.bodies,
            "headers and queries": self.heads,
        }

    def send(self, path: str, body: bytes, headers: Sequence[tuple[str, str]] = (), key: str | None = None) -> Answer:
        """One POST under a key, checked as every answer is."""
        named = [("content-type", "application/json"), ("authorization", f"Bearer {key or self.keys.secret}"), *headers]
        answer: Answer = self.run(ask(self.app, "POST", path, named, body))
        self.statuses[answer.status] += 1
        if self.statuses.total() % SENDS_PER_WRITE == 0:
            self.run(self.rejections._write())
        assert answer.status in DOCUMENTED, answer
        assert answer.headers["access-control-allow-origin"] == "*"
        if answer.body:
            json.loads(answer.body)
        return answer

    def arbitrary(self) -> Callable[[], None]:
        """Any JSON whatever, to any door."""

        @given(paths, json_values, st.booleans())
        def one(path: str, value: Any, public: bool) -> None:
            self.tried["arbitrary JSON"] += 1
            self.send(path, text_of(value), key=self.keys.public if public else None)

        return one

    def mutations(self) -> Callable[[], None]:
        """Requests as clients send them, with something wrong in them."""

        @given(st.data(), paths, st.booleans())
        def one(data: st.DataObject, path: str, public: bool) -> None:
            self.tried["mutated requests"] += 1
            value = data.draw(mutated(path))
            self.send(path, text_of(value), key=self.keys.public if public else None)

        return one

    def neighbours(self) -> Callable[[], None]:
        """One bad event between two good ones: these are accepted."""

        @given(st.data(), st.sampled_from(BATCH_PATHS))
        def one(data: st.DataObject, path: str) -> None:
            self.tried["neighbours"] += 1
            first, second = _one(path), _one(path)
            bad = _one(path)
            value = put(bad, data.draw(st.sampled_from(spots(bad))), data.draw(closed_oddities))
            answer = self.send(path, text_of(_batch(path, [first, value, second])))
            if answer.status == 413:
                return
            assert answer.status in (200, 202, 204), (answer, value)
            if answer.body:
                told = answer.json
                rejected = [each["index"] for each in told["rejected"]]
                assert rejected in ([], [1]), (told, value)

        return one

    def repetitions(self) -> Callable[[], None]:
        """The same content again, from another visitor, and in other spacing: the same event each time."""

        @given(st.data(), paths, st.integers(2, 9))
        def one(data: st.DataObject, path: str, visitor: int) -> None:
            self.tried["repetitions"] += 1
            value = data.draw(mutated(path))
            if not isinstance(value, dict):
                return
            made: list[list[str]] = []
            for who, spaced in (("visitor 1", False), (f"visitor {visitor}", False), (f"visitor {visitor}", True)):
                named = {"messageId": f"{self.tried.total()} {len(made)}", "anonymousId": who}
                self.kept.latest = []
                self.send(path, text_of(value | named, spaced=spaced))
                made.append([_content(event, who) for event in self.kept.latest])
            assert made[0] == made[1] == made[2]

        return one

    def bodies(self) -> Callable[[], None]:
        """Bytes, packed well and badly, under every content type."""
        bodies = st.one_of(
            st.binary(max_size=200),
            st.sampled_from(PATHS).map(lambda path: text_of(rich(path))),
            st.sampled_from([b"x" * (MAX_BODY_BYTES + 1), b"[" + b"1," * 3000 + b"1]", b"\x1f\x8b", b"\xef\xbb\xbf{}"]),
        )

        @given(st.data(), paths, bodies, st.sampled_from(CONTENT_TYPES))
        def one(data: st.DataObject, path: str, body: bytes, media_type: str) -> None:
            self.tried["bytes and packings"] += 1
            self.send(path, data.draw(packed(body)), [("content-type", media_type)])

        return one

    def heads(self) -> Callable[[], None]:
        """Headers that are odd, or there twice, and queries."""
        odd = st.lists(st.sampled_from(ODD_HEADERS), max_size=4)

        @given(paths, odd, st.sampled_from(QUERIES), st.booleans())
        def one(path: str, headers: list[tuple[str, str]], query: str, first: bool) -> None:
            self.tried["headers and queries"] += 1
            named = [("content-type", "application/json"), ("authorization", f"Bearer {self.keys.public}")]
            sent = [*headers, *named] if first else [*named, *headers]
            answer: Answer = self.run(ask(self.app, "POST", f"{path}?{query}", sent, text_of(rich(path))))
            self.statuses[answer.status] += 1
            assert answer.status in DOCUMENTED, answer

        return one

    def decoder(self, path: str) -> Callable[[], None]:
        """A dialect alone: reports and rejections, or why the body as a whole is refused."""
        dialect = DIALECTS[path]
        inputs = st.one_of(mutated(path).map(text_of), json_values.map(text_of), st.binary(max_size=100))

        @given(inputs)
        def one(body: bytes) -> None:
            self.tried[f"decode {dialect.name} {path}"] += 1
            headers = {"content-type": "application/json"}
            try:
                items = dialect.decode(Request(path=path, headers=headers, body=inflate(body), received_at=now()))
            except Rejected as refused:
                told = refused.reason
            else:
                told = "read" if all(isinstance(item, Report | Typed | Rejection) for item in items) else ""
            assert told

        return one

    async def store(self) -> int:
        """Write all that was accepted into MongoDB and read it back; how many events that were."""
        events = list(self.kept.events.values())
        documents = [to_raw(event, 0, number) for number, event in enumerate(events)]
        collection = self.database.journal
        for start in range(0, len(documents), 500):
            await collection.insert_many(documents[start : start + 500])
        async for document in collection.find({}):
            event = self.kept.events[document["_id"]]
            assert to_document(to_envelope(document), 0, 1) == to_document(event, 0, 1)
        await self.rejections._write()
        return len(events)


def _content(event: Envelope, visitor: str) -> str:
    """What is the same in two events that differ in message, visitor and time."""
    about = (event.aggregate_id, event.visitor_id, event.customer_id)
    whole = (event.name, event.payload, event.context, event.personal, event.shop, event.source, about)
    return json.dumps(whole, sort_keys=True).replace(json.dumps(visitor), '"VISITOR"')


def _one_path_each() -> dict[str, str]:
    """Of each dialect a path, of Segment's one for a single message and one for batches."""
    found = {DIALECTS[path].name + (" batch" if path in BATCHES else ""): path for path in reversed(PATHS)}
    return found | {"ga4 debug": next(iter(CHECKS))}


def _one(path: str) -> Any:
    """One event as it stands in a batch."""
    found = good(path, "default")
    return found["batch"][0] if path in BATCHES else found["events"][0] if path.endswith("/mp/collect") else found


def _batch(path: str, events: list[Any]) -> Any:
    if path in BATCHES:
        return {"batch": events}
    return {"client_id": "v1", "events": events} if path.endswith("/mp/collect") else events


def run_one(test: Callable[[], None], count: int, *, number: int | None = None) -> None:
    """Try so many inputs: always the same without a number, else those of that seed."""
    limits = examples(
        max_examples=count,
        derandomize=number is None,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=True,
    )
    limits(test if number is None else seed(number)(test))()


def main() -> int:
    """All fuzzers in turn, with ever other seeds; what they tried and what they found. 1 when they found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as place, asyncio.Runner() as runner:
        launched = Launched(Settings(data=f"{place}/data", port=0, database="fuzz"), ())
        try:
            settings = launched.ready().settings
            database = runner.run(Database.connect(settings, role="fuzz"))
            fuzzers = Fuzzers(runner.run, database)
            end, number = time.monotonic() + asked.minutes * 60, asked.seed
            while time.monotonic() < end:
                for name, make in fuzzers.all().items():
                    _try(name, make(), number, found)
                number += 1
            stored = runner.run(fuzzers.store())
            runner.run(database.close())
        finally:
            launched.stop()
    print(f"seeds {asked.seed} to {number - 1}; {fuzzers.tried.total():,} inputs")
    for name, count in fuzzers.tried.items():
        print(f"  {name}: {count:,}")
    print("answers:", ", ".join(f"{status}: {count:,}" for status, count in sorted(fuzzers.statuses.items())))
    print(f"accepted, stored and read back equal: {stored:,} events; turned away: {dict(fuzzers.kept.rejected)}")
    print(
        "\n".join(["found:", *(f"{what}: {error}" for what, error in found.items())] if found else ["found: nothing"])
    )
    return 1 if found else 0


def _try(name: str, test: Callable[[], None], number: int, found: dict[str, str]) -> None:
    try:
        run_one(test, INPUTS_AT_ONCE, number=number)
    except Exception as error:  # noqa: BLE001 - whatever there is to be found
        what = f"{name}: {type(error).__name__}"
        if what not in found:
            found[what] = f"seed {number}: {str(error)[:1500]} {' '.join(getattr(error, '__notes__', ()))[:1500]}"
            print(f"found {what}: {found[what]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
