"""What of a refused event may be shown: its shape and the values that say what is wrong, nothing that names a person.

Values are shown only under names that are known to be harmless, and looked through for keys, addresses and card numbers
even there. Of every other text only its length is told. What is not JSON is not shown at all.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

from rushlight.logs import redacted

MAX_SAMPLE_BYTES = 2048
MAX_BODY_BYTES = 256 << 10
MAX_VALUE_CHARACTERS = 80
MAX_FIELDS, MAX_ITEMS, MAX_DEPTH = 40, 3, 8
MAX_SMALL, MAX_AMOUNT, MAX_MICROS = 10**6, 10**9, 10**17
CUT = "…"
_WORDS = frozenset(
    (
        *("type", "event", "eventname", "specversion", "datacontenttype", "productid", "itemid", "sku", "itemname"),
        *("category", "itemcategory", "orderid", "transactionid", "refundid", "paymentid"),
    )
)
# Shown as long as what stands there is a number, a time or a currency.
_VALUES = frozenset(
    (
        *("currency", "price", "unitprice", "amount", "quantity", "discount", "tax", "shipping", "value", "revenue"),
        *("total", "subtotal", "time", "timestamp", "timestampmicros", "sentat", "originaltimestamp"),
    )
)
_LINKS = frozenset({"url", "pagelocation", "pagereferrer", "referrer"})
_PERSONAL = frozenset({"traits", "userproperties", "userdata", "personal", "address", "user", "customer", "billing"})
_PRODUCTS = frozenset({"items", "products", "lines"})
_BLANK = re.compile(r"[\s_.-]+")
_FIELD = re.compile(r"[A-Za-z$_][\w$ -]{0,39}")
_PATH = re.compile(r"[^.\[\]]+")
_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{24,}")
# Long words of ours and of curl's, which say what is wrong with a content type.
_MEDIA_TYPES = frozenset(
    f"application/{name}" for name in ("cloudevents+json", "cloudevents-batch+json", "x-www-form-urlencoded")
)
_LONG_NUMBER = re.compile(r"\d(?:[ -]?\d){11,}")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_VALUE = r"[\d.,\s€$£%+-]{1,20}|[A-Za-z]{3}|[^\w\s]{1,3}|\d{4}-\d\d-\d\d[T ][\d:.]{4,15}(?:Z|[+-]\d\d:?\d\d)?"
_PLAIN = re.compile(_VALUE)
_QUOTED_PLAIN = re.compile(rf"['\"](?:{_VALUE})['\"]")


def sample_of(body: bytes, index: int, *, dialect: str) -> str:
    """JSON text of one event of a request, at most 2 KiB, or an empty text where nothing can be shown.

    Args:
        body: the request's, unpacked. index: the event's place in it; negative for the request as a whole.
    """
    if len(body) > MAX_BODY_BYTES:
        return ""
    try:
        found = _event(json.loads(body), index)
        text = json.dumps(_shown(found, "", dialect, 0), ensure_ascii=False)
    except (ValueError, RecursionError, IndexError):
        return ""
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_SAMPLE_BYTES:
        return data.decode()
    return data[: MAX_SAMPLE_BYTES - len(CUT.encode())].decode("utf-8", "ignore") + CUT


def shown_reason(reason: str) -> str:
    """A reason without what it quotes of the event, except for numbers and currencies."""
    kept = _QUOTED.sub(lambda quoted: quoted[0] if _QUOTED_PLAIN.fullmatch(quoted[0]) else f"'{CUT}'", reason)
    return _text(kept)[:200]


def shown_path(field: str) -> str:
    """A field's path without names that may themselves be somebody's."""
    return _PATH.sub(lambda name: _name(name[0]), field)[:200]


def _event(value: Any, index: int) -> Any:
    if index < 0:
        return value
    if isinstance(value, list):
        return value[index]
    for name in ("events", "batch"):
        if isinstance(value, dict) and isinstance(value.get(name), list):
            return value[name][index]
    return value


def _shown(value: Any, name: str, dialect: str, depth: int) -> Any:
    if isinstance(value, dict):
        if depth >= MAX_DEPTH or name in _PERSONAL:
            return f"{CUT} ({len(value)} fields)"
        fields = list(value.items())[:MAX_FIELDS]
        return {_name(key): _shown(each, _known(key, name, dialect, depth), dialect, depth + 1) for key, each in fields}
    if isinstance(value, list):
        if depth >= MAX_DEPTH:
            return f"{CUT} ({len(value)} items)"
        more = [f"{CUT} ({len(value) - MAX_ITEMS} more)"] if len(value) > MAX_ITEMS else []
        return [_shown(each, name, dialect, depth + 1) for each in value[:MAX_ITEMS]] + more
    if isinstance(value, str):
        return _shown_text(value, name)
    if value is None or isinstance(value, bool) or _is_harmless(value, name):
        return value
    return f"{CUT} (number)"


def _known(key: str, inside: str, dialect: str, depth: int) -> str:
    """The name by which a value is judged; ``name`` is harmless only where it is an event's or a product's."""
    name = _BLANK.sub("", key).casefold()
    if name == "name" and (inside in _PRODUCTS or (dialect == "ga4" and depth == 0)):
        return "itemname"
    return name


def _shown_text(value: str, name: str) -> str:
    if name in _LINKS:
        try:
            host = urlsplit(value).hostname
        except ValueError:
            host = None
        return f"https://{host}/{CUT}" if host and _text(host) == host else CUT
    if (name in _WORDS and len(value) <= MAX_VALUE_CHARACTERS) or (name in _VALUES and _PLAIN.fullmatch(value)):
        return _text(value)
    return f"{CUT} ({len(value)} characters)"


def _is_harmless(number: float, name: str) -> bool:
    """A time, an amount, or what is too small for anybody's number; never a PIN, a postcode or a year of birth."""
    if name in _VALUES:
        return abs(number) < (MAX_MICROS if "time" in name else MAX_AMOUNT)
    return name in _WORDS and abs(number) < MAX_SMALL


def _name(name: str) -> str:
    return (
        name if _FIELD.fullmatch(name) and _text(name) == name else name if name.isdecimal() and len(name) < 6 else CUT
    )


def _text(value: str) -> str:
    return _LONG_TOKEN.sub(_cut, _LONG_NUMBER.sub(CUT, redacted(value)))


def _cut(token: re.Match[str]) -> str:
    return token[0] if token[0] in _MEDIA_TYPES else CUT
