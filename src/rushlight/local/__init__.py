"""Real servers and every role on one machine: started, supervised, found again and stopped.

``running`` runs an instance for as long as a block runs, ``serve`` until a signal, ``joined`` uses the one that
already runs, ``read`` tells what runs on a data directory.
"""

import sys

from rushlight.errors import SetupError

if sys.platform == "win32":
    raise SetupError("Rushlight does not run on Windows itself: use WSL 2, Linux or macOS")

from rushlight.local.instance import Instance, read
from rushlight.local.lifetime import default_roles, joined, running, serve, stopped_by_signals
from rushlight.local.ports import listener
from rushlight.local.reports import Report

__all__ = [
    "Instance",
    "Report",
    "default_roles",
    "joined",
    "listener",
    "read",
    "running",
    "serve",
    "stopped_by_signals",
]
