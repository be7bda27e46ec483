"""What is known of people, merged from partitions: the last trait counts, links unite, aliases name one person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rushlight.events.envelope import Envelope
from rushlight.store.database import Database
from rushlight.store.subjects import (
    MAX_TRAITS,
    MAX_TRAITS_BYTES,
    Subjects,
    Trait,
    merged,
    subject_id,
    tombstone_id,
    traits_of,
)
from rushlight.store.unlinking import unlinked

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def trait(name: str, value: str, minute: int = 0, event: str = "1") -> Trait:
    """A trait as an event told it so many minutes after noon."""
    return Trait(name, value, NOON + timedelta(minutes=minute), event)


def test_the_last_one_counts_whatever_comes_first() -> None:
    """By the time of the event, then by its id; the order of arrival says nothing."""
    told = [trait("mail", "1", 5), trait("mail", "2", 9), trait("mail", "3", 9, "2"), trait("name", "4", 1)]
    assert merged(told) == merged(reversed(told)) == [told[2], told[3]]


def test_a_person_has_room_for_the_newest_traits_only() -> None:
    """Neither many nor large traits make a document that cannot be stored."""
    many = merged(trait(f"t{n}", "1", n) for n in range(MAX_TRAITS + 50))
    assert len(many) == MAX_TRAITS
    assert trait("t49", "1", 49) not in many
    large = merged(trait(f"t{n}", "x" * (MAX_TRAITS_BYTES // 3), n) for n in range(5))
    assert [each.name for each in large] == ["t3", "t4"]


def test_values_of_every_kind_can_be_kept() -> None:
    """What BSON has no form for, or no room in a name, is kept as it was told."""
    (kept,) = traits_of({"a.$b\0": {"n": 2**80, "": [None]}}, NOON, "1")
    assert kept == ("a.$b\0", '{"n":1208925819614629174706176,"":[null]}', NOON, "1")


def test_names_of_documents_do_not_run_into_each_other() -> None:
    """An id with a slash is one part, and a hash tells one kind of id from another."""
    assert subject_id(3, "shop", "l", "a/b", "c%2F") == "03/shop/l/a%2Fb/c%252F"
    assert len({tombstone_id("s", "c", "a"), tombstone_id("s", "v", "a"), tombstone_id("t", "c", "a")}) == 3


def test_what_is_taken_from_an_event_and_what_stays() -> None:
    """An order loses its visitor, a visitor's event the customer; what figures are made of stays as it was."""

    def cut(name: str, aggregate: str, payload: dict[str, Any]) -> tuple[str | None, str | None, dict[str, Any]]:
        common: dict[str, Any] = {
            "id": "1",
            "shop": "s",
            "source": "web",
            "origin": "w:1",
            "occurred_at": NOON,
            "received_at": NOON,
        }
        event = Envelope(name=name, aggregate_id=aggregate, payload=payload, trace="t", correlation_id="c", **common)
        event.visitor_id, event.customer_id = payload["visitorId"], "ada"
        unlinked(event)
        assert event.trace is event.correlation_id is None
        return event.visitor_id, event.customer_id, event.payload

    order = {"orderId": "o-1", "visitorId": "v-1", "customerId": "ada"}
    assert cut("order_created", "o-1", dict(order)) == (None, "ada", {"orderId": "o-1", "customerId": "ada"})
    # The event counts as one of the visitor's, because the visitor is called like the order.
    alike = {"orderId": "v-1", "visitorId": "v-1"}
    assert cut("order_created", "v-1", dict(alike)) == ("v-1", "ada", alike)
    purchase = {"visitorId": "v-1", "transactionId": "o-1", "items": []}
    assert cut("purchase", "v-1", purchase) == ("v-1", None, {"visitorId": "v-1", "items": []})
    mine = {"visitorId": "v-1", "transactionId": "mine", "customerId": "ada", "userId": "ada"}
    nobody = {"visitorId": "v-1", "transactionId": "mine", "customerId": "erased", "userId": "erased"}
    assert cut("wrapped", "v-1", mine) == ("v-1", None, nobody)


@pytest.mark.usefixtures("database")
async def test_a_person_from_several_partitions(database: Database) -> None:
    """Traits, links and aliases of all partitions and all names of a person, and nobody else's."""
    day = timedelta(days=1)

    def subject(p: int, kind: str, name: str, *traits: Trait, first: datetime = NOON) -> dict[str, object]:
        return {"_id": subject_id(p, "s", kind, name), "p": p, "traits": [list(t) for t in traits], "first": first}

    def pair(p: int, kind: str, one: str, other: str, first: datetime, last: datetime) -> dict[str, object]:
        names = ("customer", "visitor") if kind == "l" else ("id", "other")
        return {
            "_id": subject_id(p, "s", kind, one, other),
            names[0]: one,
            names[1]: other,
            "first": first,
            "last": last,
        }

    await database.subjects.insert_many(
        [
            subject(0, "c", "ada", trait("mail", '"new"', 9)),
            subject(5, "c", "ada", trait("mail", '"old"', 1), trait("name", '"Ada"', 1)),
            subject(1, "v", "v-1", trait("phone", '"1"', 1), first=NOON - day),
            subject(1, "c", "ada/2", trait("mail", '"other"', 30)),
            subject(2, "c", "former", trait("town", '"Ulm"', 0)),
            pair(0, "l", "ada", "v-1", NOON, NOON + day),
            pair(7, "l", "ada", "v-1", NOON - day, NOON),
            pair(7, "l", "former", "v-2", NOON, NOON),
            pair(7, "l", "ada/2", "v-3", NOON, NOON),
            pair(3, "a", "ada", "former", NOON, NOON),
            pair(3, "a", "former", "ada", NOON, NOON),
        ]
    )
    for name, names in (("ada", ["ada", "former"]), ("former", ["former", "ada"])):
        person = await Subjects(database, 8).person("s", name)
        assert person.customers == names
        assert person.visitors == ["v-1", "v-2"]
        assert {t.name: t.value for t in person.traits.values()} == {
            "mail": '"new"',
            "name": '"Ada"',
            "phone": '"1"',
            "town": '"Ulm"',
        }
        assert person.links["v-1"][2:] == (NOON - day, NOON + day)
        assert person.first_seen == NOON - day
    nobody = await Subjects(database, 8).person("t", "ada")
    assert nobody == (["ada"], [], {}, {}, None)
