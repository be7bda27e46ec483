"""The circumstances of an event as a Segment message's ``context`` tells them, and its words for a report's fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from rushlight.ingest.names import MAX_LINK_CHARACTERS, first, text
from rushlight.ingest.request import Answer, Given, Rejection

_MESSAGE_FIELDS = {
    "id": "messageId",
    "subject": "userId",
    "time": "timestamp",
    "data.visitorId": "anonymousId",
    "data.customerId": "userId",
    "data.previousId": "previousId",
    "data.groupId": "groupId",
}
_WORDS = {
    "items": "products",
    "lines": "products",
    "productId": "product_id",
    "unitPrice": "price",
    "orderId": "order_id",
    "transactionId": "order_id",
    "refundId": "refund_id",
    "paymentId": "payment_id",
    "shipmentId": "shipment_id",
    "searchTerm": "query",
}
_REPORT_FIELD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b")


def given(
    context: Mapping[str, Any], properties: Mapping[str, Any], original: str | None, *, no_id: bool = False
) -> Given:
    """What is said of an event's circumstances.

    Args:
        context: the message's, merged with its batch's. properties: the event's; a page's own address stands there.
        original: the event's name as it was sent, where it is another than the catalogue's.
        no_id: the message has no id.
    """
    page, library, device, consent = (mapping(context, name) for name in ("page", "library", "device", "consent"))
    name, version = text(library.get("name")), text(library.get("version"))
    return Given(
        library=f"{name}/{version}" if name and version else name,
        original=original,
        user_agent=text(context.get("userAgent"), MAX_LINK_CHARACTERS),
        ip=text(context.get("ip")),
        url=text(first(page, ("url",)) or properties.get("url"), MAX_LINK_CHARACTERS),
        referrer=text(first(page, ("referrer",)) or properties.get("referrer"), MAX_LINK_CHARACTERS),
        campaign=mapping(context, "campaign") or None,
        device=text(device.get("type")),
        locale=text(context.get("locale")),
        time_zone=text(context.get("timezone")),
        consent=mapping(consent, "categoryPreferences") or consent or None,
        no_id=no_id,
        test=properties.get("test") is True or context.get("test") is True,
    )


def mapping(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A member that is an object; anything else that stands there describes nothing."""
    value = holder.get(name)
    return value if isinstance(value, dict) else {}


def in_segment(rejection: Rejection) -> Rejection:
    """The same with the field's name as it stands in a message."""
    field = rejection.field
    head, dot, rest = field.partition(".")
    if rejection.code == "money_needs_secret_key":
        field = "event"
    elif field in _MESSAGE_FIELDS:
        field = _MESSAGE_FIELDS[field]
    elif head == "data" and dot:
        field = f"properties.{_REPORT_FIELD.sub(lambda found: _WORDS[found[0]], rest)}"
    return msgspec.structs.replace(rejection, field=field.lstrip("."))


def for_sdks(answer: Answer) -> Answer:
    """A refusal of a request with ``code`` and ``message`` where SDKs look for them.

    RudderStack's for Python takes a refusal without them for a broken network, and sends again what never can be taken.
    """
    return answer._replace(body=_for_sdks(answer.body))


@lru_cache(256)
def _for_sdks(body: bytes) -> bytes:
    error = msgspec.json.decode(body)["error"]
    return msgspec.json.encode({"error": error, "code": error["code"], "message": error["message"]})
