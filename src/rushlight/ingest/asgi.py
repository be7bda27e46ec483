"""The ingest under any ASGI server: what of a request it has to see, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from rushlight.events.envelope import now
from rushlight.ingest.admission import Admission, TurnedAway
from rushlight.ingest.limits import MAX_BODY_BYTES
from rushlight.ingest.refusals import Refused, complete, too_large, turned_away
from rushlight.ingest.request import Answer, Request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 10.0


class Door(Protocol):
    """What answers."""

    admission: Admission

    def early(self, method: str, headers: Mapping[str, str], path: str, /) -> Answer | None:
        """The answer to a request whose body need not be read."""

    async def welcome(self, headers: Mapping[str, str], path: str, /) -> None:
        """Refuse who may not send, as far as the headers tell, before a body is read that may be long."""

    def take(self, request: Request, answer: Callable[[Answer], None], /) -> None:
        """Take what it brings; ``answer`` is called once."""


class _Gone(Exception):
    """The client has left in mid-request."""


async def serve(door: Door, scope: Scope, receive: Receive, send: Send) -> None:
    """One HTTP request."""
    try:
        answer = await _answer(door, scope, receive)
    except _Gone:
        return
    except Refused as refused:
        answer = complete(refused.answer)
    except TurnedAway as away:
        answer = complete(turned_away(away).answer)
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _answer(door: Door, scope: Scope, receive: Receive) -> Answer:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    early = door.early(scope["method"], headers, scope["path"])
    if early is not None:
        return early
    await door.welcome(headers, scope["path"])
    request = Request(
        path=scope["path"],
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=headers,
        body=await _read(receive, door.admission),
        received_at=now(),
        client=(scope.get("client") or (None,))[0],
    )
    answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    door.take(request, lambda answer: None if answered.done() else answered.set_result(answer))
    return await answered


async def _read(receive: Receive, admission: Admission) -> bytes:
    message = await _next(receive)
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        try:
            with admission.reading() as hold:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await _read_rest(body, receive, hold)
        except TimeoutError as error:
            raise Refused(408, "the body did not come in time", code="slow") from error
    if len(body) > MAX_BODY_BYTES:
        raise too_large()
    return body


async def _read_rest(body: bytes, receive: Receive, hold: Callable[[int], None]) -> bytes:
    hold(len(body))
    parts = [body]
    size = len(body)
    more = True
    while more:
        message = await _next(receive)
        parts.append(message.get("body", b""))
        hold(len(parts[-1]))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise too_large()
        more = message.get("more_body", False)
    return b"".join(parts)


async def _next(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Gone
    return message
