"""How every role logs: one JSON object a line for programs, plain lines for people, secrets in neither.

A JSON line has ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, ``role``, ``pid``, what `bind` noted for
the task (``partition`` …) and, of an exception, ``error`` with its traceback.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any, TextIO

import msgspec

HIDDEN = "***"

# Longer than any key is; what is cut off a long line must not leave half a secret behind.
_PATTERNS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    # A URL's user and password, up to the last @ before it ends: passwords hold anything.
    (re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s\"'<>]*@"), rf"\1{HIDDEN}@"),
    # Header lines, and the tuples and mappings that frameworks print.
    (
        re.compile(
            r"((?:proxy-)?authorization|x-write-key|cookie|x-api-key)"
            r"(\\?[\"']?\s*[:=,]\s*(?:b?\\?[\"'])?)(?:(?:bearer|basic)\s+)?[^\s\"',)}\\]+",
            re.IGNORECASE,
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\b(pk|sk|rk|whsec)_[A-Za-z0-9_-]{4,}"), rf"\1_{HIDDEN}"),
    (
        re.compile(
            r"\b(password|passwd|pwd|secret|client_secret|api_?key|write_?key|access_?token|token)"
            r"(\\?[\"']?\s*[:=]\s*(?:b?\\?[\"'])?)[^\s\"'&,;)}\\]+",
            re.IGNORECASE,
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"[A-Za-z0-9._%+-]+(?:@|%40)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"), f"{HIDDEN}@{HIDDEN}"),
]

_fields: ContextVar[MappingProxyType[str, Any]] = ContextVar("log_fields", default=MappingProxyType({}))


def bind(**fields: Any) -> None:
    """Note fields for every line that this task, and those that it starts from here on, will log."""
    _fields.set(MappingProxyType({**_fields.get(), **fields}))


def redacted(text: str) -> str:
    """The text without keys, passwords in URLs, credentials and e-mail addresses."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def setup(role: str, form: str = "auto", stream: TextIO | None = None) -> None:
    """Make this process log to one place in one form, whatever its libraries would like.

    Args:
        form: ``json``, ``text``, or ``auto``: text on a terminal and JSON elsewhere.
        stream: standard error by default.
    """
    out = stream or sys.stderr
    as_json = form == "json" or (form == "auto" and not out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter(role) if as_json else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        # What a server's own handlers would write goes through this one instead.
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


class TextFormatter(logging.Formatter):
    """A line for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line, a traceback behind it, secrets hidden."""
        return redacted(super().format(record))


class JsonFormatter(logging.Formatter):
    """A JSON object on one line."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role
        self._child = os.environ.get("RUSHLIGHT_CHILD", "")

    def format(self, record: logging.LogRecord) -> str:
        """The line, secrets hidden; never fails on what a caller logs."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(_message(record)),
            "role": self._role,
            "pid": os.getpid(),
        }
        if self._child:
            line["child"] = self._child
        for name, value in _fields.get().items():
            line.setdefault(name, redacted(value) if isinstance(value, str) else value)
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = redacted(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = redacted(record.stack_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - whatever a caller's own arguments do when they are printed
        text = f"{record.msg} (its arguments cannot be printed)"
    return text.encode("utf-8", "replace").decode()  # a lone surrogate is no JSON


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("rushlight").critical("ended by an error", exc_info=(kind, error, trace))
