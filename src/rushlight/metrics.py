"""Figures for Prometheus: the catalogue of every name, histograms, and the text format 0.0.4."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """One name: its kind (``gauge``, ``counter``, ``histogram``) and what it says."""

    kind: str
    help: str


CATALOGUE: dict[str, Metric] = {
    # Of the process that answers.
    "rushlight_build_info": Metric("gauge", "Always 1; the version and role of this process."),
    "process_start_time_seconds": Metric("gauge", "When this process started, in Unix time."),
    "process_cpu_seconds_total": Metric("counter", "Processor time of this process."),
    "process_resident_memory_bytes": Metric("gauge", "Memory of this process."),
    "process_open_fds": Metric("gauge", "Open file descriptors of this process."),
    "rushlight_http_requests_total": Metric("counter", "Answered requests by part and status."),
    "rushlight_http_request_seconds": Metric("histogram", "Time until the answer began, by part."),
    "rushlight_ingest_turned_away_total": Metric(
        "counter", "Events turned away by quota or overload, by what they were; a request not decoded counts as one."
    ),
    "rushlight_ingest_held_bytes": Metric("gauge", "Of bodies that are on their way and of long requests in work."),
    "rushlight_ingest_waiting_requests": Metric("gauge", "Requests that wait for the disk."),
    "rushlight_viewers": Metric("gauge", "Connections that watch the live board of this process."),
    "rushlight_mongodb_up": Metric("gauge", "1 while MongoDB's primary answers this process."),
    "rushlight_redis_up": Metric("gauge", "1 while Redis answers this process."),
    # Of the order service that answers.
    "rushlight_orders_outbox": Metric("gauge", "Orders with events that are not cleared yet; counted up to 10,000."),
    "rushlight_orders_outbox_oldest_seconds": Metric("gauge", "Age of the oldest of them; 0 when there is none."),
    "rushlight_orders_offers_dropped_total": Metric("counter", "Events that were not offered to the stream."),
    # Of the whole instance; the same whichever process answers.
    "rushlight_complete_to_age_seconds": Metric("gauge", "How far figures are behind, by class (money, behaviour)."),
    "rushlight_partition_lag_events": Metric(
        "gauge", "Stream entries that are not committed yet; exact up to 1,000, then all that the stream holds."
    ),
    "rushlight_partition_lag_seconds": Metric("gauge", "Age of the oldest entry that is not committed."),
    "rushlight_partition_committed_timestamp_seconds": Metric("gauge", "When it committed last, in Unix time."),
    "rushlight_partition_events_total": Metric("counter", "Events in the partition's journal."),
    "rushlight_stream_entries": Metric("gauge", "Length of the partition's stream, what is committed included."),
    "rushlight_outbox_orders": Metric("gauge", "Orders with entries of the partition; counted up to 10,000."),
    "rushlight_lease_epoch": Metric("gauge", "Epoch of the partition's lease; each takeover raises it."),
    "rushlight_lease_held": Metric("gauge", "1 while a live worker holds the partition."),
    "rushlight_lease_owner": Metric("gauge", "Always 1; which worker holds the partition."),
    "rushlight_parked_events": Metric("gauge", "Events set aside, by partition."),
    "rushlight_reaction_pending_events": Metric("gauge", "Events of the journal that each reaction has not come past."),
    "rushlight_reaction_handled_total": Metric("counter", "Calls of each reaction that ended well."),
    "rushlight_reaction_held_aggregates": Metric("gauge", "Aggregates that each reaction holds, by state."),
    "rushlight_reaction_workers": Metric("gauge", "Live workers that run each reaction."),
    "rushlight_projection_behind_events": Metric("gauge", "Events that each generation has still to fold."),
    "rushlight_ledger_events": Metric("gauge", "The ledger by source and column."),
    "rushlight_ledger_balanced": Metric("gauge", "1 while the ledger agrees with itself, as far as one reading shows."),
    "rushlight_ledger_unreachable": Metric("gauge", "Logs and relays that are not closed and not heard of."),
    "rushlight_rejected_events": Metric("gauge", "Events turned away at the door, by reason."),
    "rushlight_wal_bytes": Metric("gauge", "Size of each write-ahead log."),
    "rushlight_wal_cap_bytes": Metric("gauge", "Size that each write-ahead log may reach."),
    "rushlight_wal_pending_events": Metric("gauge", "Acknowledged events of each log without a terminal record."),
    "rushlight_wal_heartbeat_age_seconds": Metric("gauge", "Time since each log last spoke."),
    "rushlight_wal_damaged": Metric("gauge", "Lines of damage that each log has noted."),
    "rushlight_relay_waiting_events": Metric("gauge", "Events of each relay's shop that are not moved yet."),
    "rushlight_relay_heartbeat_age_seconds": Metric("gauge", "Time since each relay last spoke."),
    # Of each worker, as it last reported.
    "rushlight_worker_report_age_seconds": Metric("gauge", "Time since each worker last reported."),
    "rushlight_worker_start_time_seconds": Metric("gauge", "When each worker started, in Unix time."),
    "rushlight_worker_cpu_seconds_total": Metric("counter", "Processor time of each worker."),
    "rushlight_worker_resident_memory_bytes": Metric("gauge", "Memory of each worker."),
    "rushlight_commit_seconds": Metric("histogram", "Time of each commit, its repetitions included, by worker."),
    "rushlight_commit_events_total": Metric("counter", "Terminal records that each worker committed."),
    "rushlight_commit_failures_total": Metric("counter", "Commits that ended otherwise, by worker and reason."),
    # Of each process that only takes events in, as it last reported.
    "rushlight_ingest_report_age_seconds": Metric("gauge", "Time since each ingest process last reported."),
    "rushlight_ingest_start_time_seconds": Metric("gauge", "When each ingest process started, in Unix time."),
    "rushlight_ingest_cpu_seconds_total": Metric("counter", "Processor time of each ingest process."),
    "rushlight_ingest_resident_memory_bytes": Metric("gauge", "Memory of each ingest process."),
    "rushlight_ingest_requests_total": Metric("counter", "Requests with events that each has answered, by status."),
    "rushlight_ingest_passed_on_total": Metric(
        "counter", "Connections that each has passed on to the board's process."
    ),
}

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Durations in seconds by bucket; observing costs a search in thirteen numbers."""

    __slots__ = ("counts", "total")

    def __init__(self, counts: Sequence[int] = (), total: float = 0.0) -> None:
        self.counts = list(counts) if len(counts) == len(SECONDS) + 1 else [0] * (len(SECONDS) + 1)
        self.total = total

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds


class Exposition:
    """Collects samples, then gives them as text; a name that is not in the catalogue is a mistake."""

    def __init__(self) -> None:
        self._samples: dict[str, list[str]] = {}

    def add(self, name: str, value: float, **labels: str) -> None:
        """One sample of a gauge or counter."""
        self._of(name).append(f"{name}{_labels(labels)} {_number(value)}")

    def histogram(self, name: str, values: Histogram, **labels: str) -> None:
        """All samples of one histogram."""
        samples, seen = self._of(name), 0
        for bound, count in zip((*SECONDS, math.inf), values.counts, strict=True):
            seen += count
            samples.append(f"{name}_bucket{_labels({**labels, 'le': _number(bound)})} {seen}")
        samples.append(f"{name}_sum{_labels(labels)} {_number(values.total)}")
        samples.append(f"{name}_count{_labels(labels)} {seen}")

    def text(self) -> str:
        """The exposition, names in the catalogue's order."""
        lines: list[str] = []
        for name, metric in CATALOGUE.items():
            if name in self._samples:
                lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}", *self._samples[name]]
        return "\n".join([*lines, ""])

    def _of(self, name: str) -> list[str]:
        if name not in CATALOGUE:
            raise KeyError(name)
        return self._samples.setdefault(name, [])


def _labels(labels: Mapping[str, Any]) -> str:
    if not labels:
        return ""
    pairs = [f'{name}="{_escaped(str(value))}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
