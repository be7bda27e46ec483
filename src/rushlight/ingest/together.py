"""Limits that several processes of one machine keep together, in a file that all of them have mapped.

A bucket is one number there: the moment at which it will be full again, by the clock that all processes share. It is
read and written whole, and only written when something is let in. Two processes that do so within the same microsecond
may count one of the two events only: that is the whole inaccuracy, and no process ever waits for another, be it frozen
or dead.
"""

from __future__ import annotations

import mmap
import os
from hashlib import blake2b

from rushlight.ingest.buckets import MAX_DEBT_SECONDS, Bucket, Quota

CELL_BYTES = 8
HEAD = 2  # cells of the whole and of its reserve
ROWS = 1 << 14
COLUMNS = 4  # the key's name, when it was seen last, its quota, its share
NAME, SEEN, QUOTA, SHARE = range(COLUMNS)
# A key lies in one of so many rows; when all are taken, the one that was seen the longest ago makes room.
REACH = 8
SIZE = (HEAD + ROWS * COLUMNS) * CELL_BYTES


class Together:
    """The mapped file.

    Args:
        descriptor: of the file, which is closed; new and empty, or in use by others.
    """

    def __init__(self, descriptor: int) -> None:
        if os.fstat(descriptor).st_size < SIZE:
            os.ftruncate(descriptor, SIZE)
        self._mapped = mmap.mmap(descriptor, SIZE)
        os.close(descriptor)
        self._cells = memoryview(self._mapped).cast("d")
        self._names = memoryview(self._mapped).cast("q")

    def close(self) -> None:
        """Let go of it."""
        self._cells.release()
        self._names.release()
        self._mapped.close()

    def whole(self, rate: float, now: float) -> Bucket:
        """What all processes together may take."""
        return _Bucket(self._cells, 0, rate, now)

    def reserve(self, rate: float, now: float) -> Bucket:
        """What is kept for money."""
        return _Bucket(self._cells, 1, rate, now)

    def place(self, prefix: str, now: float) -> Place:
        """Where a key's buckets are, as it was left by whoever used it last; a new key's are full."""
        name = int.from_bytes(blake2b(prefix.encode(), digest_size=CELL_BYTES).digest(), signed=True) or 1
        rows = [HEAD + (name + step) % ROWS * COLUMNS for step in range(REACH)]
        found = next((row for row in rows if self._names[row + NAME] == name), None)
        if found is None:
            found = min(rows, key=lambda row: self._cells[row + SEEN])
            self._cells[found + SEEN] = now
            self._cells[found + QUOTA] = self._cells[found + SHARE] = 0.0
            self._names[found + NAME] = name
        return Place(self._cells, self._names, found, name)

    def active(self, since: float) -> int:
        """How many keys have been seen from a moment on."""
        return sum(seen >= since for seen in self._cells[HEAD + SEEN :: COLUMNS].tolist())


class Place:
    """The row of one key."""

    __slots__ = ("_cells", "_name", "_names", "_row")

    def __init__(self, cells: memoryview[float], names: memoryview[int], row: int, name: int) -> None:
        self._cells, self._names, self._row, self._name = cells, names, row, name

    def see(self, now: float) -> bool:
        """Note that the key is in use; False when its row has become another's."""
        if self._names[self._row + NAME] != self._name:
            return False
        self._cells[self._row + SEEN] = now
        return True

    def quota(self, rate: float, now: float) -> Quota:
        """What the key may send."""
        return _Quota(self._cells, self._row + QUOTA, rate, now)

    def share(self, rate: float, now: float) -> Bucket:
        """What the key has for itself of the whole."""
        return _Bucket(self._cells, self._row + SHARE, rate, now)


class _Bucket(Bucket):
    __slots__ = ("_cell", "_cells")

    def __init__(self, cells: memoryview[float], cell: int, rate: float, now: float) -> None:
        self._cells, self._cell = cells, cell
        self.at = now
        self.change_rate(rate)

    @property
    def level(self) -> float:  # type: ignore[override]
        """What there was when it was last looked at, less what others have spent since."""
        return self.size - max(0.0, self._cells[self._cell] - self.at) * self.rate

    def refill(self, now: float) -> float:
        """What there is now."""
        self.at = now
        return self.level

    def take(self, tokens: float) -> None:
        """Spend, if need be what will come only later."""
        full = max(self._cells[self._cell], self.at) + tokens / self.rate
        self._cells[self._cell] = min(full, self.at + self.size / self.rate + MAX_DEBT_SECONDS)

    def change_rate(self, rate: float) -> None:
        """Another rate from now on; what there was stays in proportion."""
        self.rate, self.size = rate, self.size_at(rate)


class _Quota(_Bucket, Quota):
    __slots__ = ()
