"""One request of the short way."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from rushlight.events.envelope import now
from rushlight.ingest.admission import TurnedAway
from rushlight.ingest.limits import MAX_BODY_BYTES
from rushlight.ingest.refusals import Refused, complete, too_large, turned_away
from rushlight.ingest.request import Answer, Request
from rushlight.serving.direct import Direct, Head

MAX_DISCARDED_BYTES = 64 << 10
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

logger = logging.getLogger(__name__)


class Connection(Protocol):
    """What a request needs of its connection."""

    loop: Any
    transport: Any
    host: str | None

    def answered(self, request: DirectRequest, answer: Answer, /) -> None:
        """Send a request's answer, and go on with the next."""

    def refuse(self, refused: Refused, /) -> None:
        """Say why the connection ends, and end it."""


class _Ignored:
    """An event that nobody waits for."""

    def set(self) -> None:
        """Nobody does."""


class DirectRequest:
    """A request in the place of uvicorn's cycle, with those of its attributes that the connection looks at.

    Args:
        body: of a request that is here as a whole, with a head that came before: `begin` is next.
    """

    __slots__ = (
        *("_again", "_began", "_connection", "_direct", "_held", "_turn", "body", "disconnected", "head", "keep_alive"),
        *("more_body", "response_complete"),
    )
    message_event = _Ignored()

    def __init__(self, connection: Connection, direct: Direct, head: Head, body: bytes | None = None) -> None:
        self._connection = connection
        self._direct = direct
        self.head = head
        self.keep_alive = head.keep_alive
        self.body: bytes | bytearray = body or b""
        self.more_body = body is None
        self.response_complete = self.disconnected = self._turn = False
        self._again = body is not None
        self._held = 0
        self._began = connection.loop.time()

    @property
    def is_unread(self) -> bool:
        """Whether more of its body may come than is worth passing over, or maybe nothing.

        A client that asked first may or may not send the body of what was refused: what follows could be either.
        """
        length = self.head.length
        return self.more_body and (length is None or length > MAX_DISCARDED_BYTES or "expect" in self.head.headers)

    def come(self) -> None:
        """It is this request's turn: everything before it was answered."""
        self._turn = True
        early = self._direct.door.early(self.head.method, self.head.headers, self.head.path)
        if early is not None:
            self.answer(early)
        elif not self.more_body:
            self.begin()
        elif self.head.headers.get("expect", "").lower() == "100-continue" and not self.body:
            self._connection.transport.write(CONTINUE)

    def read(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if self.response_complete:
            return
        if not self.body:
            self.body = piece
        elif isinstance(self.body, bytearray):
            self.body += piece
        else:
            self.body = bytearray(self.body + piece)
        if len(self.body) > MAX_BODY_BYTES:
            self._give_up(too_large())
            return
        self._held += len(piece)
        try:
            self._direct.door.admission.hold(len(piece))
        except TurnedAway as away:
            self._give_up(turned_away(away))

    def lost(self) -> None:
        """The client has left."""
        self.disconnected = True
        self._release()

    def _give_up(self, refused: Refused) -> None:
        self.body = b""
        if self._turn:
            self.answer(complete(refused.answer))
        else:
            self._connection.refuse(refused)

    def _release(self) -> None:
        self._direct.door.admission.release(self._held)
        self._held = 0

    def end(self) -> None:
        """The body is here."""
        self.more_body = False
        if self._turn and not self.response_complete:
            self.begin()

    def begin(self) -> None:
        """Hand it over: `Door.take` checks all that `Door.early` does of a POST."""
        if self._held:
            self._release()
        head = self.head
        request = Request(
            path=head.path,
            query=head.query,
            headers=head.headers,
            body=bytes(self.body),
            received_at=now(),
            client=self._connection.host,
            again=self._again,
        )
        try:
            self._direct.door.take(request, self.answer)
        except Exception:
            logger.exception("a request to %s failed", head.path)
            self.answer(complete(Refused(500, "this is our mistake", code="internal").answer))

    def answer(self, answer: Answer) -> None:
        """Send the answer; only the first counts."""
        if self.response_complete:
            return
        self.response_complete = True
        if self._held:
            self._release()
        connection = self._connection
        self._direct.counted(answer.status, connection.loop.time() - self._began)
        if not self.disconnected:
            connection.answered(self, answer)
