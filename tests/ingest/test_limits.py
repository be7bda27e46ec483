"""What a body may be before anybody reads it, and what one bad item of an array costs the others."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushlight.errors import Rejected
from rushlight.ingest.lenient import split, split_member
from rushlight.ingest.limits import MAX_GZIP_PARTS, TooLarge, inflate

GOOD = [b'{"a":1}', b'"x,]}[{"', b'"\\"],"', b"[[],{}]", b"null", b"1.5e3"]
BAD = [
    *(
        b"NaN",
        b"tru",
        b"",
        b"[" * 2_000 + b"]" * 2_000,
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
        b"{1}",
        b'{"a" 1}',
        b"01",
    ),
    *(b"'x'", b"[1,]", b"{,}", b"+1", b"]["),
]


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=MAX_GZIP_PARTS))
def test_gzip_in_parts(parts: list[bytes]) -> None:
    """Several, one after the other, are one body."""
    assert inflate(b"".join(gzip.compress(part, mtime=0) for part in parts)) == b"".join(parts)


def test_gzip_that_is_too_much() -> None:
    """By size, by ratio, by the number of parts, or by what follows."""
    small = gzip.compress(b"{}")
    assert inflate(small + b"\0" * 100) == b"{}"
    for packed in (gzip.compress(bytes(5 << 20)), gzip.compress(bytes(2 << 20)), gzip.compress(bytes(3 << 20)) + small):
        with pytest.raises(TooLarge):
            inflate(packed)
    noise = json.dumps(list(range(300_000))).encode()
    assert inflate(gzip.compress(noise)) == noise, "what is no bomb may be large"
    for packed in (small * (MAX_GZIP_PARTS + 1), small + b"x", small[:-1], small + small[:-1], small[:4]):
        with pytest.raises(Rejected):
            inflate(packed)


@pytest.mark.parametrize("text", [b"[%b{}]" % (b"{}," * 1_000_000), b'{"batch":[%b1]}' % (b"1," * 1_000_000)])
def test_more_items_than_anybody_sends(text: bytes) -> None:
    """Of a million items no more are made than are needed to know that they are too many."""
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            split(text) if text.startswith(b"[") else split_member(text, "batch")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_more_members_than_anybody_sends() -> None:
    """Nor are hundreds of thousands of members of an object."""
    text = b'{"batch":[{}]%b}' % b"".join(b',"%x":1' % number for number in range(200_000))
    with pytest.raises(TooLarge, match="1024 KiB"):
        split_member(text, "batch")


def test_what_stands_beside_many_events() -> None:
    """It counts once for each of them: what all 2,500 share may be small only, what one has beside it may be large."""
    large = b'{"context":{"a":"%b"},"batch":[%b]}'
    rest, items = split_member(large % (b"x" * 900_000, b"{}"), "batch")
    assert (len(rest), len(items)) == (900_020, 1)
    assert len(split_member(large % (b"x" * 1600, b",".join([b"{}"] * 2500)), "batch")[1]) == 2500
    for item in (b"{}", b"NaN"):
        with pytest.raises(TooLarge):
            split_member(large % (b"x" * 1700, b",".join([item] * 2500)), "batch")


@given(st.lists(st.sampled_from([*GOOD, *BAD]), min_size=1, max_size=6), st.sampled_from([b",", b" ,\n"]))
def test_a_bad_item_costs_only_itself(items: list[bytes], comma: bytes) -> None:
    """The good ones are found between them, in their places, also as the member of an object."""
    if b"][" in items or items == [b""]:  # it ends the array; nothing at all is no item
        return
    text = b"[" + comma.join(items) + b"]"
    rest, member = split_member(b'{"sentAt":"x", "batch" :' + text + b',"more":{"batch":[1]}}', "batch")
    assert json.loads(rest) == {"sentAt": "x", "more": {"batch": [1]}}
    for found in (split(text), member):
        assert len(found) == len(items)
        for sent, read in zip(items, found, strict=True):
            assert isinstance(read, Rejected) == (sent in BAD)
            assert isinstance(read, Rejected) or json.loads(bytes(read)) == json.loads(sent)


@pytest.mark.parametrize("text", [b"[", b"[1", b'["', b'["\\', b"[1]]", b"[1]x", b"[[" * 30_000, b"{}", b"", b"\xff"])
def test_what_is_no_array(text: bytes) -> None:
    """It is refused as a whole."""
    with pytest.raises(Rejected):
        split(text)
