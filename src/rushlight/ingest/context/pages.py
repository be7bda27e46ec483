"""Addresses of pages without what may name a person: what is kept of a URL, and of an event's own URL fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from rushlight.ingest.context.remembered import remembered
from rushlight.ingest.context.text import short, without_emails

MAX_URL_CHARACTERS = 8192
KEPT_CHARACTERS = 1024
MAX_HOST_CHARACTERS = 253
MAX_FOREIGN_DOTS = 8
MAX_PARAMETERS = 100
MAX_TITLE_CHARACTERS = 512
UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id")
# By the names that pages, analytics.js and GA4 give them, without the underscores.
URL_FIELDS = frozenset(
    ("url", "href", "path", "pagelocation", "pagepath", "pageurl", "linkurl", "landingpage", "landingurl", "location")
)
REFERRER_FIELDS = frozenset(("referrer", "pagereferrer", "referringurl", "initialreferrer"))
QUERY_FIELDS = frozenset(("search", "querystring"))
TITLE_FIELDS = frozenset(("title", "pagetitle"))
_TEXT_FIELDS = URL_FIELDS | REFERRER_FIELDS | QUERY_FIELDS | TITLE_FIELDS
_NESTED = frozenset(("page", "context"))

# As `urlsplit` reads it, at a tenth of the cost: lower-case, no port, printable ASCII.
_USUAL = re.compile(r"(https?)://([a-z0-9][a-z0-9.-]*)(/[!-\"$->@-~]*)?(?:\?([!-\"$-~]*))?(?:#[!-~]*)?\Z")
_NO_HOST = re.compile(r"[\s@]|\A[a-z][a-z+-]*:(?!\d)", re.IGNORECASE)
_PHONE_PART = re.compile(r"(?:\+|00)[1-9][\d ().-]{6,18}|0\d{9,11}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SIGNED = re.compile(r"ey[\w-]{8,}\.[\w-]{4,}")
_RUN = re.compile(r"[A-Za-z0-9]{16,}")
_HEX = re.compile(r"[0-9a-f]+", re.IGNORECASE)
_LETTERS = re.compile(r"[A-Za-z]")
_DIGITS = re.compile(r"\d")


class Parts(NamedTuple):
    """Those of a URL."""

    scheme: str
    netloc: str
    hostname: str | None
    port: int | None
    path: str
    query: str


class Address(NamedTuple):
    """What is wanted of a URL: see `host_of`, `parameters` and `page_of`."""

    host: str | None = None
    parameters: Mapping[str, str] = {}
    page: str | None = None


def host_of(url: str | None) -> str | None:
    """The host of a URL, lower-case, in ASCII and without ``www.`` and port; of a bare host, itself."""
    return _read(url).host if url else None


def parameters(url: str | None) -> Mapping[str, str]:
    """The first value of each parameter of the query, by lower-case name."""
    return _read(url).parameters if url else {}


def page_of(url: str | None) -> str | None:
    """What is kept of a URL: scheme, host, path with what looks personal masked, and the UTM parameters.

    User names, fragments and every other parameter are dropped.
    """
    return _read(url).page if url else None


@remembered
def _read(url: str) -> Address:
    parts = split(url)
    if parts is None:
        return Address()
    given = _parameters(parts.query) if parts.query else {}
    if parts.netloc:
        host = _host(parts)
        return Address(host, given, _page(parts, host, given) if host else None)
    bare = url.strip().partition("/")[0]
    named = split(f"//{bare}") if "." in bare and not _NO_HOST.search(bare) else None
    # mailto:, tel:, data: … are no pages.
    return Address(_host(named) if named else None, given, None if parts.scheme else _page(parts, None, given))


def split(url: str) -> Parts | None:
    """The parts of a URL, or None for one that is none."""
    if len(url) > MAX_URL_CHARACTERS:
        return None
    usual = _USUAL.match(url)
    if usual is not None:
        scheme, host, path, query = usual.groups("")
        return Parts(scheme, host, host, None, path, query)
    try:
        parts = urlsplit(url.strip())
        return Parts(parts.scheme, parts.netloc, parts.hostname, parts.port, parts.path, parts.query)
    except ValueError:
        return None


def _host(parts: Parts) -> str | None:
    host = (parts.hostname or "").rstrip(".")
    if not host.isascii():
        if len(host) > MAX_HOST_CHARACTERS or host.count(".") > MAX_FOREIGN_DOTS:
            return None
        try:
            host = _in_ascii(host)
        except UnicodeError:
            return None
    host = host.removeprefix("www.")
    return host if host and len(host) <= MAX_HOST_CHARACTERS and host.isprintable() and " " not in host else None


def _in_ascii(host: str) -> str:
    """The same by IDNA, which takes its time over each part."""
    return host.encode("idna").decode("ascii")


def _parameters(query: str) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(query, max_num_fields=MAX_PARAMETERS, errors="replace")
    except ValueError:
        return {}
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name.lower(), value)
    return found


def _page(parts: Parts, host: str | None, given: Mapping[str, str]) -> str | None:
    kept = [(name, value) for name in UTM if (value := short(given.get(name)))] if given else []
    query = "&".join([f"{name}={quote(value, safe=':')}" for name, value in kept])
    start = f"{parts.scheme.lower()}://{_with_port(host, parts)}" if host else ""
    page = f"{start}{_path(parts.path)}{'?' + query if query else ''}"
    return page[:KEPT_CHARACTERS] or None


def _with_port(host: str, parts: Parts) -> str:
    full = f"www.{host}" if (parts.hostname or "").startswith("www.") else host
    shown = f"[{full}]" if ":" in full else full
    return f"{shown}:{parts.port}" if parts.port else shown


def _path(path: str) -> str:
    parts = path[: KEPT_CHARACTERS * 2].split("/")
    return "/".join([part if len(part) < 6 and ";" not in part else _part(part) for part in parts])


@remembered
def _part(part: str) -> str:
    """One part of a path: matrix parameters cut, what looks like a person's or like a secret masked."""
    part = part.partition(";")[0]
    if len(part) < 6:
        return part
    plain = unquote(part)
    if "@" in plain and without_emails(plain) != plain:
        return ":email"
    if _PHONE_PART.fullmatch(plain):
        return ":phone"
    if _UUID.search(plain) or _SIGNED.match(plain) or any(_is_random(run) for run in _RUN.findall(plain)):
        return ":token"
    return part


def _is_random(run: str) -> bool:
    """Whether a run of letters and digits looks drawn rather than written; plain numbers are ids of products."""
    digits, letters = len(_DIGITS.findall(run)), len(_LETTERS.findall(run))
    if not digits or not letters:
        return False
    return bool(_HEX.fullmatch(run)) or digits >= 3 or len(run) >= 24


def clean(payload: dict[str, Any], *, of_page: bool = False) -> dict[str, Any]:
    """A payload whose URL fields say no more than the context does; the same object when there is nothing to do.

    Args:
        of_page: whether ``name`` is a page's, and so another word for its title.
    """
    changed: dict[str, Any] = {}
    for name, value in payload.items():
        if isinstance(value, str):
            if (plain := _plain(name)) in _TEXT_FIELDS:
                changed[name] = _cleaned(plain, value)
            elif of_page and name == "name":
                changed[name] = _cleaned("title", value)
        elif isinstance(value, dict) and name.lower() in _NESTED:
            changed[name] = clean(value)
    if not changed:
        return payload
    return {name: value for name, value in {**payload, **changed}.items() if value is not None or name not in changed}


@lru_cache(maxsize=1024)
def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _cleaned(plain: str, value: str) -> str | None:
    if plain in REFERRER_FIELDS:
        return host_of(value)
    if plain in TITLE_FIELDS:
        return short(value, MAX_TITLE_CHARACTERS)
    if plain in QUERY_FIELDS:
        # A search box's word is data; a page's query string is not.
        return None if value.startswith("?") or "=" in value else short(value)
    return page_of(value)
