"""Worker processes as the supervisor starts them, to be killed, frozen and stopped."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rushlight.local.process import Child, spawn
from rushlight.settings import ENV_WHOLE, Settings


class Workers:
    """Starts worker processes and ends what is left of them."""

    def __init__(self, settings: Settings, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self._environment = environment or {}
        self._log = log
        self.running: list[Child] = []

    def start(self) -> Child:
        """Start one more."""
        command = [sys.executable, "-P", "-m", "rushlight.app", "worker"]
        self.running.append(
            spawn(
                "worker", command, log=self._log, environment={ENV_WHOLE: self.settings.to_json(), **self._environment}
            )
        )
        return self.running[-1]

    def kill(self) -> None:
        """End one with SIGKILL and start another."""
        self.running.pop(0).kill()
        self.start()

    def words(self) -> str:
        """What all of them wrote."""
        return self._log.read_text(errors="replace")


@contextmanager
def workers(
    settings: Settings, log: Path, *, count: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[Workers]:
    """Worker processes for as long as the block runs.

    Args:
        environment: added to theirs.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    some = Workers(settings, log, environment)
    try:
        for _ in range(count):
            some.start()
        yield some
    finally:
        for child in some.running:
            child.signal(signal.SIGCONT)
            child.kill()
