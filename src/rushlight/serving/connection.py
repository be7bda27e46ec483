"""uvicorn's connection, with limits on what a client may take, and a short way for the requests of a `Direct`: each
is a `DirectRequest` in the place of uvicorn's cycle. Pipelining, shutdown and loss of the connection treat both alike.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import httptools

from rushlight.ingest.refusals import Refused, complete
from rushlight.ingest.request import Answer
from rushlight.serving.direct import Direct, Heads, declined, path_of, read_head, rendered
from rushlight.serving.ending import Ending
from rushlight.serving.limits import Limits, Sweep
from rushlight.serving.short import DirectRequest

# What one client has sent in one piece is answered in turns with what others have sent.
MOST_AT_ONCE = 64

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


class Connection(Ending):
    """uvicorn's protocol."""

    def __init__(
        self, direct: Callable[[], Direct | None], limits: Limits, sweep: Sweep, heads: Heads, **arguments: Any
    ) -> None:
        super().__init__(limits, sweep, **arguments)
        self._direct = direct
        self._heads = heads
        self._head_bytes = 0
        self._frame_bytes = 0  # of a body: the lines between its chunks and behind them, beyond what it holds itself
        self._goes_on = False
        self._begun = 0  # requests, since others had a turn
        self._fed = b""  # what has come since the connection was at rest, until a head has been read of it

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
        elif self._lingering or self._last_words is not None:
            return
        self._fed = data if self._at_rest else b""
        self._at_rest = False
        self._begun = 0
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        if self._in_body:
            self._frame_bytes += len(data)
        else:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(data[upgrade.args[0] :])
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
        elif self._in_body and self._frame_bytes > self._limits.head_bytes:
            self.refuse(Refused(413, "the body's chunks hold less than the lines around them", code="too_large"))
        self._rest_if_free()

    def _switch(self, rest: bytes) -> None:
        """Another protocol is asked for; these bytes come behind the head."""
        if self._deaf:
            return
        if not self._should_upgrade():
            text = declined(self.parser, self.url, self.headers)
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._feed(text + rest)
        elif self._is_free:
            self.handle_websocket_upgrade()
        else:
            self.refuse(Refused(400, "a WebSocket begins when everything has been answered", code="http"))

    def on_message_begin(self) -> None:
        """A request's first byte is here."""
        if self._deaf:
            return
        super().on_message_begin()
        self._in_head = True
        self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of a head is here; those that come behind a body are for nobody."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A request's head is here."""
        if self._deaf:
            return
        self._in_head = False
        self._head_bytes = self._frame_bytes = 0
        self._since = self.loop.time()
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        fed, self._fed = self._fed, b""
        direct, path = self._direct(), path_of(self.url)[0]
        if size > self._limits.head_bytes:
            self._refuse_head()
        elif not path.startswith("/") or self.parser.get_method() == b"CONNECT":
            self.refuse(Refused(400, "the target is not a path", code="path"))
        elif self._is_for_others(path):
            return
        else:
            self._in_body = True
            self._begin(direct, path, fed)

    def _begin(self, direct: Direct | None, path: str, fed: bytes) -> None:
        if self._is_declined:
            return
        if direct is None or self.parser.should_upgrade() or not direct.serves(path):
            super().on_headers_complete()
        else:
            self._take_head(direct, fed)

    def on_body(self, body: bytes) -> None:
        """A piece of a body is here."""
        if self._deaf:
            return
        self._frame_bytes -= 2 * len(body)  # which was counted with its lines; they may be as much again
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
        self._begun += 1
        is_next = before is None or before.response_complete
        if is_next and self._begun <= MOST_AT_ONCE:
            # A head from its first byte, its body, and nothing else: the end of one could read like somebody else's.
            if fed and fed[0] not in b"\r\n" and len(fed) - end == head.length:
                self._heads.learn(fed[:end], head)
            self.cycle = request
            request.come()
        else:
            self.cycle = request
            self.flow.pause_reading()
            self.pipeline.appendleft((request, self.app))  # type: ignore[arg-type]
            if is_next:  # nobody's answer is waited for
                self.loop.call_soon(self._continue)

    def handle_websocket_upgrade(self) -> None:
        """Hand a WebSocket's protocol the transport as it is: frames are written whole."""
        self._sweep.discard(self)
        self.transport = self.transport.plain()  # type: ignore[assignment]
        super().handle_websocket_upgrade()
        # With a body, or a line that is too long there, it is never answered, and nobody here watches over it any more.
        if not getattr(self.transport.get_protocol(), "handshake_initiated", True):
            refused = Refused(400, "this cannot become a WebSocket", code="http")
            self.transport.write(rendered(complete(refused.answer), keep_alive=False))
            self.transport.close()

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
            self._deaf = True
            self.transport.close()

    def on_response_complete(self) -> None:
        """A request was answered: begin those that have come, and when there are none wait for more."""
        self.server_state.total_requests += 1
        self._served_any = True
        if not self._goes_on:  # else it began in `_go_on` and was answered at once
            self._continue()

    def _continue(self) -> None:
        is_done = self._go_on()
        if self._last_words is not None:
            if is_done:
                self._end()
            return
        if self.flow.read_paused:
            if self.transport.is_closing():
                return
            if not self.pipeline and self._stalled_since is None:
                self._since = self.loop.time()
                self.flow.resume_reading()
        self._rest_if_free()

    def _go_on(self) -> bool:
        """Begin the requests that have come; whether all of them are answered."""
        self._goes_on = True
        try:
            for _ in range(MOST_AT_ONCE):
                if not self.pipeline or self.transport.is_closing():
                    return True
                cycle, app = self.pipeline.pop()
                self._start_asgi_task(cycle, app)
                if not cycle.response_complete:
                    return False
        finally:
            self._goes_on = False
        self.loop.call_soon(self._continue)
        return False

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, DirectRequest):
            cycle.come()
        else:
            super()._start_asgi_task(cycle, app)

    def _refuse_head(self) -> None:
        self.refuse(Refused(431, f"a head may have {self._limits.head_bytes >> 10} KiB", code="too_large"))

    def _is_for_others(self, _path: str) -> bool:
        """Whether this request, and whatever follows it, is for another process."""
        return False

    @property
    def _is_declined(self) -> bool:
        """Whether another protocol is asked for that is not spoken here; the parser would pass over such a body."""
        return self.parser.should_upgrade() and not self._should_upgrade()

    def _rest_if_free(self) -> None:
        self._at_rest = not (self._in_head or self._in_body or self._deaf) and self._is_free
        if self._at_rest:
            self._head_bytes = 0
            self._since = self.loop.time()
