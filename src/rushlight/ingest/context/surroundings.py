"""What the circumstances of every request depend on beside the request: the settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from rushlight.ingest.context.ip import Network, networks
from rushlight.settings import Settings, Shop

UTC_NAMES = frozenset(("UTC", "Etc/UTC"))
# No zone has changed its clocks at another time since 1972.
STEADY_SECONDS = 15 * 60
MAX_REMEMBERED = 4096


class Surroundings:
    """Proxies that are believed, and the shops' clocks.

    Args:
        shops: by id. trusted_proxies: addresses or networks.
    """

    def __init__(self, shops: Mapping[str, Shop] | None = None, trusted_proxies: tuple[str, ...] = ()) -> None:
        self.proxies: tuple[Network, ...] = networks(trusted_proxies)
        named = {name: shop.time_zone for name, shop in (shops or {}).items() if shop.time_zone not in UTC_NAMES}
        self._zones = {name: ZoneInfo(time_zone) for name, time_zone in named.items()}
        self._offsets: dict[tuple[str, int], int] = {}

    @classmethod
    def of(cls, settings: Settings) -> Surroundings:
        """Those of an instance."""
        return cls(settings.shops, settings.trusted_proxies)

    def offset(self, shop: str, at: datetime) -> int | None:
        """Minutes from UTC to the shop's local time, or None for a shop that lives by UTC."""
        zone = self._zones.get(shop)
        if zone is None:
            return None
        place = (shop, int(at.timestamp()) // STEADY_SECONDS)
        minutes = self._offsets.get(place)
        if minutes is None:
            if len(self._offsets) >= MAX_REMEMBERED:
                self._offsets.clear()
            offset = at.astimezone(zone).utcoffset()
            minutes = self._offsets[place] = int(offset.total_seconds()) // 60 if offset else 0
        return minutes
