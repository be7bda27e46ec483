"""Keeps how far an import has come, so that an interrupted one goes on; two runs of one import exclude each other.

A directory a running or interrupted import, under ``DATA/imports``: the lock, the sorted lines, the progress and the
list of rejected rows. What it says was accepted is on disk in a write-ahead log already, never the other way round.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from rushlight.errors import Conflict, SetupError
from rushlight.ingest.history.orders import Fault, Made, Totals
from rushlight.ingest.history.stage import Stage

WORK_VERSION = 1  # of the files in the directory; another version starts afresh
SAMPLE_BYTES = 1 << 20
KEY_BYTES = 12
KEPT_FAULTS = 20


class Tally(msgspec.Struct, kw_only=True):
    """What of a file has been accepted so far, over all runs.

    Attributes:
        next: number of the first order that is not accepted yet.
        events, orders, refunds: accepted events, sales and refunds.
        rejected: rows with a fault.
        held_orders, held_rows: orders held back because of such rows, and their rows that were good.
        homeless: whether the rows without an order have been counted.
        currencies: the amounts by currency.
        faults: the first faults. report_bytes: length of the list of all of them.
    """

    next: int = 0
    events: int = 0
    orders: int = 0
    refunds: int = 0
    rejected: int = 0
    held_orders: int = 0
    held_rows: int = 0
    homeless: bool = False
    currencies: dict[str, Totals] = {}
    faults: list[Fault] = []
    report_bytes: int = 0

    def add(self, number: int, size: int, made: Made) -> None:
        """Count an order of `size` rows."""
        self.next = number + 1
        self.events += len(made.envelopes)
        self.orders += made.totals.orders
        self.refunds += len(made.envelopes) - made.totals.orders
        if made.faults:
            self.held_orders += 1
            self.held_rows += size - len({fault.row for fault in made.faults})
            self.fail(made.faults)
        elif made.envelopes:
            self.currencies.setdefault(made.currency, Totals()).add(made.totals)

    def fail(self, faults: Sequence[Fault]) -> None:
        """Count rows with a fault."""
        self.rejected += len({fault.row for fault in faults})
        self.faults.extend(faults[: KEPT_FAULTS - len(self.faults)])


class Work:
    """One import's directory, locked while it is open.

    Raises:
        Conflict: another process works on the same import.
        SetupError: the directory cannot be made.
    """

    def __init__(self, root: Path, source: Path, terms: Mapping[str, object]) -> None:
        key = _key(source, terms)
        self.directory = root / key
        self._root = root
        self._source = str(source.resolve())
        try:
            self._lock = self._locked()
        except OSError as error:
            raise SetupError(f"{self.directory}: {error.strerror}") from error
        self._lock.truncate(0)
        self._lock.write(self._source)
        self._lock.flush()
        self.tally = self._load()
        self._report = (self.directory / "rejected.ndjson").open("ab")
        self._report.truncate(self.tally.report_bytes)
        self._prune()

    def report(self, faults: Sequence[Fault]) -> None:
        """Add faults to the list on disk."""
        for fault in faults:
            self.tally.report_bytes += self._report.write(msgspec.json.encode(fault) + b"\n")

    def save(self, tally: bytes) -> None:
        """Keep an encoded tally, all of whose events have been accepted."""
        self._report.flush()
        unfinished = self.directory / "progress.unfinished"
        unfinished.write_bytes(tally)
        unfinished.replace(self.directory / "progress.json")

    def finish(self) -> Path | None:
        """Forget the import. Returns the list of rejected rows, if there are any."""
        kept = None
        self._report.flush()
        if self.tally.rejected:
            stem = re.sub(r"[^\w.-]", "_", Path(self._source).name)
            kept = self._root / f"rejected-{stem}-{self.directory.name[:8]}.ndjson"
            (self.directory / "rejected.ndjson").replace(kept)
        shutil.rmtree(self.directory, ignore_errors=True)
        return kept

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._report.close()
        if not Stage.exists(self.directory):  # nothing to go on from
            shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()

    def _locked(self) -> IO[str]:
        while True:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.directory / "lock"
            file = path.open("a+", encoding="utf-8")
            if not _lock(file):
                file.close()
                raise Conflict(f"{Path(self._source).name} is being imported by another process", code="importing")
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
            file.close()  # its last owner has just finished and removed it

    def _load(self) -> Tally:
        try:
            return msgspec.json.decode((self.directory / "progress.json").read_bytes(), type=Tally)
        except (FileNotFoundError, msgspec.MsgspecError):
            return Tally()

    def _prune(self) -> None:
        """Drop what earlier imports of this file left that were begun in another way or from another content."""
        for other in self._root.glob("*/lock"):
            with other.open("r+", encoding="utf-8") as lock:
                if other.parent != self.directory and lock.read() == self._source and _lock(lock):
                    shutil.rmtree(other.parent, ignore_errors=True)


def _key(source: Path, terms: Mapping[str, object]) -> str:
    status = source.stat()
    with source.open("rb") as file:
        start = file.read(SAMPLE_BYTES)
        file.seek(max(0, status.st_size - SAMPLE_BYTES))
        sample = blake2b(start + file.read(SAMPLE_BYTES)).hexdigest()
    told = (WORK_VERSION, status.st_size, status.st_mtime_ns, sample, sorted(terms.items()))
    return blake2b(msgspec.json.encode(told), digest_size=KEY_BYTES).hexdigest()


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
