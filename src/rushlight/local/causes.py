"""Turns the last words of a child that would not run into one sentence that says what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal

from rushlight.local.layout import Layout

_ERROR = re.compile(r"rushlight\.errors\.\w+: |rushlight \w+: |[\w.]*(?:Error|Exception): ")
FULL_BYTES = 256 * 1024
ELSEWHERE = "or give the URL of a server that runs elsewhere"
_PACKAGES = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3", "libcrypto.so.3": "libssl3"}
_MISSING_LIBRARY = re.compile(r"error while loading shared libraries: (?:\S*/)?(\S+?):")
_KNOWN = [
    (
        re.compile(r"version `(?:GLIBC|OPENSSL)\S*' not found|signal SIGILL"),
        f"{{name}} cannot start: this machine is too old for it: Debian 12, Ubuntu 22.04 or newer and AVX, {ELSEWHERE}",
    ),
    (
        re.compile(re.escape(os.strerror(errno.ENOSPC))),
        "{name} cannot write: the disk of {data} is full: free some space; what is stored is kept",
    ),
    (
        re.compile(r"DBPathInUse|Unable to lock the lock file"),
        "{name} cannot start: another program has its data in {data} open: stop that program",
    ),
    (
        re.compile(r"featureCompatibilityVersion|UPGRADE PROBLEM|unsupported WiredTiger file version"),
        "{name} cannot start: {data} was written by another version of it: go back to that version",
    ),
    (
        re.compile(r"[Pp]ermission denied"),
        "{name} cannot start: parts of {data} belong to another user: change their owner",
    ),
    (
        re.compile(r"WT_TRY_SALVAGE|WiredTiger metadata corruption|read checksum error"),
        "{name} cannot start: its data in {data} is damaged: restore a copy or give another --data",
    ),
]


def sentence(name: str, code: int, words: str, layout: Layout) -> str:
    """Why a child ended and what to do about it.

    Args:
        name: the child's name.
        code: its exit code; negative for the signal that ended it.
        words: what it wrote last.
    """
    if found := _MISSING_LIBRARY.search(words):
        package = _PACKAGES.get(found[1])
        how = f"install it as root with `apt-get install {package}`" if package else "install it"
        return f"{name} cannot start: the system library {found[1]} is missing: {how}, {ELSEWHERE}"
    ending = _ending(code)
    evidence = f"{words}\n{ending}\n{_fullness(layout)}"
    for pattern, text in _KNOWN:
        if pattern.search(evidence):
            return text.format(name=name, data=layout.data)
    return f"{name} ended with {ending}{_last_line(words)} (log: {layout.log_of(name)})"


def _fullness(layout: Layout) -> str:
    """On a full disk last words cannot be written either, so the disk itself is asked."""
    full = shutil.disk_usage(layout.data).free < FULL_BYTES
    return os.strerror(errno.ENOSPC) if full else ""


def _ending(code: int) -> str:
    try:
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _last_line(words: str) -> str:
    """The last line, or rather the last that names an error: servers like to add that they are leaving now."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    told = [line for line in lines if _ERROR.match(line)] or lines
    return f", saying {told[-1][:300]!r}" if told else ""
