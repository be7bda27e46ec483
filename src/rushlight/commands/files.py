"""A file of orders as the command line describes it: what `import` brings in and `reconcile` compares."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rushlight.ingest.history.columns import parse_mapping
from rushlight.ingest.history.importing import ImportRequest
from rushlight.settings import Settings


class FileOptions(NamedTuple):
    """The options that both commands have, as they were typed."""

    file: Path
    form: str | None
    columns: tuple[str, ...]
    currency: str | None
    time_zone: str
    source: str | None
    shop: str
    as_json: bool

    def request(self, settings: Settings, state: Path, *, target: str = "") -> ImportRequest:
        """What to read and how.

        Args:
            state: a directory for the work. target: see `ImportRequest`.

        Raises:
            Rejected: a column is mapped to no field.
        """
        return ImportRequest(
            file=self.file,
            state=state,
            format=self.form,
            mapping=parse_mapping(self.columns),
            currency=self.currency,
            time_zone=self.time_zone,
            source=self.source or settings.shop(self.shop).source_of_record,
            shop=self.shop,
            target=target,
        )
