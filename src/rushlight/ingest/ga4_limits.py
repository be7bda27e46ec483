"""What GA4 itself would not take of a request, or takes for something else: limits, names and required values."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import msgspec

from rushlight.errors import Rejected
from rushlight.events.money import exact
from rushlight.ingest.dialects.ga4 import BACKDATED
from rushlight.ingest.ga4_payload import time_of
from rushlight.ingest.request import Request

MAX_BODY_BYTES = 130_000
MAX_EVENTS = MAX_PARAMS = MAX_PROPERTIES = 25
MAX_ITEMS, MAX_ITEM_PARAMS = 200, 27
MAX_NAME, MAX_PROPERTY_NAME = 40, 24
MAX_PROPERTY_VALUE, MAX_VALUE = 36, 100
LONGER = {"page_title": 300, "page_referrer": 420, "page_location": 1000}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")
MEASUREMENT_ID = re.compile(r"G-[A-Z0-9]{4,20}\Z")
FIREBASE_APP_ID = re.compile(r"\d+:\d+:(ios|android|web):[0-9a-f]+\Z")
CONSENTS = ("ad_user_data", "ad_personalization")
RESERVED = frozenset(
    (
        *("ad_activeview", "ad_click", "ad_exposure", "ad_query", "ad_reward", "adunit_exposure", "app_background"),
        *("app_clear_data", "app_exception", "app_remove", "app_store_refund", "app_store_subscription_cancel"),
        *("app_store_subscription_convert", "app_store_subscription_renew", "app_update", "app_upgrade"),
        *("dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "error", "firebase_campaign"),
        *("firebase_in_app_message_action", "firebase_in_app_message_dismiss", "firebase_in_app_message_impression"),
        *("first_open", "first_visit", "in_app_purchase", "notification_dismiss", "notification_foreground"),
        *("notification_open", "notification_receive", "notification_send", "os_update", "session_start"),
        "user_engagement",
    )
)
STANDARD = frozenset(
    (
        *("item_id", "item_name", "affiliation", "coupon", "discount", "index", "item_brand", "item_category"),
        *("item_category2", "item_category3", "item_category4", "item_category5", "item_list_id", "item_list_name"),
        *("item_variant", "location_id", "price", "quantity", "creative_name", "creative_slot", "promotion_id"),
        *("promotion_name", "currency"),
    )
)
_ITEMS = ("items",)
REQUIRED = {
    "purchase": ("transaction_id", "currency", "value", "items"),
    "refund": ("transaction_id", "currency", "value"),
    "search": ("search_term",),
    **dict.fromkeys(("view_item", "select_item", "view_item_list", "add_to_cart", "remove_from_cart"), _ITEMS),
    **dict.fromkeys(("view_cart", "begin_checkout", "add_payment_info", "add_shipping_info"), _ITEMS),
    **dict.fromkeys(("add_to_wishlist", "view_promotion", "select_promotion"), _ITEMS),
}
_Object = Mapping[str, Any]


class Message(msgspec.Struct, frozen=True, rename="camel"):
    """One of GA4's ``validationMessages``."""

    field_path: str
    description: str
    validation_code: str


class _Twice(dict[str, Any]):
    """An object of which some names came more than once."""

    twice: tuple[str, ...] = ()


def check(request: Request) -> list[Message]:
    """What there is to warn of; nothing for a body that is not a JSON object, which is refused before."""
    if len(request.body) > MAX_BODY_BYTES:  # nor is it looked at further
        return [_of("", f"The body is larger than {MAX_BODY_BYTES // 1000} kB.", "VALUE_OUT_OF_BOUNDS")]
    try:
        body = json.loads(request.body, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return []
    return list(_request(request, body)) if isinstance(body, dict) else []


def _object(pairs: list[tuple[str, Any]]) -> _Twice:
    found = _Twice(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        found.twice = tuple(name for name, count in Counter(names).items() if count > 1)
    return found


def _request(request: Request, body: _Object) -> Iterator[Message]:
    yield from _stream(parse_qs(request.query))
    yield from _twice(body, "")
    if not body.get("client_id") and not body.get("app_instance_id"):
        yield _of("client_id", "client_id is required.", "VALUE_REQUIRED")
    yield from _time(body, "", request)
    yield from _properties(body.get("user_properties"))
    consent = body.get("consent")
    for name, value in (consent if isinstance(consent, dict) else {}).items():
        if name in CONSENTS and value not in ("GRANTED", "DENIED"):
            yield _of(f"consent.{name}", f"consent.{name} must be GRANTED or DENIED.", "VALUE_INVALID")
    events = body.get("events")
    if not events:
        yield _of("events", "At least one event is required.", "VALUE_REQUIRED")
    if not isinstance(events, list):
        return
    if len(events) > MAX_EVENTS:
        yield _of("events", f"GA4 takes {MAX_EVENTS} events at once, not {len(events)}.", "EXCEEDED_MAX_ENTITIES")
    for index, event in enumerate(events):
        if isinstance(event, dict):
            yield from _event(event, f"events[{index}]", request)


def _stream(query: Mapping[str, list[str]]) -> Iterator[Message]:
    measurement, app = query.get("measurement_id", [""])[0], query.get("firebase_app_id", [""])[0]
    if not measurement and not app:
        yield _of("measurement_id", "measurement_id or firebase_app_id is required by GA4.", "VALUE_REQUIRED")
    if measurement and not MEASUREMENT_ID.match(measurement):
        yield _of("measurement_id", "measurement_id is like G-XXXXXXXXXX.", "VALUE_INVALID")
    if app and not FIREBASE_APP_ID.match(app):
        yield _of("firebase_app_id", "firebase_app_id is like 1:1234:web:abcd.", "VALUE_INVALID")


def _properties(properties: Any) -> Iterator[Message]:
    if not isinstance(properties, dict):
        return
    yield from _twice(properties, "user_properties")
    if len(properties) > MAX_PROPERTIES:
        yield _of("user_properties", f"GA4 takes {MAX_PROPERTIES} of them.", "EXCEEDED_MAX_ENTITIES")
    for name, said in properties.items():
        path = f"user_properties.{name}"
        yield from _name(name, path, MAX_PROPERTY_NAME)
        value = said.get("value") if isinstance(said, dict) else said
        if len(str(value)) > MAX_PROPERTY_VALUE:
            yield _of(path, f"{path} is longer than {MAX_PROPERTY_VALUE} characters.", "VALUE_OUT_OF_BOUNDS")


def _event(event: _Object, path: str, request: Request) -> Iterator[Message]:
    name, params = event.get("name"), event.get("params")
    if not isinstance(name, str) or not name:
        yield _of(f"{path}.name", f"{path}.name is required.", "VALUE_REQUIRED")
        return
    yield from _name(name, f"{path}.name", MAX_NAME)
    if name in RESERVED:
        yield _of(f"{path}.name", f"{path} has the reserved name [{name}].", "NAME_RESERVED")
    yield from _time(event, f"{path}.", request)
    if params is not None and not isinstance(params, dict):
        return
    yield from _params(name, params or {}, f"{path}.params")


def _params(event: str, params: _Object, path: str) -> Iterator[Message]:
    yield from _twice(params, path)
    if len(params) > MAX_PARAMS:
        reason = f"GA4 takes {MAX_PARAMS} parameters an event, not {len(params)}."
        yield _of(path, reason, "EXCEEDED_MAX_ENTITIES")
    for name, value in params.items():
        yield from _name(name, f"{path}.{name}", MAX_NAME)
        limit = LONGER.get(name, MAX_VALUE)
        if isinstance(value, str) and len(value) > limit:
            reason = f"{path}.{name} is longer than {limit} characters."
            yield _of(f"{path}.{name}", reason, "VALUE_OUT_OF_BOUNDS")
    for name in REQUIRED.get(event, ()):
        if params.get(name) in (None, "", []):
            yield _of(f"{path}.{name}", f"{event} requires {name}.", "VALUE_REQUIRED")
    if params.get("value") is not None and not params.get("currency"):
        yield _of(f"{path}.currency", "currency is required with value.", "VALUE_REQUIRED")
    items = params.get("items")
    if isinstance(items, list):
        yield from _items(items, params, f"{path}.items")
        yield from _value(items, params, path)


def _items(items: list[Any], params: _Object, path: str) -> Iterator[Message]:
    if len(items) > MAX_ITEMS:
        yield _of(path, f"GA4 takes {MAX_ITEMS} items, not {len(items)}.", "EXCEEDED_MAX_ENTITIES")
    for index, item in enumerate(items[:MAX_ITEMS]):
        if not isinstance(item, dict):
            continue
        yield from _twice(item, f"{path}[{index}]")
        if not item.get("item_id") and not item.get("item_name"):
            yield _of(f"{path}[{index}].item_id", "item_id or item_name is required.", "VALUE_REQUIRED")
        if len([name for name in item if name not in STANDARD]) > MAX_ITEM_PARAMS:
            reason = f"GA4 takes {MAX_ITEM_PARAMS} parameters of your own an item."
            yield _of(f"{path}[{index}]", reason, "EXCEEDED_MAX_ENTITIES")
    priced = any(isinstance(item, dict) and item.get("price") is not None for item in items)
    if priced and not params.get("currency"):
        field = f"{path.removesuffix('.items')}.currency"
        yield _of(field, "currency is required: without it the items' prices are not kept.", "VALUE_REQUIRED")


def _value(items: list[Any], params: _Object, path: str) -> Iterator[Message]:
    """``value`` is what the items come to, after discounts, without tax and shipping."""
    try:
        value = exact(params["value"])
        goods = sum((exact(item["price"]) * exact(item.get("quantity", 1)) for item in items), Decimal(0))
    except (KeyError, TypeError, AttributeError, Rejected):
        return
    if abs(value - goods) > Decimal("0.01"):
        reason = f"value is {value}, but the items come to {goods} (price times quantity, without tax and shipping)."
        yield _of(f"{path}.value", reason, "VALUE_INVALID")


def _time(said: _Object, path: str, request: Request) -> Iterator[Message]:
    micros = said.get("timestamp_micros")
    if micros is None:
        return
    field = f"{path}timestamp_micros"
    try:
        at = time_of(micros) if isinstance(micros, str | int | float) else None
    except Rejected:
        at = None
    if at is None:
        yield _of(field, f"{field} is no time in microseconds since 1970.", "VALUE_INVALID")
    elif at < request.received_at - BACKDATED:
        yield _of(field, f"{field} is more than 72 hours ago ({at:%Y-%m-%d %H:%M} UTC).", "VALUE_INVALID")
    elif at > request.received_at + timedelta(minutes=1):
        yield _of(field, f"{field} is in the future ({at:%Y-%m-%d %H:%M} UTC): microseconds?", "VALUE_INVALID")


def _name(name: str, path: str, limit: int) -> Iterator[Message]:
    if name.startswith(PREFIXES):
        yield _of(path, f"[{name}] begins with a reserved prefix.", "NAME_RESERVED")
    elif not NAME.match(name):
        yield _of(path, f"[{name}] must begin with a letter and have letters, digits and _ only.", "NAME_INVALID")
    if len(name) > limit:
        yield _of(path, f"[{name}] is longer than {limit} characters.", "NAME_INVALID")


def _twice(said: _Object, path: str) -> Iterator[Message]:
    for name in said.twice if isinstance(said, _Twice) else ():
        field = f"{path}.{name}".lstrip(".")
        yield _of(field, f"{field} is given more than once; the last one counts.", "NAME_DUPLICATED")


def _of(path: str, description: str, code: str) -> Message:
    return Message(path, description, code)
