"""What the OpenAPI document says of failures: every route's, in the shape in which they are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rushlight.query.failures import Failure

Schema = Mapping[str, Any]

API = "/api/v1/"
TOLD = {
    "400": "A parameter or the body is wrong; `field` says which.",
    "503": "The database does not answer in time; `Retry-After` says when to ask again.",
}
OF_ONE = {"404": "There is none of this name."}
OF_BODIES = {"401": "A secret key is needed.", "413": "The body is too large."}
RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}


def with_failures(schema: Schema) -> dict[str, Any]:
    """The document with the failures of all routes of the API."""
    (reference,), found = msgspec.json.schema_components([Failure], ref_template="#/components/schemas/{name}")
    components = dict(schema.get("components", {}))
    components["schemas"] = {**components.get("schemas", {}), **found}
    paths = {path: _route(path, item, reference) for path, item in schema["paths"].items()}
    return {**schema, "paths": paths, "components": components}


def _route(path: str, item: Schema, reference: Schema) -> Schema:
    if path == "/health/ready":
        answered = {"503": "A part that is needed is away; the body says which."}
        return {method: _operation(operation, answered, None) for method, operation in item.items()}
    if not path.startswith(API):
        return item
    of_one = OF_ONE if "{" in path else {}
    return {
        method: _operation(operation, TOLD | of_one | (OF_BODIES if method == "post" else {}), reference)
        for method, operation in item.items()
    }


def _operation(operation: Any, failures: Mapping[str, str], reference: Schema | None) -> Any:
    if not isinstance(operation, dict) or "responses" not in operation:
        return operation
    responses = dict(operation["responses"])
    for status, description in failures.items():
        answer: dict[str, Any] = {"description": description}
        if reference is not None:
            answer["content"] = {"application/json": {"schema": reference}}
            if status == "503":
                answer["headers"] = RETRY
        elif "200" in responses:
            answer = {**responses["200"], **answer}
        responses[status] = answer
    return {**operation, "responses": responses}
