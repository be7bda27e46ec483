"""How a connection comes to its end: in time, behind the answers that are due, and with a reason."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rushlight.errors import Unavailable
from rushlight.ingest.refusals import Refused, complete, unavailable
from rushlight.serving.direct import rendered
from rushlight.serving.gathering import Gathering
from rushlight.serving.limits import Limits, Sweep
from rushlight.serving.short import DirectRequest


class Ending(HttpToolsProtocol):
    """uvicorn's protocol, with limits.

    Attributes:
        host: the client's address.
    """

    transport: Gathering
    cycle: Any  # a `DirectRequest`, or uvicorn's, or None before the first: the last request whose head is here

    def __init__(self, limits: Limits, sweep: Sweep, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._limits = limits
        self._sweep = sweep
        self._at_rest = True  # between requests, and the parser as well
        self._in_head = self._in_body = False
        self._since = 0.0  # when what is waited for now began to be
        self._served_any = False
        self._stalled_since: float | None = None
        self._lingering = False
        self._deaf = False  # what the parser says is passed over: the connection ends, or goes elsewhere
        self._last_words: bytes | None = None  # what is said behind the last answer that is due; then it ends
        self.host: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection, if there is room for one."""
        super().connection_made(Gathering(transport))
        self.host = self.client[0] if self.client else None
        self._since = self.loop.time()
        self._sweep.add(self)
        if len(self.connections) > self._limits.connections:
            self.refuse(unavailable(Unavailable("there are too many connections", retry_after_seconds=5.0)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._sweep.discard(self)
        self._lose()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close, after what is being answered."""
        super().shutdown()
        if self._lingering:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read its answers: nothing more is taken from it."""
        super().pause_writing()
        self._stalled_since = self.loop.time()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._stalled_since = None
        if not self.pipeline:
            self.flow.resume_reading()

    def check(self, now_seconds: float) -> None:
        """End the connection if it has used up its time."""
        limits, elapsed = self._limits, now_seconds - self._since
        if self.transport.is_closing() and self._stalled_since is None:
            self._stalled_since = now_seconds  # it closes when everything has been read
        if self._stalled_since is not None:
            if now_seconds - self._stalled_since > limits.stalled_seconds:
                self.transport.abort()
        elif self._lingering:
            if elapsed > limits.linger_seconds:
                self.transport.close()
        elif self._in_head or self._in_body:
            self._check_speed(elapsed)
        elif self._is_free and elapsed > (limits.idle_seconds if self._served_any else limits.head_seconds):
            self.transport.close()

    def _check_speed(self, elapsed: float) -> None:
        if self.flow.read_paused:  # by us: it could not come
            return
        if self._in_head and elapsed > self._limits.head_seconds:
            self.refuse(Refused(408, "the request's head did not come in time", code="slow"))
        elif self._in_body and elapsed > self._limits.body_seconds:
            self.refuse(Refused(408, "the body did not come in time", code="slow"))

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client says no more: what it has asked for is answered, and then the connection ends."""
        if not self._deaf and not getattr(self.cycle, "response_started", False) and self._are_answers_due():
            self._end_with(b"")
        stays = self._last_words is not None and not self._lingering
        if not stays:
            self.transport.close()  # with what is gathered, of which the transport beneath knows nothing
        return stays

    def refuse(self, refused: Refused) -> None:
        """Say why the connection ends, behind the answers that are due before, and end it."""
        cycle, is_due = self.cycle, self._are_answers_due()
        # A second answer to one request would be taken for the answer to something else.
        is_told = self._in_body and (cycle.response_complete or getattr(cycle, "response_started", False))
        self._end_with(b"" if is_told else rendered(complete(refused.answer), keep_alive=False))
        if not is_due:
            self._end()

    def _are_answers_due(self) -> bool:
        """Whether requests that have come as a whole wait for their answers; one that has not is given up."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        if not cycle.more_body:
            return True
        self._give_up(cycle)
        if not self.pipeline:
            return False
        self.pipeline.popleft()
        return True

    def _end_with(self, text: bytes) -> None:
        self._at_rest, self._deaf, self._last_words = False, True, text
        self._in_head = self._in_body = False

    def _end(self) -> None:
        if self._lingering or self.transport.is_closing():
            return
        if self._last_words:
            self.transport.write(self._last_words)
        self._linger()

    def _lose(self) -> None:
        for request in (self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if isinstance(request, DirectRequest):
                request.lost()
        self.pipeline.clear()

    @staticmethod
    def _give_up(cycle: Any) -> None:
        cycle.disconnected = True
        cycle.message_event.set()
        if isinstance(cycle, DirectRequest):
            cycle.lost()

    def _linger(self) -> None:
        # Closed at once, with bytes of the client's unread, the connection would be reset and the answer lost.
        self._at_rest, self._lingering, self._deaf = False, True, True
        self._since = self.loop.time()
        self.flow.resume_reading()
        self.transport.write_eof()

    @property
    def _is_free(self) -> bool:
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)
