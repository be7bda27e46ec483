"""Ids are stable for ever, differ for whatever differs, and spread over the partitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rushlight.events.ids import event_id, money_id, partition_of

TEXT = st.text(max_size=8) | st.text(alphabet="0123456789:/-", max_size=8)


def test_ids_are_those_of_yesterday() -> None:
    """Golden values: any other would make every repeat after an upgrade count twice, or move to another partition."""
    assert event_id("default", "public", "web", "m-1") == "7901ec38ffb7b367df577491686c9864"
    assert event_id("default", "trusted", "web", "m-1") == "9c6b1806cca139fcdf1f247e3a0e9b55"
    assert event_id("default", "public", "web", "m-1", 1) == "f7bcb562d0c147acb34f250161011ef4"
    assert money_id("default", "orders", "o-1", "order_created") == "1d7735c7a6df3b0765b9dd5bf4f429af"
    assert money_id("default", "orders", "o-1", "order_refunded", "r-1") == "a47161b1fb12d260722dff3f30290515"
    assert money_id("läden", "orders", "ö-1", "order_created") == "35afa83e22ddba5a8993780b09350282"
    assert [partition_of("default", key, 8) for key in ("o-1", "v-1", "ö", "")] == [6, 3, 1, 1]


@given(st.lists(TEXT, min_size=4, max_size=4), st.lists(TEXT, min_size=4, max_size=4))
def test_parts_never_run_together(first: list[str], second: list[str]) -> None:
    """Different parts give different ids, wherever one ends and the next begins."""
    ids = (money_id("s", *first), money_id("s", *second))
    assert (ids[0] == ids[1]) == (first == second)


@given(TEXT, TEXT, TEXT, st.integers(0, 20), TEXT, TEXT, TEXT, st.integers(0, 20))
def test_messages_never_run_together(
    shop: str, source: str, message: str, index: int, shop2: str, source2: str, message2: str, index2: int
) -> None:
    """A message id that ends with a number is not the next event of the message without it."""
    ids = (event_id(shop, "public", source, message, index), event_id(shop2, "public", source2, message2, index2))
    assert (ids[0] == ids[1]) == ((shop, source, message, index) == (shop2, source2, message2, index2))


@given(TEXT, TEXT, TEXT)
def test_public_senders_cannot_make_trusted_ids(shop: str, source: str, message: str) -> None:
    """Neither another key class's ids nor those of money can be guessed from outside."""
    ids = {
        event_id(shop, "public", source, message),
        event_id(shop, "trusted", source, message),
        money_id(shop, source, message, "0"),
        money_id(shop, "public", source, message, "0"),
    }
    assert len(ids) == 4
    assert all(len(text) == 32 and int(text, 16) >= 0 for text in ids)


def test_partitions_are_evenly_filled() -> None:
    """Ten thousand keys fall into every partition within ten per cent of the mean, shops independently."""
    for shop in ("default", "other"):
        counts = [0] * 8
        for number in range(10_000):
            counts[partition_of(shop, f"o-{number}", 8)] += 1
        assert all(1125 < count < 1375 for count in counts)
    assert [partition_of("a", f"{n}", 8) for n in range(50)] != [partition_of("b", f"{n}", 8) for n in range(50)]
