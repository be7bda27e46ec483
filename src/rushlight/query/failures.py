"""Every failure is ``{"error": {"code", "field", "message"}}``; bad input is the sender's fault and never a 5xx."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap
from pymongo.errors import PyMongoError

from rushlight.errors import Conflict, Rejected, Unavailable
from rushlight.query.figures import QUERY_SECONDS, unavailable
from rushlight.wording import in_words

log = logging.getLogger(__name__)

MISSING_PARAMETER = re.compile(r"Missing required \w+ parameter '(\w+)'")


class Error(msgspec.Struct, kw_only=True):
    """What went wrong, for a program and for a person; ``field`` is empty when the whole request is meant."""

    code: str
    field: str
    message: str


class Failure(msgspec.Struct):
    """The body of every answer that is not a 2xx."""

    error: Error


AnyRequest = Request[Any, Any, Any]


def failure(status: int, code: str, message: str, *, field: str = "", headers: dict[str, str] | None = None) -> Any:
    """The answer for a failure."""
    body = Failure(Error(code=code, field=field, message=message))
    return Response(body, status_code=status, media_type=MediaType.JSON, headers=headers)


def _rejected(_: AnyRequest, error: Rejected) -> Any:
    return failure(HTTPStatus.BAD_REQUEST, error.code, error.reason, field=error.field)


def _conflict(_: AnyRequest, error: Conflict) -> Any:
    return failure(HTTPStatus.CONFLICT, error.code, error.reason)


def _unavailable(_: AnyRequest, error: Unavailable) -> Any:
    headers = {"retry-after": str(error.spread_seconds())}
    return failure(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", error.reason, headers=headers)


def _database(request: AnyRequest, error: PyMongoError) -> Any:
    return _unavailable(request, unavailable(error, QUERY_SECONDS))


def _invalid(_: AnyRequest, error: ValidationException) -> Any:
    problems = error.extra if isinstance(error.extra, list) else []
    first: dict[str, Any] = next((each for each in problems if isinstance(each, dict)), {})
    message = str(first.get("message") or error.detail)
    missing = MISSING_PARAMETER.search(message)
    field = str(first.get("key") or (missing[1] if missing else ""))
    return failure(HTTPStatus.BAD_REQUEST, "invalid", in_words(message), field=field)


def _too_deep(_: AnyRequest, __: RecursionError) -> Any:
    return failure(HTTPStatus.BAD_REQUEST, "invalid", "the body is nested too deeply")


def _http(_: AnyRequest, error: HTTPException) -> Any:
    status = HTTPStatus(error.status_code)
    return failure(status, status.name.lower(), error.detail, headers=error.headers)


def _unexpected(request: AnyRequest, error: Exception) -> Any:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return failure(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "something went wrong; the log says what")


HANDLERS: ExceptionHandlersMap = {
    Rejected: _rejected,
    Conflict: _conflict,
    Unavailable: _unavailable,
    PyMongoError: _database,
    ValidationException: _invalid,
    RecursionError: _too_deep,
    HTTPException: _http,
    Exception: _unexpected,
}
