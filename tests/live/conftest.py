"""The database of the readers' tests, here as well."""

from __future__ import annotations

from tests.query.conftest import database, settings

__all__ = ["database", "settings"]
