"""Turns the last words of a server that would not start into one sentence that says what to do."""

from __future__ import annotations

import re
import signal

from rushlight.local.layout import Layout

_PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
}
_MISSING_LIBRARY = re.compile(r"error while loading shared libraries: (\S+?):")
_TOO_OLD = re.compile(r"version `(GLIBC\S*|OPENSSL\S*)' not found")
_FULL = re.compile(r"No space left on device|ENOSPC|DiskFull|MISCONF")
_LOCKED = re.compile(r"DBPathInUse|Unable to lock the lock file")
_OTHER_VERSION = re.compile(r"featureCompatibilityVersion|UPGRADE PROBLEM|unsupported WiredTiger file version")
_FORBIDDEN = re.compile(r"Permission denied|Operation not permitted")
_UNREADABLE = re.compile(r"WT_TRY_SALVAGE|WiredTiger metadata corruption|read checksum error")


def sentence(name: str, code: int, log: str, layout: Layout) -> str:
    """Why the server ended and what to do about it.

    Args:
        name: the server's name.
        code: its exit code; negative for the signal that ended it.
        log: the end of its log.
    """
    where = layout.log_of(name)
    if found := _MISSING_LIBRARY.search(log):
        package = _PACKAGES.get(found[1])
        how = f"install it as root with `apt-get install {package}`" if package else "install it"
        return f"{name} cannot start: the system library {found[1]} is missing: {how}"
    if found := _TOO_OLD.search(log):
        return (
            f"{name} cannot start: this system is too old for it ({found[1]} is missing): use Debian 12, Ubuntu 22.04 "
            "or newer, or give the URL of a server that runs elsewhere"
        )
    if code == -signal.SIGILL:
        return f"{name} cannot start: this processor lacks instructions that it needs (AVX): give the URL of a server"
    if _FULL.search(log):
        return f"{name} cannot write: the disk of {layout.data} is full: free some space, the data is kept"
    if _LOCKED.search(log):
        return f"{name} cannot start: another program has its data in {layout.data} open: stop that program"
    if _OTHER_VERSION.search(log):
        return f"{name} cannot start: {layout.data} was written by another version of it: go back to that version"
    if _FORBIDDEN.search(log):
        return f"{name} cannot start: parts of {layout.data} belong to another user: change their owner"
    if _UNREADABLE.search(log):
        return f"{name} cannot start: its data in {layout.data} is damaged: restore a copy, or start with another --data"
    return f"{name} ended with {describe(code)}{_last_line(log)} (log: {where})"


def describe(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f": {lines[-1][:300]}" if lines else ""
