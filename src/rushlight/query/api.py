"""The query API as one ASGI application: ``/api/v1``, ``/health`` and its own documentation at ``/docs``."""

from __future__ import annotations

from importlib.metadata import version

from bson.int64 import Int64
from litestar import Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Tag

from rushlight.health import Checks
from rushlight.query.docs import POLICY, DocsJson, DocsPage, Schema
from rushlight.query.failures import HANDLERS
from rushlight.query.figures import Figures
from rushlight.query.health import get_live, get_ready
from rushlight.query.routes import ROUTES
from rushlight.query.senders import SENDERS
from rushlight.settings import Settings
from rushlight.store.database import Database
from rushlight.store.primary import mongodb

MAX_BODY_BYTES = 16 * 1024
DESCRIPTION = (
    "Figures of a shop, each a fold of the journal and each answer one snapshot. Times are ISO 8601 with offset, "
    "`from` is inclusive and `to` exclusive, on whole minutes. Amounts are decimal strings with the currency's digits. "
    "`completeTo` says up to which received time an answer holds every acknowledged event."
)


def build(
    database: Database,
    settings: Settings,
    *,
    figures: Figures | None = None,
    checks: Checks | None = None,
    concerns: Checks | None = None,
    others: Schema | None = None,
) -> Litestar:
    """The application; the caller keeps the database open for as long as it serves.

    Args:
        figures: shared with the live board, so that both read with the same care.
        checks: for ``/health/ready``: what this process cannot work without; by default MongoDB.
        concerns: for the same: what it can work without, and is degraded.
        others: ``paths`` and ``components`` of the OpenAPI document that others serve under the same address.
    """
    reader = figures or Figures(database, settings)
    needed = {"MongoDB": mongodb(database)} if checks is None else dict(checks)
    missed = dict(concerns or {})
    return Litestar(
        route_handlers=[ROUTES, SENDERS, get_live, get_ready],
        dependencies={
            "figures": Provide(lambda: reader, sync_to_thread=False),
            "checks": Provide(lambda: needed, sync_to_thread=False),
            "concerns": Provide(lambda: missed, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        type_encoders={Int64: int},
        request_max_body_size=MAX_BODY_BYTES,
        response_headers={
            "cache-control": "no-store",
            "content-security-policy": POLICY,
            "x-content-type-options": "nosniff",
        },
        openapi_config=OpenAPIConfig(
            title="Rushlight",
            version=version("rushlight"),
            description=DESCRIPTION,
            path="/docs",
            tags=[Tag(name="figures"), Tag(name="ingest")],
            use_handler_docstrings=True,
            render_plugins=[DocsPage(others or {}), DocsJson(others or {})],
        ),
        logging_config=None,  # how this process logs is for the process to say
        debug=False,
    )
