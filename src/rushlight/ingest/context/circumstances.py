"""What the journal keeps of an event's circumstances, and what it must not keep of the event because of them."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast

import msgspec

from rushlight.events.catalogue import MONEY_EVENTS
from rushlight.events.context import Consent
from rushlight.events.envelope import Envelope
from rushlight.ingest.context.bots import is_bot, is_script
from rushlight.ingest.context.channel import arrival_of
from rushlight.ingest.context.consent import ANALYTICS, signalled, told
from rushlight.ingest.context.device import Device, device_of, hinted
from rushlight.ingest.context.ip import sender, truncated
from rushlight.ingest.context.pages import clean, page_of
from rushlight.ingest.context.surroundings import Surroundings
from rushlight.ingest.context.text import short
from rushlight.ingest.keys import Key
from rushlight.ingest.request import NOTHING, Given, Report, Request, Said
from rushlight.store.unlinking import PURCHASES

MAX_LOCALE_CHARACTERS = 35
MAX_ZONE_CHARACTERS = 64
MAX_MANNERS = 4096
MAX_CONTEXTS = 16
PAGE_EVENTS = frozenset(("page_view", "screen"))
NOBODY = "anonymous-"
"""What the aggregates of events begin with whose visitor may not be known."""
# Fields of the catalogue that hold one, and that it needs.
VISITORS = frozenset(("visitorId", "previousId"))
SOMEWHERE = Surroundings()
# In this dialect pages report themselves; senders of the others say what they know of a visitor.
OF_PAGES = "cloudevents"

Plain = dict[str, Any]
_encode = msgspec.json.Encoder().encode


class _Own(NamedTuple):
    """What a request says of its sender by itself, where that is the visitor's browser.

    Attributes:
        described: of device, browser, system and bot, as the context has it. page: where it was sent from.
    """

    described: Plain
    page: str | None
    ip: str | None
    consent: dict[str, Consent]


UNSAID = _Own({}, None, None, {})


class Circumstances:
    """Those that all events of one request share."""

    def __init__(self, request: Request, dialect: str, key: Key, surroundings: Surroundings = SOMEWHERE) -> None:
        self._shop = key.shop
        self._public = key.kind == "public"
        self._surroundings = surroundings
        self._base: Plain = {"dialect": dialect, "key": key.prefix}
        self._own = own = _own(request, dialect == OF_PAGES, surroundings) if self._public else UNSAID
        said = (*own.described.items(), own.page, own.ip, *own.consent.items())
        self._unsaid = Said(NOTHING)
        self._manner = _mark((dialect, key.shop, key.kind, key.prefix, said))

    def put(self, report: Report, sealed: list[Envelope]) -> list[Envelope]:
        """Give the events of a report their context, take from them what may not be kept, and return what stays."""
        event = sealed[0]
        if report.given is NOTHING and event.payload.__class__ is not dict and event.name not in PAGE_EVENTS:
            return [self.surround(self._unsaid, event)]
        for each in sealed:
            _make_plain(each)
        context = self.context(report.given, event.name, event.payload, event.occurred_at)
        for each in sealed:
            each.context = context
            if each.name not in MONEY_EVENTS:
                each.payload = clean(each.payload, of_page=each.name in PAGE_EVENTS)
        if _is_denied(context):
            return _forgotten(sealed)
        event.personal = report.personal
        return sealed

    def surround(self, said: Said, event: Envelope) -> Envelope:
        """The same for what a visitor did, whose payload is a catalogue's type and clean already."""
        offset = self._surroundings.offset(self._shop, event.occurred_at)
        manner = self._manner if offset is None else (self._manner, offset)
        known = said.contexts.get(manner)
        if known is None:
            context = self.context(said.given, event.name, {}, event.occurred_at)
            if _is_denied(context):
                event.context = context
                _make_plain(event)
                return _forgotten([event])[0]
            known = msgspec.Raw(_encode(context))
            if len(said.contexts) < MAX_CONTEXTS:
                said.contexts[manner] = known
        event.context = cast("Any", known)  # JSON as it is
        return event

    def context(self, given: Given, name: str, payload: Plain, occurred_at: datetime) -> Plain:
        """Plain JSON values of one event's `rushlight.events.context.Context`."""
        own = self._own
        context = {**self._base, **own.described}
        url, referrer = own.page, None
        if name in PAGE_EVENTS:
            url, referrer = payload.get("url") or url, payload.get("referrer")
        consent, ip = own.consent, own.ip
        if given is not NOTHING:
            self._say(context, given)
            url, referrer = given.url or url, given.referrer or referrer
            consent = {**consent, **told(given.consent)}
            ip = truncated(given.ip) if given.ip else ip
        if url or referrer or given.campaign:
            _arrive(context, url, referrer, given)
        if consent:
            context["consent"] = consent
        if ip:
            context["ip"] = ip
        if given.test or payload.get("test") is True:
            context["test"] = True
        offset = self._surroundings.offset(self._shop, occurred_at)
        if offset is not None:
            context["utcOffset"] = offset
        if consent.get(ANALYTICS) == "denied":
            for field in ("ip", "locale", "timeZone"):
                context.pop(field, None)
        return context

    def _say(self, context: Plain, given: Given) -> None:
        if given.user_agent or given.device:
            context.update(_described(device_of(given.user_agent, given.device)))
            if is_bot(given.user_agent, scripts=self._public):
                context["bot"] = True
        if given.bot:
            context["bot"] = True
        if given.no_id:
            context["noId"] = True
        for name, value, limit in (
            ("library", given.library, None),
            ("original", given.original, None),
            ("locale", given.locale, MAX_LOCALE_CHARACTERS),
            ("timeZone", given.time_zone, MAX_ZONE_CHARACTERS),
        ):
            if value and (text := short(value, limit) if limit else short(value)):
                context[name] = text


@lru_cache(MAX_MANNERS)
def _mark(_manner: Hashable) -> object:
    """Something small that stands for it."""
    return object()


def _is_denied(context: Plain) -> bool:
    return bool(context.get("consent", {}).get(ANALYTICS) == "denied")


def _make_plain(event: Envelope) -> None:
    if event.payload.__class__ is not dict:
        event.payload = msgspec.to_builtins(event.payload)


def _own(request: Request, of_a_page: bool, surroundings: Surroundings) -> _Own:
    headers = request.headers
    ip = truncated(sender(request.client, headers.get("x-forwarded-for"), surroundings.proxies))
    consent = signalled(headers)
    user_agent = headers.get("user-agent")
    # A program that holds a key was told to send: it says nothing of the visitor, and is no bot either.
    if not of_a_page or not user_agent or is_script(user_agent):
        return _Own({}, None, ip, consent)
    described = _described(hinted(device_of(user_agent), headers))
    if is_bot(user_agent):
        described["bot"] = True
    return _Own(described, headers.get("referer"), ip, consent)


def _described(device: Device) -> Plain:
    said = (("device", device.kind), ("browser", device.browser), ("os", device.os))
    return {name: value for name, value in said if value}


def _arrive(context: Plain, url: str | None, referrer: str | None, given: Given) -> None:
    arrival = arrival_of(url, referrer, given.campaign)
    said = (
        ("channel", arrival.channel),
        ("campaign", msgspec.to_builtins(arrival.campaign) if arrival.campaign else None),
        ("clickId", arrival.click_id),
        ("referrer", arrival.referrer),
        ("page", page_of(url)),
    )
    for name, value in said:
        if value:
            context[name] = value


def _forgotten(sealed: list[Envelope]) -> list[Envelope]:
    """Who did not agree to be measured is nobody: events of a visitor lose the visitor, an order its link to one.

    What was seen and sold counts, and no two events can be told to be of one visitor.
    """
    kept = [each for each in sealed if each is sealed[0] or each.name in MONEY_EVENTS]
    for each in kept:
        each.visitor_id = each.personal = None
        if each.name in MONEY_EVENTS:
            each.payload.pop("visitorId", None)
            continue
        # A few hundred aggregates, so that they spread over the partitions.
        each.aggregate_id = nobody = f"{NOBODY}{each.id[:2]}"
        each.customer_id = each.correlation_id = each.causation_id = each.trace = None
        gone = ("customerId", "transactionId") if each.name in PURCHASES else ("customerId",)
        each.payload = {
            name: nobody if name in VISITORS else value for name, value in each.payload.items() if name not in gone
        }
    return kept
