"""The ingest's routes are documented: all that are served, and in shapes that can be looked up."""

from __future__ import annotations

import json
import re

from rushlight.ingest.http import DIALECTS
from rushlight.ingest.openapi import document


def test_every_route_is_documented() -> None:
    """What is served has its body, its answers and its keys; nothing is documented that is not served."""
    paths = document()["paths"]
    assert set(paths) == set(DIALECTS)
    for path, operations in paths.items():
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
    schemes = {
        name for operations in found["paths"].values() for each in operations["post"]["security"] for name in each
    }
    assert schemes <= found["components"]["securitySchemes"].keys()
