"""GA4's Measurement Protocol: ``POST /mp/collect?measurement_id=…&api_secret=KEY``, 204 when everything was taken.

Under a secret key ``purchase`` and ``refund`` are the shop's word about money; under a public one they are behaviour.
GA4 has no message ids: what a retry repeats is the order's id, else ``params.event_id`` or ``message_id``, else, of an
event that says when it happened, all that it says. An event without any of these is counted as often as it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from hashlib import sha256
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qs

import msgspec

from rushlight.errors import Rejected
from rushlight.ingest.explain import UNREADABLE, explained
from rushlight.ingest.ga4_payload import NAMES, Params, behaviour, in_ga4, order, personal, refund, string, time_of
from rushlight.ingest.lenient import check_size, check_syntax, split_member
from rushlight.ingest.names import MONEY_OF, event_name, identifier
from rushlight.ingest.request import Answer, Decoded, Given, Rejection, Report, Request
from rushlight.ingest.shapes import shape_of

BACKDATED = timedelta(hours=72)
STRICT = "ENFORCE_RECOMMENDATIONS"
IDS = ("event_id", "message_id")

Item = bytes | msgspec.Raw | Rejected


class Sender(msgspec.Struct, kw_only=True, gc=False):
    """What all events of a request share."""

    client_id: str | None = None
    app_instance_id: str | None = None
    user_id: str | None = None
    timestamp_micros: int | str | float | None = None
    user_properties: dict[str, Any] | None = None
    user_data: dict[str, Any] | None = None
    consent: dict[str, Any] | None = None
    non_personalized_ads: bool = False
    user_location: dict[str, Any] | None = None
    ip_override: str | None = None
    device: dict[str, Any] | None = None
    user_agent: str | None = None
    validation_behavior: str | None = None


class Event(msgspec.Struct, kw_only=True, gc=False):
    """One event as it is sent."""

    name: str
    params: dict[str, Any] | None = None
    timestamp_micros: int | str | float | None = None


_sender_decoder = msgspec.json.Decoder(Sender)
_event_decoder = msgspec.json.Decoder(Event)


class Ga4:
    """The dialect."""

    name = "ga4"

    def key_in(self, request: Request, /) -> str:
        """``api_secret`` of the query."""
        return parse_qs(request.query).get("api_secret", [""])[0]

    def decode(self, request: Request, /) -> Iterable[Report | Rejection]:
        """Read a request.

        Raises:
            TooLarge: more than 2,500 events.
            Rejected: the body as a whole cannot be read.
        """
        rest, items = split_member(request.body, "events")
        try:
            sender = _sender_decoder.decode(rest)
        except UNREADABLE as error:
            check_syntax(rest)
            raise explained(error) from error
        if not items:
            return [Rejection(0, "events", "is required: at least one event", "missing")]
        person = personal(sender.user_properties or {}, sender.user_data or {})
        return (_read(index, item, sender, person, request) for index, item in enumerate(items))

    def answer(self, _request: Request, decoded: Decoded, /) -> Answer:
        """As Google answers, always 2xx: 204, or 200 with what was turned away and why."""
        if not decoded.rejected:
            return Answer(204, b"")
        told = {"accepted": decoded.accepted, "rejected": [worded(rejection) for rejection in decoded.rejected]}
        return Answer(200, msgspec.json.encode(told))


def worded(rejection: Rejection) -> Rejection:
    """The same with the field's name in GA4's words."""
    return msgspec.structs.replace(rejection, field=in_ga4(rejection.field))


def _read(index: int, item: Item, sender: Sender, person: Params | None, request: Request) -> Report | Rejection:
    try:
        if isinstance(item, Rejected):
            raise item
        check_size(item)
        try:
            event = _event_decoder.decode(item)
        except UNREADABLE as error:
            raise explained(error) from error
        return _of(index, event, sender, person, request)
    except Rejected as error:
        return Rejection.of(index, error)


def _of(index: int, event: Event, sender: Sender, person: Params | None, request: Request) -> Report:
    client = sender.client_id or sender.app_instance_id
    if not client:
        raise Rejected("is required: it says which visitor did it", field="client_id", code="missing")
    params = event.params or {}
    micros = sender.timestamp_micros if event.timestamp_micros is None else event.timestamp_micros
    at = None if micros is None else time_of(micros)
    name = NAMES.get(event.name) or event_name(event.name)
    money = request.trusted and name in MONEY_OF
    if at is not None and at < request.received_at - BACKDATED and not money:
        if sender.validation_behavior == STRICT:
            raise Rejected("is more than 72 hours ago", field="timestamp_micros", code="time")
        at = request.received_at - BACKDATED
    known = _identity(index, client, event, params, micros)
    if known is None and money:  # the same part of the same order: rather one refund too few than one too many
        known = _digest(name, params)
    identity = known or token_hex(16)
    customer = sender.user_id or None
    if money:
        name, data = _money(params, sender, client, identity, placed=name == "purchase")
    elif shape_of(name) is None:
        data = params
    else:
        data = behaviour(name, params) | {"visitorId": client, "customerId": customer}
    return Report(
        name=name,
        sender="ga4",
        message_id=identity,
        data=data,
        subject=None if money else client,
        occurred_at=at,
        given=_given(event, name, params, sender, no_id=known is None),
        personal=person,
        visitor_id=client,
        customer_id=customer,
    )


def _money(params: Params, sender: Sender, client: str, identity: str, *, placed: bool) -> tuple[str, Params]:
    who = {"customerId": sender.user_id} if sender.user_id else {}
    if not placed:
        return "order_refunded", refund(params, identity) | who
    country = (sender.user_location or {}).get("country_id")
    return "order_created", order(params, country) | who | {"visitorId": client}


def _identity(index: int, client: str, event: Event, params: Params, micros: Any) -> str | None:
    """What a retry of the event repeats, if there is anything."""
    for name in IDS:
        if (given := identifier(params.get(name), f"params.{name}")) is not None:
            return _digest(client, event.name, given)
    if event.name == "purchase" and (order_id := params.get("transaction_id")):
        return _digest(client, event.name, order_id)
    return None if micros is None else _digest(client, event.name, index, micros, params)


def _digest(*parts: Any) -> str:
    return sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _given(event: Event, name: str, params: Params, sender: Sender, *, no_id: bool) -> Given:
    device, consent = sender.device or {}, dict(sender.consent or {})
    if sender.non_personalized_ads:
        consent.setdefault("ad_personalization", "DENIED")
    campaign = None
    if event.name == "campaign_details":
        campaign = {each: params.get(each) for each in ("source", "medium", "term", "content")}
        campaign |= {"name": params.get("campaign"), "id": params.get("campaign_id")}
    return Given(
        original=event.name if event.name != name else None,
        user_agent=sender.user_agent,
        ip=sender.ip_override,
        url=string(params.get("page_location")),
        referrer=string(params.get("page_referrer")),
        campaign=campaign,
        device=string(device.get("category")),
        locale=string(device.get("language") or params.get("language")),
        consent=consent or None,
        test=params.get("traffic_type") == "internal",
        no_id=no_id,
    )
