"""What was written whole is read back; what was not is noticed, and told from damage."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rushlight.events.envelope import encode
from rushlight.ingest.log.frames import Header, pack_frame, pack_header
from rushlight.ingest.log.recovery import UNREADABLE_SOURCE, Found, recover
from tests.ingest.making import view

HEADER = Header(log="l", database="d", first=1, acknowledged={})
# Sizes of group commits; record names of any length, so that lengths and checksums take any value.
GROUPS = st.lists(st.lists(st.text(max_size=30), min_size=1, max_size=3), min_size=1, max_size=3)
# Thousands of tiny files: in memory where there is a place for that.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Written:
    """A segment as a log writes it, and where its frames end."""

    def __init__(self, groups: list[list[str]], header: Header = HEADER) -> None:
        self.bytes = pack_header(header)
        self.start = len(self.bytes)
        self.ids: list[str] = []
        self.frames: list[tuple[int, int, int]] = []  # offset, end, records up to its end
        for names in groups:
            events = [view(name=name) for name in names]
            frame, _ = pack_frame(header.first + len(self.ids), [encode(event) for event in events])
            self.ids += [event.id for event in events]
            self.frames.append((len(self.bytes), len(self.bytes) + len(frame), len(self.ids)))
            self.bytes += frame

    def recovered(self, data: bytes, *following: Written) -> tuple[Found, list[str]]:
        """What is found when the file holds ``data``, before segments that follow it."""
        with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
            for serial, content in enumerate((data, *(other.bytes for other in following)), start=1):
                (Path(directory) / f"{serial:010d}.wal").write_bytes(content)
            found = recover(Path(directory), 8)
        return found, readable(found)


def readable(found: Found) -> list[str]:
    """Ids of the records that can be sent, in order."""
    numbers = [(s, n) for s in found.segments for n in range(s.first, s.end) if s.is_open(n)]
    return [segment.id(number) for segment, number in numbers]


@settings(max_examples=10, deadline=None)
@given(GROUPS)
def test_a_torn_tail_costs_nothing_that_was_acknowledged(groups: list[list[str]]) -> None:
    """Cut at every byte: each frame that was whole is there, nothing is invented, and no damage is reported."""
    written = Written(groups)
    for cut in range(written.start, len(written.bytes) + 1):
        found, ids = written.recovered(written.bytes[:cut])
        whole = max((count for _, end, count in written.frames if end <= cut), default=0)
        assert ids == written.ids[: len(ids)]
        assert len(ids) >= whole
        assert found.next_number == len(ids) + 1
        assert not found.damage


@settings(max_examples=25, deadline=None)
@given(GROUPS, st.data())
def test_a_tail_of_garbage_is_dropped(groups: list[list[str]], data: st.DataObject) -> None:
    """Whatever a failing disk left behind the last frame, the frames are read and the rest is not taken for one."""
    written = Written(groups)
    garbage = data.draw(st.one_of(st.binary(max_size=200), st.just(bytes(100)), st.just(written.bytes[:50])))
    found, ids = written.recovered(written.bytes + garbage)
    assert ids == written.ids
    assert not found.damage


@settings(max_examples=60, deadline=None)
@given(GROUPS, st.data())
def test_damage_before_the_last_frame_is_reported(groups: list[list[str]], data: st.DataObject) -> None:
    """A changed byte in a frame that others follow: what it hit is pending for good, and everything else is read."""
    written = Written([*groups, ["last"]])
    offset = data.draw(st.integers(written.start, written.frames[-2][1] - 1))
    change = data.draw(st.integers(1, 255))
    damaged = bytearray(written.bytes)
    damaged[offset] ^= change
    found, ids = written.recovered(bytes(damaged))
    hit = next(index for index, (start, end, _) in enumerate(written.frames) if start <= offset < end)
    before = written.frames[hit - 1][2] if hit else 0
    untouched = written.ids[:before] + written.ids[written.frames[hit][2] :]
    assert found.damage
    assert [event for event in ids if event in set(untouched)] == untouched
    assert set(ids) < set(written.ids)
    assert found.next_number == len(written.ids) + 1
    sources = [found.sources.names[number] for segment in found.segments for number in segment.sources]
    assert sources.count(UNREADABLE_SOURCE) == len(written.ids) - len(ids)


def test_a_segment_that_another_follows_has_no_torn_tail() -> None:
    """The next segment's header says how much was acknowledged before it, so that a shorter file is damage."""
    first = Written([["a", "b"], ["c"]])
    second = Written([["d"]], Header(log="l", database="d", first=4, acknowledged={"web": 3}))
    found, ids = first.recovered(first.bytes[:-1], second)
    assert ids == [*first.ids[:2], *second.ids]
    assert len(found.damage) == 1


def test_a_refused_write_does_not_come_back() -> None:
    """Records whose write failed, and whose numbers were given again in the next segment, are not taken for theirs."""
    first = Written([["a"], ["refused"]])
    second = Written([["b"]], Header(log="l", database="d", first=2, acknowledged={"web": 1}))
    found, ids = first.recovered(first.bytes, second)
    assert ids == [first.ids[0], *second.ids]
    assert not found.damage


def test_a_lost_segment_is_reported() -> None:
    """A file that is gone from the middle is a gap in the numbers."""
    first = Written([["a"]])
    third = Written([["c"]], Header(log="l", database="d", first=5, acknowledged={"web": 4}))
    found, ids = first.recovered(first.bytes, third)
    assert ids == [*first.ids, *third.ids]
    assert len(found.damage) == 1
    assert sum(segment.unsettled for segment in found.segments) == 5


def test_a_segment_that_was_never_begun_is_nothing() -> None:
    """The end came between making a file and writing its header: no record can have been in it."""
    first = Written([["a"]])
    empty = Written([], Header(log="l", database="d", first=2, acknowledged={"web": 1}))
    for cut in range(len(empty.bytes)):
        empty_part = Written([])
        empty_part.bytes = empty.bytes[:cut]
        found, ids = first.recovered(first.bytes, empty_part)
        assert ids == first.ids
        assert not found.damage
