"""The connection of a process that only takes events in, beside one that serves everything: another request than that
goes to the other process with its connection, which stays there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rushlight.errors import Unavailable
from rushlight.ingest.refusals import unavailable
from rushlight.serving.connection import Connection
from rushlight.serving.handover import Passage

END_OF_HEAD = b"\r\n\r\n"
FLUSH_SECONDS = 0.01
# What may come behind a request that waits for the answers before it; reading has stopped by then.
MAX_WAITING_BYTES = 1 << 20


class Passing(Connection):
    """Gives itself away when a request is for others and everything before it has been answered.

    The parser does not say where a message ends, so it is given no more than one at a time: then the bytes of a
    request for others are known from its first one on.

    Args:
        passage: to the other process. serves: whether a path is served here.
    """

    def __init__(self, passage: Passage, serves: Callable[[str], bool], *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._passage = passage
        self._serves = serves
        self._message = b""  # the message that is being read, as far as its head
        self._extent = Extent()
        self._onward: bytes | None = None  # what the other process is to read

    def resume_writing(self) -> None:
        """Answers leave again; behind a request for others nothing more is taken."""
        super().resume_writing()
        if self._onward is not None:
            self.flow.pause_reading()

    def _continue(self) -> None:
        super()._continue()
        if self._onward is not None:
            self._pass_on_if_free()

    def on_headers_complete(self) -> None:
        """A request's head is here."""
        super().on_headers_complete()
        self._extent.begin(self.headers)

    def on_chunk_header(self) -> None:
        """The line that says how long a chunk is has been read."""
        self._extent.begin_chunk()

    def _feed(self, data: bytes) -> None:
        start = 0
        while start < len(data) and not self._deaf and self.parser is not None:
            if self._in_body:
                end = self._extent.within_body(data, start)
            else:
                if not self._in_head:
                    self._message = b""
                end = _end_within(data, start, self._message)
                self._message += data[start:end]
            piece, start = data[start:end], end
            super()._feed(piece)
        if self._onward is not None and not self._lingering:
            self._onward += data[start:]
            if len(self._onward) > MAX_WAITING_BYTES:
                self.transport.abort()
            else:
                self._pass_on_if_free()

    def _is_for_others(self, path: str) -> bool:
        if self._serves(path):
            return False
        self._onward = self._message
        self._deaf = True
        return True

    def _pass_on_if_free(self) -> None:
        self.flow.pause_reading()
        if self._is_free:
            self._pass_on()

    def _pass_on(self) -> None:
        transport = self.transport.plain()
        if transport.is_closing() or self._lingering or self._onward is None:
            return
        if transport.get_write_buffer_size():  # what is still to leave here would be mixed with what leaves there
            self.loop.call_later(FLUSH_SECONDS, self._pass_on)
            return
        if self._passage.send(transport.get_extra_info("socket").fileno(), self._onward):
            transport.close()
        else:
            self.refuse(unavailable(Unavailable("this is not served just now")))


class Extent:
    """Says of bytes that come how many surely belong to the body that is being read.

    It believes what the parser, which is stricter, has let pass.
    """

    def __init__(self) -> None:
        self._left = 0
        self._line: bytes | None = None  # of a body in chunks: what has come of the line that is being read

    def begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        """A head with these headers has been read."""
        lengths = [value for name, value in headers if name == b"content-length" and value.isdigit()]
        chunked = any(name == b"transfer-encoding" for name, _ in headers)
        self._left = int(lengths[0]) if lengths and not chunked else 0
        self._line = b"" if chunked else None

    def begin_chunk(self) -> None:
        """The line that was given out last told a chunk's length."""
        size = (self._line or b"").partition(b";")[0].strip()
        try:
            length = int(size, 16)
        except ValueError:  # then line by line, which is right as well
            length = 0
        self._left = length + len(b"\r\n") if length else 0

    def within_body(self, data: bytes, start: int) -> int:
        """Up to where to read these bytes, from a place in them, before asking again; at least one of them."""
        if self._left:
            size = min(self._left, len(data) - start)
            self._left -= size
            self._line = b"" if self._line is not None else None
            return start + size
        # Between chunks whatever ends the body ends a line as well.
        end = data.find(b"\n", start) + 1 or len(data)
        if self._line is not None:
            self._line = data[start:end] if self._line.endswith(b"\n") else self._line + data[start:end]
        return end


def _end_within(data: bytes, start: int, before: bytes) -> int:
    """Where the head ends, or what has come of it, that begins or goes on at a place in these bytes."""
    tail = before[-len(END_OF_HEAD) + 1 :]
    seam = (tail + data[start : start + len(END_OF_HEAD) - 1]).find(END_OF_HEAD)
    if seam >= 0:
        return start + seam + len(END_OF_HEAD) - len(tail)
    end = data.find(END_OF_HEAD, start)
    return len(data) if end < 0 else end + len(END_OF_HEAD)
