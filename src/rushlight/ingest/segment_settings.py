"""``GET /v1/projects/KEY/settings``: what analytics.js in a browser asks for before it sends; here, where to send."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from rushlight.errors import Unavailable
from rushlight.ingest.asgi import Scope, Send
from rushlight.ingest.keys import Keyring
from rushlight.ingest.refusals import complete, unavailable
from rushlight.ingest.request import Answer

SETTINGS = re.compile(r"/v1/projects/(.+)/settings\Z", re.DOTALL)
HEADERS = ((b"cache-control", b"no-cache"),)
PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type"),
    (b"access-control-max-age", b"86400"),
)


async def serve_settings(keyring: Keyring, scope: Scope, send: Send) -> None:
    """Answer one request for a path that `SETTINGS` matches: 200, 404 for a key that is none of ours."""
    answer = complete(await _answer(keyring, scope))
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


def project_settings(key: str, host: str, protocol: str) -> bytes:
    """The settings: no integration but this one.

    Args:
        host: of this server, as the browser calls it. protocol: ``http`` or ``https``.
    """
    here = {"apiKey": key, "apiHost": f"{host}/v1", "protocol": protocol, "unbundledIntegrations": []}
    plan = {name: {"__default": {"enabled": True, "integrations": {}}} for name in ("track", "identify", "group")}
    return msgspec.json.encode(
        {"integrations": {"Segment.io": here}, "plan": plan, "edgeFunction": {}, "metrics": {"sampleRate": 0}}
    )


async def _answer(keyring: Keyring, scope: Scope) -> Answer:
    if scope["method"] == "OPTIONS":
        return Answer(204, b"", PREFLIGHT)
    if scope["method"] not in ("GET", "HEAD"):
        return _refused(405, "method", "use GET", ((b"allow", b"GET, HEAD, OPTIONS"),))
    found = SETTINGS.match(scope["path"])
    text = found[1] if found else ""
    try:
        key = await keyring.verify(text)
    except Unavailable as error:
        return unavailable(error).answer
    if key is None:
        return _refused(404, "key", "this write key is not known")
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    protocol = headers.get(b"x-forwarded-proto", str(scope.get("scheme", "http"))).partition(",")[0].strip()
    protocol = protocol if protocol in ("http", "https") else "https"
    return Answer(200, project_settings(text, headers.get(b"host", ""), protocol), HEADERS)


def _refused(status: int, code: str, reason: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    return Answer(status, msgspec.json.encode({"error": {"code": code, "field": "", "message": reason}}), headers)
