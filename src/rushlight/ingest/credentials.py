"""Where a request says whose it is."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Mapping
from functools import lru_cache


def key_in(headers: Mapping[str, str]) -> str:
    """The write key in a request's headers, or an empty text."""
    authorization = headers.get("authorization", "")
    return _authorized(authorization) if authorization else headers.get("x-write-key", "").strip()


@lru_cache(4096)
def _authorized(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return b64decode(credentials, validate=True).decode("latin-1").partition(":")[0]
        except (BadBase64, ValueError):
            return ""
    return ""
