"""The whole web application in this process, on a loop of its own, so that ordinary code can ask it: `Site.call`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

from rushlight.ingest.keys import create, rotate
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.web import build

HOST = b"127.0.0.1"
Result = TypeVar("Result")
Headers = Sequence[tuple[str, str]]


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body, None for none."""
        return json.loads(self.body) if self.body else None


class Keys(NamedTuple):
    """One of each kind; ``other`` is the secret key of another shop."""

    public: str
    secret: str
    other: str
    revoked: str
    expired: str
    bound: str


async def make_keys(database: Database) -> Keys:
    """New ones, of the shops ``default`` and ``other``; one was never stored, one has ended."""
    ended = await create(database, "secret")
    await rotate(database, ended, timedelta(0))
    return Keys(
        public=await create(database, "public"),
        secret=await create(database, "secret"),
        other=await create(database, "secret", "other"),
        revoked="sk_" + "r" * 32,
        expired=ended,
        bound=await create(database, "public", origins=["https://shop.example"]),
    )


async def ask(
    app: Any, method: str, url: str, headers: Headers = (), body: bytes = b"", *, parts: Iterable[bytes] | None = None
) -> Answer:
    """One request, as a server would hand it over; ``url`` is a path with its query, percent-encoded.

    Args:
        parts: the body in pieces, instead of ``body``.
    """
    path, _, query = url.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": query.encode("utf-8", "surrogatepass"),
        "root_path": "",
        "headers": [
            (b"host", HOST),
            *((name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
        "extensions": {},
    }
    pieces = list(parts) if parts is not None else [body]
    messages = iter(
        {"type": "http.request", "body": piece, "more_body": index < len(pieces) - 1}
        for index, piece in enumerate(pieces)
    )
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages, None) or await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(start["status"], {n.decode().lower(): v.decode("latin-1") for n, v in start["headers"]}, content)


class Site:
    """An application with its database and keys.

    Args:
        settings: of a database of its own.
        app: built already; by default ingest, query API and board.
    """

    def __init__(self, settings: Settings, app: Any = None) -> None:
        self.settings = settings
        self.app: Any = app or build(settings)
        self.loop = asyncio.new_event_loop()
        self.database: Database = self.run(Database.connect(settings, role="tests"))
        self.keys: Keys = self.run(make_keys(self.database))
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._told: asyncio.Queue[Any] = asyncio.Queue()
        self._life = self.loop.create_task(self.app({"type": "lifespan"}, self._messages.get, self._told.put))
        self.run(self._turn("startup"))

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something asynchronous to its end."""
        return self.loop.run_until_complete(work)

    def call(self, method: str, url: str, headers: Headers = (), body: bytes = b"", **options: Any) -> Answer:
        """One request."""
        return self.run(ask(self.app, method, url, headers, body, **options))

    def send(self, path: str, event: Any, key: str, headers: Mapping[str, str] | None = None) -> Answer:
        """One POST of JSON under a key."""
        named = {"content-type": "application/json", "authorization": f"Bearer {key}", **(headers or {})}
        return self.call("POST", path, list(named.items()), json.dumps(event).encode())

    def close(self) -> None:
        """Shut down in good order."""
        self.run(self._turn("shutdown"))
        self.run(self._life_ended())
        self.run(self.database.close())
        self.run(self.loop.shutdown_asyncgens())
        self.loop.close()

    async def _turn(self, what: str) -> None:
        await self._messages.put({"type": f"lifespan.{what}"})
        told = await self._told.get()
        assert told["type"] == f"lifespan.{what}.complete", told

    async def _life_ended(self) -> None:
        await self._life
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
