"""Which web pages may use a public key: origins, exact (``https://shop.example``) or of all hosts below a name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rushlight.errors import Rejected

if TYPE_CHECKING:
    from rushlight.ingest.keys import Key

_HOST = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
ORIGIN = re.compile(rf"https?://(\*\.)?({_HOST}|\[[0-9a-f:]+\])(:\d{{1,5}})?\Z")
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
MAX_ORIGINS = 100
MAX_ORIGIN_CHARACTERS = 300


def checked(origins: Iterable[str]) -> tuple[str, ...]:
    """Origins as browsers send them: lower-case, without the scheme's own port, each once.

    Raises:
        Rejected: one is no origin, or there are too many.
    """
    found = tuple(dict.fromkeys(_plain(origin) for origin in origins))
    if len(found) > MAX_ORIGINS:
        raise Rejected(f"a key may have {MAX_ORIGINS} origins, not {len(found)}", field="origin")
    for origin in found:
        if len(origin) > MAX_ORIGIN_CHARACTERS or not ORIGIN.match(origin):
            reason = f"must be like https://shop.example or https://*.shop.example, without a path, not {origin[:80]!r}"
            raise Rejected(reason, field="origin")
    return found


def allowed(origin: str, origins: Iterable[str]) -> bool:
    """Whether a page of this origin is among them; ``*.`` stands for one label or more."""
    for known in origins:
        if origin == known:
            return True
        scheme, star, host = known.partition("*")
        if star and origin.startswith(scheme) and origin.endswith(host) and len(origin) > len(scheme) + len(host):
            return True
    return False


def check_sender(key: Key, headers: Mapping[str, str]) -> None:
    """Refuse a key where it may not be used; ``headers`` are those of the request, by lower-case name.

    A secret key that comes from a page is one that anybody can read: browsers name the page's origin, or say how its
    site relates to ours, and servers' clients do neither.

    Raises:
        Rejected: a secret key in a browser, or a public key of other origins.
    """
    if key.kind == "secret":
        if "origin" in headers or "sec-fetch-site" in headers:
            reason = "a secret key came from a web page, where anybody can read it: revoke it, use a public key there"
            raise Rejected(reason, field="authorization", code="secret_in_browser")
    elif key.origins and not allowed(headers.get("origin", ""), key.origins):
        where = f"from {headers['origin'][:MAX_ORIGIN_CHARACTERS]}" if "origin" in headers else "without an Origin"
        reason = f"this public key may not be used {where}: `rushlight keys change` adds origins"
        raise Rejected(reason, field="origin", code="origin")


def _plain(origin: str) -> str:
    plain = origin.strip().lower()
    return plain.removesuffix(DEFAULT_PORTS.get(plain.partition("://")[0], "\0"))
