"""Schemathesis: what the OpenAPI documents allow, and what they do not, is answered as they say and never by a 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

from rushlight.orders.app import build as build_orders
from rushlight.settings import Settings
from tests.hostile.site import Site

BASE = "http://127.0.0.1"
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
PER_OPERATION = {GenerationMode.POSITIVE: 5, GenerationMode.NEGATIVE: 4}


@pytest.fixture(scope="module")
def orders(site_settings: Settings) -> Iterator[Site]:
    """The order service on the same servers."""
    opened = Site(site_settings, build_orders(site_settings))
    yield opened
    opened.close()


def test_the_query_api_and_the_ingest(site: Site) -> None:
    """Every operation with good and bad requests, under a public key, a secret one, and whatever comes up."""
    tried, wrong = explore(site, "/docs/openapi.json")
    assert not wrong, "\n".join(wrong)
    assert tried > 150


def test_the_order_service(orders: Site) -> None:
    """The same with orders, payments, refunds and cancellations."""
    tried, wrong = explore(orders, "/openapi.json")
    assert not wrong, "\n".join(wrong)
    assert tried > 30


def explore(site: Site, document: str, per_operation: dict[GenerationMode, int] | None = None) -> tuple[int, list[str]]:
    """Ask every operation of a document; how many requests that were, and the smallest that went wrong of each."""
    load_all_checks()
    schema = schemathesis.openapi.from_dict(site.call("GET", document).json)
    tried, wrong = 0, []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        for mode, count in (per_operation or PER_OPERATION).items():
            asked = [0]
            try:
                _ask(site, operation, mode, count, asked)
            except Unsatisfiable:  # there is no other way to ask
                continue
            except (Exception, FailureGroup) as error:  # noqa: BLE001 - whatever a check found
                wrong.append(f"{operation.label}, {mode.value}: {str(error)[:2000]}")
            tried += asked[0]
    return tried, wrong


def _ask(site: Site, operation: Any, mode: GenerationMode, count: int, asked: list[int]) -> None:
    checks = CHECKS.get_by_names(CHECKED)
    keys = st.sampled_from([site.keys.public, site.keys.secret, site.keys.other, None])

    @examples(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode), keys)
    def one(case: Any, key: str | None) -> None:
        request = _prepared(case, key)
        assume(request is not None)
        assert request is not None
        body = request.body or b""
        answer = site.call(
            case.method,
            request.path_url,
            [(str(name), str(value)) for name, value in request.headers.items()],
            body if isinstance(body, bytes) else body.encode(),
        )
        asked[0] += 1
        response = schemathesis.Response(
            status_code=int(answer.status),
            headers={name: [value] for name, value in answer.headers.items()},
            content=answer.body,
            request=request,
            elapsed=0.0,
            verify=False,
        )
        case.validate_response(response, checks=checks)

    one()


def _prepared(case: Any, key: str | None) -> Any:
    given_ = case.as_transport_kwargs(BASE)
    if key is not None:
        given_["headers"]["Authorization"] = f"Bearer {key}"
    try:
        return requests.Request(**given_).prepare()
    except (requests.RequestException, UnicodeError):  # no client could send it
        return None
