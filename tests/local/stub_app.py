"""A role that does nothing but live, answer and die, for tests of the supervisor.

BEHAVIOUR: ``crash`` ends at once, ``deaf`` never answers, ``stubborn`` ignores SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType

from rushlight.local import listener
from rushlight.settings import Settings


class Ready(BaseHTTPRequestHandler):
    """Answers every request with this process's pid."""

    def do_GET(self) -> None:
        """Answer 200."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Stay silent."""


def main() -> None:
    """Behave as asked until SIGTERM."""
    name, behaviour = os.environ["RUSHLIGHT_CHILD"], os.environ.get("BEHAVIOUR", "")
    settings = Settings.from_env()
    if behaviour == "crash":
        sys.exit("the moon is in the wrong place")

    def stop(number: int, frame: FrameType | None) -> None:
        with (Path(settings.data) / "stops").open("a") as stops:
            stops.write(f"{name}\n")
        if behaviour != "stubborn":
            os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    (Path(settings.data) / f"started-{name}").touch()
    if name in {"web", "orders"} and behaviour != "deaf":
        server = HTTPServer(("", 0), Ready, bind_and_activate=False)
        server.socket.close()
        server.socket = listener(settings.host, settings.port)
        server.serve_forever()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
