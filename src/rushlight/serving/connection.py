"""uvicorn's connection, with limits on what a client may take, and a short way for the requests of a `Direct`: each
is a `DirectRequest` in the place of uvicorn's cycle. Pipelining, shutdown and loss of the connection treat both alike.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rushlight.ingest.refusals import Refused, complete
from rushlight.ingest.request import Answer
from rushlight.serving.direct import Direct, Heads, declined, path_of, read_head, rendered
from rushlight.serving.gathering import Gathering
from rushlight.serving.limits import Limits, Sweep
from rushlight.serving.short import DirectRequest

logger = logging.getLogger(__name__)


def connections(
    direct: Callable[[], Direct | None], limits: Limits | None = None, kind: Callable[..., Connection] | None = None
) -> Callable[..., Connection]:
    """What uvicorn takes for ``http``.

    Args:
        direct: gives what is served the short way, None while there is nothing.
        kind: of connection, where it is not the usual one.
    """
    limits = limits or Limits()
    return partial(kind or Connection, direct, limits, Sweep(limits.sweep_seconds), Heads())


class Connection(HttpToolsProtocol):
    """uvicorn's protocol."""

    transport: Gathering
    cycle: Any  # a `DirectRequest`, or uvicorn's, or None before the first

    def __init__(
        self, direct: Callable[[], Direct | None], limits: Limits, sweep: Sweep, heads: Heads, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self._direct = direct
        self._limits = limits
        self._sweep = sweep
        self._heads = heads
        self._at_rest = True  # between requests, and the parser as well
        self._in_head = self._in_body = False
        self._head_bytes = 0
        self._since = 0.0  # when what is waited for now began to be
        self._served_any = False
        self._stalled_since: float | None = None
        self._lingering = self._goes_on = False
        self._deaf = False  # what the parser says is passed over: the connection ends, or goes elsewhere
        self._fed = b""  # what has come since the connection was at rest, until a head has been read of it
        self.host: str | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection, if there is room for one."""
        super().connection_made(Gathering(transport))
        self.host = self.client[0] if self.client else None
        self._since = self.loop.time()
        self._sweep.add(self)
        if len(self.connections) > self._limits.connections:
            self.refuse(Refused(503, "there are too many connections", code="busy", headers=[(b"retry-after", b"5")]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._sweep.discard(self)
        self._lose()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Hand a WebSocket's protocol the transport as it is: frames are written whole."""
        self._sweep.discard(self)
        self.transport = self.transport.plain()  # type: ignore[assignment]
        super().handle_websocket_upgrade()

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
        if self.transport.is_closing():
            return
        if self._stalled_since is not None:
            if now_seconds - self._stalled_since > limits.stalled_seconds:
                self.transport.abort()
        elif self._lingering:
            if elapsed > limits.linger_seconds:
                self.transport.close()
        elif self._in_head:
            if elapsed > limits.head_seconds:
                self.refuse(Refused(408, "the request's head did not come in time", code="slow"))
        elif self._in_body:
            if elapsed > limits.body_seconds and not self.flow.read_paused:
                self.refuse(Refused(408, "the body did not come in time", code="slow"))
        elif self._is_free and elapsed > (limits.idle_seconds if self._served_any else limits.head_seconds):
            self.transport.close()

    # Reading

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent: a whole request with a head that is known goes the short way."""
        if self._at_rest:
            end = data.find(b"\r\n\r\n") + 4
            head = self._heads.get(text := data[:end]) or self._heads.like(text)
            if head is not None and len(data) - end == head.length and (direct := self._direct()) is not None:
                self._at_rest = False
                self.cycle = request = DirectRequest(self, direct, head, data[end:])
                request.begin()
                return
        elif self._lingering:
            return
        self._fed = data if self._at_rest else b""
        self._at_rest = False
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        if self._in_head or not self._in_body:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._deaf:
                return
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                text = declined(self.parser, self.url, self.headers)
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self._feed(text + data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(error, httptools.HttpParserCallbackError) and not isinstance(
                cause, httptools.HttpParserError
            ):
                logger.error("a request failed", exc_info=cause)
                self.refuse(Refused(500, "this is our mistake", code="internal"))
            else:
                self.refuse(Refused(400, "this is not HTTP", code="http"))
            return
        finally:
            self._fed = b""
        if self._in_head and self._head_bytes > self._limits.head_bytes:
            self._refuse_head()
        self._rest_if_free()

    def on_message_begin(self) -> None:
        """A request's first byte is here."""
        if self._deaf:
            return
        super().on_message_begin()
        self._in_head = True
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """A request's head is here."""
        if self._deaf:
            return
        self._in_head, self._in_body = False, True
        self._head_bytes = 0
        self._since = self.loop.time()
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        fed, self._fed = self._fed, b""
        direct, path = self._direct(), path_of(self.url)[0]
        if size > self._limits.head_bytes:
            self._refuse_head()
        elif not path.startswith("/") or self.parser.get_method() == b"CONNECT":
            self.refuse(Refused(400, "the target is not a path", code="path"))
        elif self._is_for_others(path) or self._is_declined:
            return
        elif direct is None or self.parser.should_upgrade() or not direct.serves(path):
            super().on_headers_complete()
        else:
            self._take_head(direct, fed)

    def on_body(self, body: bytes) -> None:
        """A piece of a body is here."""
        if self._deaf:
            return
        if isinstance(self.cycle, DirectRequest):
            self.cycle.read(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is here."""
        self._in_body = False
        if self._deaf or self._is_declined:
            return
        if isinstance(self.cycle, DirectRequest):
            self.cycle.end()
        else:
            super().on_message_complete()

    def _take_head(self, direct: Direct, fed: bytes) -> None:
        head = read_head(self.parser, self.url, self.headers)
        end = fed.find(b"\r\n\r\n") + 4
        before, request = self.cycle, DirectRequest(self, direct, head)
        if before is None or before.response_complete:
            # A head from its first byte, its body, and nothing else: the end of one could read like somebody else's.
            if fed and fed[0] not in b"\r\n" and len(fed) - end == head.length:
                self._heads.learn(fed[:end], head)
            self.cycle = request
            request.come()
        else:
            self.cycle = request
            self.flow.pause_reading()
            self.pipeline.appendleft((request, self.app))  # type: ignore[arg-type]

    # Answering

    def answered(self, request: DirectRequest, answer: Answer) -> None:
        """Send a request's answer, and go on with the next."""
        if self.transport.is_closing():
            return
        keep_alive = request.keep_alive and not request.is_unread and (b"connection", b"close") not in answer.headers
        text = rendered(answer, keep_alive=keep_alive)
        if request.head.method == "HEAD":  # its client takes what follows the head for the next answer
            text = text[: text.find(b"\r\n\r\n") + 4]
        self.transport.write_whole(text)
        if keep_alive:
            self.on_response_complete()
        elif request.more_body:
            self._linger()
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        """A request was answered: begin those that have come, and when there are none wait for more."""
        self.server_state.total_requests += 1
        self._served_any = True
        if self._goes_on:  # one that began in `_go_on` was answered at once
            return
        if self.pipeline:
            self._go_on()
        if self.flow.read_paused:
            if self.transport.is_closing():
                return
            if not self.pipeline and self._stalled_since is None:
                self.flow.resume_reading()
        self._rest_if_free()

    def _go_on(self) -> None:
        self._goes_on = answered = True
        try:
            while answered and self.pipeline and not self.transport.is_closing():
                cycle, app = self.pipeline.pop()
                self._start_asgi_task(cycle, app)
                answered = cycle.response_complete
        finally:
            self._goes_on = False

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, DirectRequest):
            cycle.come()
        else:
            super()._start_asgi_task(cycle, app)

    def refuse(self, refused: Refused) -> None:
        """Say why the connection ends, unless an answer has begun, and end it."""
        cycle = self.cycle
        busy = cycle is not None and not cycle.response_complete
        begun = busy and getattr(cycle, "response_started", False)
        waiting = bool(self.pipeline) or (busy and not cycle.more_body)
        if not begun and not waiting:  # else it would be taken for the answer to something else
            self.transport.write(rendered(complete(refused.answer), keep_alive=False))
        if busy:
            cycle.disconnected = True
            cycle.message_event.set()
        self._lose()
        self._in_head = self._in_body = False
        self._linger()

    def _lose(self) -> None:
        for request in (self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if isinstance(request, DirectRequest):
                request.lost()
        self.pipeline.clear()

    def _refuse_head(self) -> None:
        self.refuse(Refused(431, f"a head may have {self._limits.head_bytes >> 10} KiB", code="too_large"))

    def _linger(self) -> None:
        # Closed at once, with bytes of the client's unread, the connection would be reset and the answer lost.
        self._at_rest, self._lingering, self._deaf = False, True, True
        self._since = self.loop.time()
        self.flow.resume_reading()
        self.transport.write_eof()

    def _is_for_others(self, _path: str) -> bool:
        """Whether this request, and whatever follows it, is for another process."""
        return False

    @property
    def _is_declined(self) -> bool:
        """Whether another protocol is asked for that is not spoken here; the parser would pass over such a body."""
        return self.parser.should_upgrade() and not self._should_upgrade()

    @property
    def _is_free(self) -> bool:
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)

    def _rest_if_free(self) -> None:
        self._at_rest = not (self._in_head or self._in_body or self._deaf) and self._is_free
        if self._at_rest:
            self._head_bytes = 0
            self._since = self.loop.time()
