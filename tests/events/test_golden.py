"""One stored event of every schema version that was ever declared is kept here, and must be readable for ever.

A file ``golden/NAME.SCHEMA.json`` holds an envelope as it came (``stored``) and the payload that it is read as now
(``read``). A file is never changed; a new schema version brings a new one, and new ``read`` parts in the older ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bson
import pytest

from rushlight.errors import Rejected
from rushlight.events import catalogue
from rushlight.events.envelope import Envelope, decode, encode
from rushlight.events.event import Event, event_type, validate
from rushlight.events.upcasting import upcast
from rushlight.store.journal import to_document, to_envelope, to_raw

GOLDEN = Path(__file__).with_name("golden")
FILES = sorted(GOLDEN.glob("*.json"))
CATALOGUE: list[type[Event]] = [
    value
    for value in vars(catalogue).values()
    if isinstance(value, type) and issubclass(value, Event) and hasattr(value, "event_name")
]


def v1_to_v2(payload: dict[str, Any]) -> dict[str, Any]:
    """The weight came in kilograms, as text."""
    grams = round(float(payload.pop("weight").removesuffix(" kg")) * 1000)
    return {**payload, "grams": grams}


def v2_to_v3(payload: dict[str, Any]) -> dict[str, Any]:
    """One carrier became a list of legs."""
    payload["legs"] = [{"carrier": payload.pop("carrier")}]
    return payload


class ParcelWeighed(Event, name="test_parcel_weighed", schema=3, upcasters={1: v1_to_v2, 2: v2_to_v3}):
    """An event whose shape changed twice."""

    parcel_id: str
    grams: int
    legs: list[dict[str, str]]


DECLARED: list[type[Event]] = [*CATALOGUE, ParcelWeighed]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden(file: Path) -> None:
    """It decodes, is read as the present type, encodes as expected, and the bytes that came are kept as they are."""
    golden = json.loads(file.read_text(encoding="utf-8"))
    stored = json.dumps(golden["stored"]).encode()
    event = decode(stored)
    assert file.name == f"{event.name}.{event.schema}.json"
    declared = event_type(event.name)
    assert declared is not None
    present = upcast(event)
    assert present.schema == declared.schema
    assert declared.open(event).payload() == validate(declared, present.payload).payload() == golden["read"]
    # Neither reading nor the journal changes what came.
    assert json.loads(encode(event)) == golden["stored"]
    assert to_envelope(to_document(event, 0, 1)) == event
    assert bson.decode(to_raw(event, 0, 1).raw)["payload"] == golden["stored"]["payload"]


@pytest.mark.parametrize("declared", DECLARED, ids=[each.event_name for each in DECLARED])
def test_every_schema_version_has_one(declared: type[Event]) -> None:
    """From the first to the present one, and none beyond."""
    expected = {f"{declared.event_name}.{schema}" for schema in range(1, declared.schema + 1)}
    assert {file.stem for file in FILES if file.stem.rsplit(".", 1)[0] == declared.event_name} == expected


def test_every_file_is_of_a_declared_event() -> None:
    """A fixture of an event that was renamed or dropped would test nothing."""
    names = {declared.event_name for declared in DECLARED}
    assert {file.stem.rsplit(".", 1)[0] for file in FILES} == names


def weighed(payload: dict[str, Any], schema: int) -> Envelope:
    """An envelope as an older producer would have sent it."""
    event = ParcelWeighed(parcel_id="p", grams=1, legs=[]).seal(
        id="0" * 32, shop="default", source="orders", origin="o:p:1"
    )
    event.payload, event.schema = payload, schema
    return event


def test_upcasters_do_not_touch_what_came() -> None:
    """They change a copy, so that the journal keeps the old payload."""
    payload = {"parcelId": "p", "weight": "1.5 kg", "carrier": "post"}
    event = weighed(payload, 1)
    assert upcast(event).payload == {"parcelId": "p", "grams": 1500, "legs": [{"carrier": "post"}]}
    assert event.payload == payload == {"parcelId": "p", "weight": "1.5 kg", "carrier": "post"}
    present = weighed({"parcelId": "p", "grams": 1, "legs": []}, 3)
    assert upcast(present) is present


@pytest.mark.parametrize(
    ("payload", "schema", "reason"),
    [
        ({"parcelId": "p"}, 4, "schema 4 of test_parcel_weighed is newer than this code"),
        ({"parcelId": "p"}, 1, "schema 1 of test_parcel_weighed has no way up: KeyError: 'weight'"),
        ({"parcelId": "p"}, 0, "schema 0 of test_parcel_weighed has no way up"),
    ],
)
def test_what_has_no_way_up(payload: dict[str, Any], schema: int, reason: str) -> None:
    """Newer than the code, not of its shape, or of a version that never was: it is refused, and so parked."""
    with pytest.raises(Rejected, match=reason):
        upcast(weighed(payload, schema))
    with pytest.raises(Rejected, match=reason):
        ParcelWeighed.open(weighed(payload, schema))


@pytest.mark.parametrize(("schema", "upcasters"), [(2, {}), (3, {1: dict}), (1, {1: dict}), (2, {1: dict, 2: dict})])
def test_a_version_without_its_upcaster_is_refused(schema: int, upcasters: dict[int, Any]) -> None:
    """Whoever raises the schema is told at once what else it takes."""
    with pytest.raises(TypeError, match=f"schema {schema} needs upcasters from"):

        class Wrong(Event, name="test_wrong_schema", schema=schema, upcasters=upcasters):
            thing: str

    assert event_type("test_wrong_schema") is None
