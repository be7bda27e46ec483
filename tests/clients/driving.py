"""Sends a story through one of the Python SDKs, unmodified: ``python driving.py SDK URL KEY STORY``."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

MODULES = {"segment": "segment.analytics", "rudder": "rudderstack.analytics"}


def call(client: Any, step: dict[str, Any]) -> None:
    """One call of the SDK."""
    common = {"user_id": step.get("userId"), "timestamp": datetime.fromisoformat(step["timestamp"])}
    if step["type"] != "alias":
        common["anonymous_id"] = step["anonymousId"]
    if step["type"] == "track":
        client.track(event=step["event"], properties=step["properties"], **common)
    elif step["type"] == "page":
        client.page(name=step["name"], properties=step["properties"], **common)
    elif step["type"] == "identify":
        client.identify(traits=step["traits"], **common)
    else:
        client.alias(previous_id=step["previousId"], **common)


def main(sdk: str, url: str, key: str, story: str) -> int:
    """Tell the whole story; 1 when the SDK gave something up."""
    failures: list[Any] = []
    client = importlib.import_module(MODULES[sdk]).Client(
        key, host=url, upload_size=5, upload_interval=0.05, on_error=lambda error, _batch: failures.append(error)
    )
    for step in json.loads(Path(story).read_text("utf-8")):
        call(client, step)
    client.flush()
    client.join()
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
