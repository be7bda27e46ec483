"""The ingest's part of the OpenAPI document: the routes that are served, by the types that read their requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import msgspec

from rushlight.events import catalogue
from rushlight.events.event import Event as Declared
from rushlight.ingest.codes import explained
from rushlight.ingest.dialects.cloudevents import BATCH, STRUCTURED
from rushlight.ingest.dialects.ga4 import Event, Sender
from rushlight.ingest.dialects.segment import KINDS
from rushlight.ingest.ga4_limits import Message
from rushlight.ingest.http import DIALECTS
from rushlight.ingest.limits import MAX_BODY_BYTES, MAX_EVENTS
from rushlight.ingest.request import Rejection
from rushlight.ingest.shapes import shape_of

REF = "#/components/schemas/{name}"
TAG = "ingest"
SHORT = {**KINDS, "b": "batch"}
Schema = dict[str, Any]

ERRORS = {
    "400": "The body cannot be read; `field` says where.",
    "401": "No valid write key.",
    "403": "The key may not be used from this page.",
    "405": "Only POST.",
    "408": "The body came too slowly.",
    "413": f"More than {MAX_BODY_BYTES >> 20} MiB, or more than {MAX_EVENTS} events.",
    "415": "A format that is not understood.",
    "429": "The key's quota is used up, or too much is offered; `Retry-After` says when to come again.",
    "503": "No room now, nothing was taken; `Retry-After` says when to come again.",
}
RETRY: Schema = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
SECURITY: Schema = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A write key: `pk_…` or `sk_…`."},
    "basic": {"type": "http", "scheme": "basic", "description": "A write key as the user name, without a password."},
    "header": {"type": "apiKey", "in": "header", "name": "X-Write-Key"},
    "apiSecret": {"type": "apiKey", "in": "query", "name": "api_secret", "description": "GA4: a write key."},
}


class Detail(msgspec.Struct):
    """What was wrong with the request as a whole."""

    code: str
    field: str
    message: str


class Refusal(msgspec.Struct):
    """An answer from 400 on."""

    error: Detail


class Taken(msgspec.Struct):
    """How many events are on disk, and each that was turned away with its place in the request."""

    accepted: int
    rejected: list[Rejection]


class SegmentTaken(Taken, kw_only=True):
    """The same as Segment's senders know it; ``hints`` say what was taken otherwise than it was meant."""

    success: bool
    hints: list[str] = []


class Validation(msgspec.Struct, rename="camel"):
    """GA4's answer; an empty list means that all is well."""

    validation_messages: list[Message]


class MeasurementProtocol(Sender, kw_only=True):
    """A request of GA4's Measurement Protocol."""

    events: list[Event]


class SegmentMessage(msgspec.Struct, rename="camel", kw_only=True):
    """One message of Segment's HTTP API: `userId` or `anonymousId`, and in a batch its `type`."""

    type: str | None = None
    message_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    previous_id: str | None = None
    group_id: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    timestamp: str | None = None
    original_timestamp: str | None = None
    sent_at: str | None = None
    write_key: str | None = None


class SegmentBatch(msgspec.Struct, rename="camel", kw_only=True):
    """A batch; its `context` is part of every message's."""

    batch: list[SegmentMessage]
    context: dict[str, Any] | None = None
    sent_at: str | None = None
    write_key: str | None = None


@cache
def document() -> Schema:
    """``paths`` and ``components`` of every path that `DIALECTS` serves, to be merged into a larger document."""
    payloads = _payloads()
    types = [
        *payloads.values(),
        Refusal,
        Taken,
        Validation,
        MeasurementProtocol,
        SegmentMessage,
        SegmentBatch,
        SegmentTaken,
    ]
    references, schemas = msgspec.json.schema_components(types, ref_template=REF)
    schemas["CloudEvent"] = _cloud_event(list(payloads), list(references[: len(payloads)]))
    schemas["Rejection"]["properties"]["code"]["description"] = explained()
    schemas["Detail"]["properties"]["code"]["description"] = explained()
    described = {path: described_as(path) for path in DIALECTS}
    return {
        "paths": {**{path: operations for path, operations in described.items() if operations}, **_settings()},
        "components": {"schemas": schemas, "securitySchemes": SECURITY},
    }


def described_as(path: str) -> Schema:
    """The operations of a path; empty for one that nobody has described."""
    about: Callable[[str], Schema] | None = _ROUTES.get(path)
    if about is None and path.startswith("/v1/"):
        about = _segment
    return {"post": about(path)} if about else {}


def _events(_path: str) -> Schema:
    one, many = _reference("CloudEvent"), {"type": "array", "items": _reference("CloudEvent")}
    content = {STRUCTURED: {"schema": one}, BATCH: {"schema": many}}
    content["application/json"] = {"schema": {"oneOf": [one, many]}}
    answers = {
        "200": _answer("Every event of a batch was turned away.", "Taken"),
        "202": _answer("At least one event is on disk, and will be in the journal exactly once.", "Taken"),
        "400": {
            "description": "The only event was turned away, or the body cannot be read.",
            "content": {"application/json": {"schema": {"oneOf": [_reference("Taken"), _reference("Refusal")]}}},
        },
    }
    return _operation(
        "Report events",
        "CloudEvents 1.0: structured, in batches, or in binary mode. `source` and `id` together say which event is the "
        "same. A public key reports behaviour, a secret key also money. gzip is unpacked.",
        content,
        answers,
        ("bearer", "basic", "header"),
    )


def _collect(path: str) -> Schema:
    debug = path.startswith("/debug")
    texts = [
        ("api_secret", "A write key."),
        ("measurement_id", "Not looked at."),
        ("firebase_app_id", "Not looked at."),
    ]
    answers = {"204": {"description": "Everything was taken."}}
    answers["200"] = _answer("Something was turned away; what was not is on disk.", "Taken")
    if debug:
        answers = {"200": _answer("What is wrong.", "Validation")}
    summary = "Check a request of GA4's Measurement Protocol" if debug else "GA4's Measurement Protocol"
    text = (
        "`purchase` and `refund` under a secret key are orders and refunds, under a public one behaviour. An order "
        "counts once by its `transaction_id`, other events by `params.event_id`."
    )
    if debug:
        text = "Stores nothing, and answers in GA4's own shape what is wrong."
    operation = _operation(
        summary, text, _json("MeasurementProtocol"), answers, ("apiSecret", "bearer", "basic", "header")
    )
    operation["parameters"] = [
        {"name": name, "in": "query", "required": False, "description": said, "schema": {"type": "string"}}
        for name, said in texts
    ]
    return operation


def _segment(path: str) -> Schema:
    batch = path in ("/v1/batch", "/v1/import", "/v1/b")
    answers = {"200": _answer("What could be read is on disk; the rest is in `rejected`.", "SegmentTaken")}
    text = "The key may also stand in the body as `writeKey`. `messageId` says which message is the same."
    content = _json("SegmentBatch" if batch else "SegmentMessage")
    content["text/plain"] = content["application/json"]
    name = path.removeprefix("/v1/")
    summary = f"Segment's {SHORT[name]}, by its short name" if name in SHORT else f"Segment's {name}"
    return _operation(summary, text, content, answers, ("basic", "bearer", "header"))


def _settings() -> Schema:
    key = {"name": "writeKey", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 128}}
    settings = {"description": "The settings.", "content": {"application/json": {"schema": {"type": "object"}}}}
    answers = {"200": settings, "404": _answer("The key is not known.", "Refusal")}
    operation = {
        "tags": [TAG],
        "summary": "Where analytics.js is to send",
        "description": "What Segment's analytics.js asks for before it sends.",
        "parameters": [key],
        "responses": {**answers, "503": _answer(ERRORS["503"], "Refusal")},
    }
    return {"/v1/projects/{writeKey}/settings": {"get": operation}}


_ROUTES: dict[str, Callable[[str], Schema]] = {
    "/events": _events,
    "/mp/collect": _collect,
    "/debug/mp/collect": _collect,
}


def _operation(summary: str, text: str, content: Schema, answers: Schema, keys: Iterable[str]) -> Schema:
    refusals = {
        status: _answer(said, "Refusal") | ({"headers": RETRY} if status in ("429", "503") else {})
        for status, said in ERRORS.items()
    }
    return {
        "tags": [TAG],
        "summary": summary,
        "description": text,
        "requestBody": {"required": True, "content": content},
        "responses": dict(sorted((refusals | answers).items())),
        "security": [{key: []} for key in keys],
    }


def _answer(description: str, name: str) -> Schema:
    return {"description": description, "content": _json(name)}


def _json(name: str) -> Schema:
    return {"application/json": {"schema": _reference(name)}}


def _reference(name: str) -> Schema:
    return {"$ref": REF.format(name=name)}


def _payloads() -> dict[str, Any]:
    """The type of ``data`` by event name."""
    declared = [each for each in vars(catalogue).values() if isinstance(each, type) and issubclass(each, Declared)]
    shapes = {name: shape_of(name) for name in sorted(getattr(each, "event_name", "") for each in declared)}
    return {name: shape.type for name, shape in shapes.items() if shape is not None}


def _cloud_event(names: list[str], payloads: list[Schema]) -> Schema:
    """Its attributes, and for each name of the catalogue what ``data`` may hold."""
    text: Schema = {"type": "string", "minLength": 1, "maxLength": 256}
    optional = dict.fromkeys(("subject", "traceparent", "correlationid", "causationid"), text)
    said = f"A catalogue name, bare or behind a reversed domain; others are your own. {', '.join(names)}."
    money = ", ".join(sorted(catalogue.MONEY_EVENTS))
    return {
        "type": "object",
        "required": ["id", "source", "type", "specversion"],
        "properties": {
            "specversion": {"enum": ["1.0"]},
            "id": text,
            "source": text,
            "type": {
                "type": "string",
                "description": f"{said} With a secret key only: {money}.",
            },
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"type": "string"},
            "data": {"anyOf": [*payloads, {"type": "object"}]},
            **optional,
        },
    }
