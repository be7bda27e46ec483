"""Where everything of one instance lies under its data directory, and where its sockets may lie.

DATA/lock            held (flock) for as long as an instance runs
DATA/instance.json   what runs here; there only while it runs
DATA/valkey, mongo   the embedded servers' data
DATA/run             sockets, process records, holds; worthless after a stop
DATA/log             one capped log per child
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import stat
import tempfile
from functools import cached_property
from pathlib import Path

from rushlight.errors import SetupError

SOCKET_PATH_BYTES = 107 if os.uname().sysname == "Linux" else 103  # sun_path less its terminating NUL
LONGEST_SOCKET_NAME = "mongodb-27017.sock"
MIN_FREE_BYTES = 200 * 1024 * 1024  # a fresh MongoDB journal takes 100 MB


class Layout:
    """The paths of one data directory; ``prepare`` makes them."""

    def __init__(self, data: Path) -> None:
        self.data = Path(os.path.abspath(data))  # noqa: PTH100 - a symlinked directory keeps the name that its owner gave
        self.lock = self.data / "lock"
        self.instance = self.data / "instance.json"
        self.valkey = self.data / "valkey"
        self.mongo = self.data / "mongo"
        self.run = self.data / "run"
        self.log = self.data / "log"
        self.children = self.run / "children.json"

    def prepare(self) -> None:
        """Make the directories, readable by their owner only.

        Raises:
            SetupError: when they cannot be made or written, or the disk is all but full.
        """
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            for directory in (self.valkey, self.mongo, self.run, self.log):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SetupError(unusable(self.data, error)) from error
        if not os.access(self.data, os.W_OK | os.X_OK):
            raise SetupError(f"{self.data} is not writable by this user: change its owner or give another --data")

    def forget_run(self) -> None:
        """Drop what a former run left that would mislead this one."""
        for stale in (self.instance, *self.run.glob("hold-*")):
            stale.unlink(missing_ok=True)

    def require_room(self) -> None:
        """Refuse to start embedded servers on a disk that is all but full.

        Raises:
            SetupError: it says how much is free and how much is needed.
        """
        free = shutil.disk_usage(self.data).free
        if not any(self.mongo.iterdir()) and free < MIN_FREE_BYTES:
            raise SetupError(
                f"the disk of {self.data} has {free >> 20} MB free and a new instance needs {MIN_FREE_BYTES >> 20} MB: "
                "free some space or give another --data"
            )

    def hold(self, child: str) -> Path:
        """The mark that keeps a stopped child from being started again."""
        return self.run / f"hold-{child}"

    def log_of(self, child: str) -> Path:
        """The child's log file."""
        return self.log / f"{child}.log"

    def health_socket(self, child: str) -> Path:
        """Where a child that has no port of its own tells how it is."""
        return self.sockets / f"{child}.sock"

    @cached_property
    def sockets(self) -> Path:
        """A directory that only this user can enter and whose socket paths are short enough for the system.

        DATA/run wherever that works; else (a long path, a file system without sockets) a private directory under
        the system's temporary one, named after the data directory so that every start finds the same.

        Raises:
            SetupError: when somebody else owns the private directory.
        """
        longest = self.run / LONGEST_SOCKET_NAME
        if len(os.fsencode(longest)) <= SOCKET_PATH_BYTES and _can_hold_sockets(self.run):
            return self.run
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        private = Path(tempfile.gettempdir()) / f"rushlight-{os.getuid()}-{digest}"
        try:
            private.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SetupError(unusable(private, error)) from error
        found = private.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise SetupError(f"{private} belongs to somebody else or is open to others: remove it or set TMPDIR")
        return private

    def drop_sockets(self) -> None:
        """Leave no private directory behind."""
        if self.sockets != self.run:
            shutil.rmtree(self.sockets, ignore_errors=True)


def _can_hold_sockets(directory: Path) -> bool:
    probe = directory / "probe.sock"
    probe.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as candidate:
        try:
            candidate.bind(str(probe))
        except OSError:
            return False
    probe.unlink(missing_ok=True)
    return True


def unusable(path: Path, error: OSError) -> str:
    """Why a path cannot be used and what to do about it."""
    if error.errno == errno.ENOSPC:
        return f"the disk of {path} is full: free some space or give another --data"
    return f"{path} cannot be used ({error.strerror}): change its owner or give another --data"
