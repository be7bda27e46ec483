"""Serves the built board: only files that were there, under a policy that lets it speak to its own host alone."""

from __future__ import annotations

import re
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path
from typing import Any, NamedTuple

from rushlight.live.door import Receive, Send

DIRECTORY = Path(__file__).resolve().parent.parent / "static" / "board"
INDEX = "index.html"
# The build puts a digest of the contents into these names, so that a name never means anything else.
HASHED_NAME = re.compile(r"assets/.*-[\w-]{8}\.\w+\Z")
IMMUTABLE = b"public, max-age=31536000, immutable"
REVALIDATE = b"no-cache"
HOST = re.compile(rb"[A-Za-z0-9.\-]+(:\d+)?\Z|\[[0-9A-Fa-f:.]+\](:\d+)?\Z")
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".md": "text/plain",
}
TEXT_TYPES = ("text/", "image/svg+xml", "application/json")
NOT_BUILT = (
    "<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>Rushlight</title><h1>The board has not been built</h1>"
    "<p>Run <code>make install</code> in the checkout, or install Rushlight from a wheel, which brings the board along."
    " The figures are at <a href='/docs'>/docs</a> meanwhile.</p></html>"
)
NOT_FOUND = "Not found: the board is at / and the query API at /docs.\n"


class _File(NamedTuple):
    body: bytes
    headers: list[tuple[bytes, bytes]]
    tag: bytes


class Board:
    """The ASGI application for everything that no other part serves.

    Args:
        directory: where the build left the board.
    """

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._directory = directory
        self._files: dict[str, _File] = {}

    async def __call__(self, scope: dict[str, Any], _receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            await _answer(scope, send, 405, [(b"allow", b"GET, HEAD")], b"")
            return
        if INDEX not in self._files:
            self._files = _load(self._directory)
        name = scope["path"].removeprefix("/") or INDEX
        file = self._files.get(name)
        if file is None:
            await self._missing(scope, send, name)
        elif file.tag in _header(scope, b"if-none-match").replace(b"W/", b""):
            await _answer(scope, send, 304, file.headers, b"")
        else:
            await _answer(scope, send, 200, file.headers, file.body)

    async def _missing(self, scope: dict[str, Any], send: Send, name: str) -> None:
        if name == INDEX:
            await _answer(scope, send, 503, _headers("text/html", REVALIDATE), NOT_BUILT.encode())
        else:
            await _answer(scope, send, 404, _headers("text/plain", REVALIDATE), NOT_FOUND.encode())


def _load(directory: Path) -> dict[str, _File]:
    """Every file of the board by its path; names that begin with a dot are the build's own."""
    files: dict[str, _File] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if not path.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        body = path.read_bytes()
        tag = f'"{sha256(body).hexdigest()[:32]}"'.encode()
        kind = TYPES.get(path.suffix) or guess_type(path.name)[0] or "application/octet-stream"
        caching = IMMUTABLE if HASHED_NAME.match(name.as_posix()) else REVALIDATE
        files[name.as_posix()] = _File(body, [*_headers(kind, caching), (b"etag", tag)], tag)
    return files


def _headers(kind: str, caching: bytes) -> list[tuple[bytes, bytes]]:
    charset = "; charset=utf-8" if kind.startswith(TEXT_TYPES) else ""
    return [(b"content-type", f"{kind}{charset}".encode()), (b"cache-control", caching)]


def _header(scope: dict[str, Any], name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def policy(host: bytes) -> bytes:
    """The content security policy of a page that was asked for under this host name.

    ``'self'`` does not cover WebSockets in every browser, so they are named.
    """
    sockets = b" ws://%b wss://%b" % (host, host) if HOST.match(host) else b""
    return (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        b"connect-src 'self'" + sockets + b"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


async def _answer(
    scope: dict[str, Any], send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    common = [
        (b"content-length", b"%d" % len(body)),
        (b"content-security-policy", policy(_header(scope, b"host"))),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
    ]
    sized = common[1:] if status == 304 else common
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *sized]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
