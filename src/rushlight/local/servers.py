"""The command lines of the embedded servers: durable, capped, private to this user, and quiet when idle.

Both listen on one unix socket and on no port. The flags that keep an idle instance below one per cent of a core
are grouped and measured in docs/decisions.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from rushlight.local import binaries
from rushlight.local.layout import LONGEST_SOCKET_NAME, Layout
from rushlight.settings import Settings

VALKEY = "valkey"
MONGOD = "mongod"
REPLICA_SET = "rushlight"
MIN_MONGO_CACHE_GB = 0.25  # mongod refuses less
OPLOG_MB = 256
TRANSACTION_LIFETIME_SECONDS = 5
VALKEY_CLIENTS = 2000
BROKEN_AOF = re.compile(r"Bad file format reading the append only|Unexpected end of file reading the append only")

# Events have random ids and visitors come at random: each write falls on another page. By default a page is written as
# soon as 5 % of the cache (2.5 % for updates) wait for that, which for a small cache means again and again, for every
# few events; a commit is on disk by its journal, and pages can gather changes until the next checkpoint.
_DIRTY = "eviction_dirty_target=50,eviction_dirty_trigger=70,eviction_updates_target=30,eviction_updates_trigger=50"

_MONGOD_QUIET = (
    *("--quiet", "--noscripting", "--enableFreeMonitoring", "off", "--networkMessageCompressors", "disabled"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    *("--setParameter", "writePeriodicNoops=false"),
    *("--setParameter", "enableFlowControl=false"),
    # A commit that waits for the journal flushes it at once; this is only how often idle time is interrupted.
    *("--journalCommitInterval", "500"),
    *("--wiredTigerEngineConfigString", f"eviction=(threads_min=1,threads_max=4),{_DIRTY},log=(prealloc=false)"),
)


def valkey_socket(layout: Layout) -> Path:
    """Where the embedded Valkey listens."""
    return layout.sockets / f"{VALKEY}.sock"


def mongod_socket(layout: Layout) -> Path:
    """Where the embedded mongod listens."""
    return layout.sockets / LONGEST_SOCKET_NAME


def valkey_url(layout: Layout) -> str:
    """The URL that Redis clients take."""
    return f"unix://{quote(str(valkey_socket(layout)))}"


def mongod_url(layout: Layout) -> str:
    """The URL that MongoDB clients take."""
    return url_of_socket(mongod_socket(layout))


def url_of_socket(address: Path) -> str:
    """The URL of a mongod on a unix socket; direct, since the one member is known."""
    return f"mongodb://{quote(str(address), safe='')}/?directConnection=true"


def valkey_command(settings: Settings, layout: Layout) -> list[str]:
    """How the embedded Valkey is started: append-only file synced every second, capped, never evicting."""
    return [
        *(str(binaries.valkey_server()), "--port", "0", "--daemonize", "no"),
        *("--unixsocket", str(valkey_socket(layout)), "--unixsocketperm", "700"),
        *("--dir", str(layout.valkey), "--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
        *("--maxmemory", f"{settings.redis_memory_mb}mb", "--maxmemory-policy", "noeviction"),
        *("--maxclients", str(VALKEY_CLIENTS), "--hz", "1"),
    ]


def mongod_command(settings: Settings, layout: Layout) -> list[str]:
    """How the embedded mongod is started: one node of a replica set, capped cache, no JavaScript."""
    cache = max(MIN_MONGO_CACHE_GB, settings.mongo_cache_mb / 1024)
    return [
        *(str(binaries.mongod()), "--dbpath", str(layout.mongo), "--replSet", REPLICA_SET),
        *("--bind_ip", str(mongod_socket(layout)), "--nounixsocket"),
        *("--wiredTigerCacheSizeGB", f"{cache:.2f}", "--oplogSize", str(OPLOG_MB)),
        *("--setParameter", f"transactionLifetimeLimitSeconds={TRANSACTION_LIFETIME_SECONDS}"),
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
        *_MONGOD_QUIET,
    ]


def set_broken_aof_aside(layout: Layout, log: str) -> str | None:
    """When Valkey refuses its append-only file, move it away: what it carried is sent again by its senders.

    Returns:
        what was done, for the report; None when the file is not what is wrong.
    """
    files = layout.valkey / "appendonlydir"
    if not BROKEN_AOF.search(log) or not files.exists():
        return None
    aside = layout.valkey / f"broken-{sum(1 for _ in layout.valkey.glob('broken-*')) + 1}"
    files.rename(aside)
    return f"its append-only file is damaged and was set aside as {aside}; events in it are sent again by their senders"
