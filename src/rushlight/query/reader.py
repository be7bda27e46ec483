"""A projection's figures from Python, without a server of ours in between."""

from __future__ import annotations

from types import TracebackType

from rushlight.errors import SetupError
from rushlight.projections.projection import Projection
from rushlight.query.figures import Figures
from rushlight.query.projections import Page, page
from rushlight.query.view import View
from rushlight.settings import DEFAULT_SHOP, Settings
from rushlight.store.database import Database, partitions_of


class ProjectionReader:
    """Reads what workers make of the journal. Open it with `connect`; close it, or use it in ``async with``."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._figures = Figures(database, settings)

    @classmethod
    async def connect(cls, mongo_url: str, *, database: str = "rushlight") -> ProjectionReader:
        """Connect to the MongoDB of a running instance.

        Args:
            database: its name.

        Raises:
            SetupError: nobody has worked with this database yet. Unavailable: MongoDB does not answer.
        """
        count = await partitions_of(mongo_url, database)
        if count is None:
            raise SetupError(f"the database {database} holds nothing of Rushlight's")
        settings = Settings(mongo_url=mongo_url, database=database, partitions=count)
        return cls(await Database.connect(settings, role="reader"), settings)

    async def read(
        self,
        projection: Projection | type[Projection],
        *,
        shop: str = DEFAULT_SHOP,
        prefix: str = "",
        after: str = "",
        limit: int = 1000,
    ) -> Page:
        """Documents of all partitions, merged, as they stood at one moment, of one generation.

        Args:
            prefix: of the keys that are wanted (without the shop). after: only keys beyond this one: the ``next`` of
                the page before. limit: at most so many keys.

        Raises:
            Unavailable: the projection's first figures are still being built, or MongoDB does not answer in time.
        """
        instance = projection() if isinstance(projection, type) else projection

        async def query(view: View) -> Page:
            return await page(view, instance, prefix=prefix, after=after, limit=limit)

        return await self._figures.read(shop, query)

    async def close(self) -> None:
        """Close the connections."""
        await self._database.close()

    async def __aenter__(self) -> ProjectionReader:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
