"""Makes sure that the machine has what Rushlight needs from outside PyPI; needs no package itself.

`python3 scripts/system_packages.py run` asks for what the product needs, `… test` also for what the tests start. What
is missing is installed when this is root on a Debian-like system; otherwise the exact command is printed and the exit
code is 1.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys

OLDEST_PYTHON = (3, 11)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# The embedded mongod is linked against these; the package names are Debian's.
LIBRARIES = {"libcurl.so.4": "libcurl4", "libcrypto.so.3": "libssl3", "liblzma.so.5": "liblzma5"}


def loads(library: str) -> bool:
    """Says whether the dynamic linker finds the library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_packages(purpose: str) -> list[str]:
    """Returns the Debian names of what is missing to run ("run") or to test ("test") Rushlight."""
    missing = []
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        missing.append("python3-venv")
    if sys.platform == "linux":
        missing += [package for library, package in LIBRARIES.items() if not loads(library)]
    if purpose == "test":
        if not any(map(shutil.which, BROWSERS)):
            missing.append("chromium")
        if not shutil.which("curl"):
            missing.append("curl")  # the README's commands, which a test executes
    return missing


def install(packages: list[str]) -> int:
    """Installs Debian packages as root and returns the exit code."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    print(f"Installing what this machine lacks: {', '.join(packages)} …", flush=True)
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{done.stdout[-4000:]}{done.stderr[-4000:]}", file=sys.stderr)
            print(f"`{' '.join(command)}` failed with exit code {done.returncode}.", file=sys.stderr)
            return done.returncode
    return 0


def main(purpose: str) -> int:
    """Checks, installs or explains; returns the exit code."""
    if sys.version_info < OLDEST_PYTHON:
        print(
            f"Rushlight needs Python 3.11 or newer and this is {sys.version.split()[0]}: "
            "install a newer one and name it, as in `make install PYTHON=python3.12`.",
            file=sys.stderr,
        )
        return 1
    missing = missing_packages(purpose)
    if not missing:
        return 0
    debian = shutil.which("apt-get") is not None
    if debian and os.geteuid() == 0:
        return install(missing)
    names = " ".join(missing)
    advice = f"run `sudo apt-get install -y {names}`" if debian else f"install what Debian calls {names}"
    print(f"This machine lacks {', '.join(missing)}: {advice}, then call make again.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "run"))
