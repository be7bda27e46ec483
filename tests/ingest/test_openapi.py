"""The ingest's routes are documented: all that are served, and in shapes that can be looked up."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rushlight.ingest import codes
from rushlight.ingest.http import DIALECTS
from rushlight.ingest.openapi import document
from rushlight.ingest.segment_settings import SETTINGS


def test_every_route_is_documented() -> None:
    """What is served has its body, its answers and its keys; nothing is documented that is not served."""
    paths = document()["paths"]
    posts = {path: operations for path, operations in paths.items() if "post" in operations}
    assert set(posts) == set(DIALECTS)
    assert SETTINGS.match(next(path for path in paths if path not in posts).replace("{writeKey}", "pk_1"))
    assert len(paths) == len(posts) + 1
    for path, operations in posts.items():
        post = operations["post"]
        assert post["summary"], path
        assert post["requestBody"]["content"], path
        assert {"400", "401", "413", "429", "503"} <= post["responses"].keys(), path
        assert post["security"], path


def test_every_reference_leads_somewhere() -> None:
    """Each ``$ref`` is among the components."""
    found = document()
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(found)))
    assert references <= found["components"]["schemas"].keys()
    posts = [operations["post"] for operations in found["paths"].values() if "post" in operations]
    schemes = {name for post in posts for each in post["security"] for name in each}
    assert schemes <= found["components"]["securitySchemes"].keys()


def test_every_code_has_its_meaning() -> None:
    """Each word by which something is refused at the door is explained."""
    ingest = Path(codes.__file__).parent
    apart = {ingest / name for name in ("history", "reconcile", "log")}
    files = [file for file in ingest.rglob("*.py") if not apart & set(file.parents) and file.name != "intake.py"]
    used = {code for file in files for code in re.findall(r'code="([a-z_]+)"', file.read_text())}
    assert used <= codes.CODES.keys()
    assert (
        "`money_needs_secret_key`"
        in document()["components"]["schemas"]["Rejection"]["properties"]["code"]["description"]
    )
