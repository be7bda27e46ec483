"""Every setting is read once, at the front door, into one frozen object."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints
from zoneinfo import ZoneInfo

import msgspec

from rushlight.errors import SetupError
from rushlight.wording import in_words

ENV_PREFIX = "RUSHLIGHT_"
ENV_WHOLE = "RUSHLIGHT_SETTINGS"
DEFAULT_SHOP = "default"
SHOP_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
MAX_DATABASE_NAME = 63
DATABASE_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_DATABASE_NAME}}}\Z")
UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`\Z", re.DOTALL)


class Shop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is particular to one shop (tenant).

    Attributes:
        time_zone: IANA name; readers cut hours and days at its local boundaries.
        source_of_record: the event source whose money figures are summed.
    """

    time_zone: str = "UTC"
    source_of_record: str = "orders"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of one instance; ``rushlight.toml`` < ``RUSHLIGHT_*`` < flags.

    Attributes:
        data: directory of everything that must survive a restart.
        host, port: where the board listens; the order service takes ``port + 1``; 0 means any free port.
        redis_url, mongo_url, orders_mongo_url: None starts embedded servers (orders share the one MongoDB).
        database: name of the MongoDB database.
        partitions: P of ``hash(shop, key) mod P``; fixed for the life of a database.
        workers: worker processes that ``rushlight up`` starts.
        ingest_processes: processes that ``rushlight up`` starts beside ``web`` to take events in on the same port.
        orders: whether ``rushlight up`` starts the reference order service.
        mongo_cache_mb, redis_memory_mb: caps of the embedded servers.
        wal_bytes: cap of one write-ahead log.
        max_events_per_second: what one instance takes in on one machine; beyond it views are turned away first, then
            carts, money last [default: no limit].
        key_events_per_second: what a write key without a limit of its own may send [default: no limit].
        hosts: host names, beside loopback's, under which a proxy in front serves the board; in the environment
            separated by commas.
        trusted_proxies: addresses or networks (``10.0.0.0/8``) of proxies in front, whose X-Forwarded-For is believed;
            in the environment separated by commas.
        modules: Python modules of your own (dotted names) that workers import at their start, so that your events,
            projections and subscriptions are known; in the environment separated by commas.
        lease_ttl_seconds: after this long without a heartbeat a partition may be taken.
        log_format: ``json``, one object a line; ``text``; ``auto``: text on a terminal and JSON elsewhere.
        status_port: loopback port on which a worker or relay answers ``/health/*``; None: no such port. Of several
            workers under one supervisor the second takes the next port, and so on.
        relay_from: ``DATABASE.COLLECTION`` of the orders that ``rushlight relay`` moves [default: DATABASE.orders].
        shops: the shops by id; ``default`` always exists.
        failpoints: places where a process dies, fails or pauses (see `rushlight.failpoints`); refused without
            testing. testing: whether this instance may be broken on purpose.
    """

    data: str = "rushlight-data"
    host: str = "127.0.0.1"
    port: int = 8000
    redis_url: str | None = None
    mongo_url: str | None = None
    orders_mongo_url: str | None = None
    database: str = "rushlight"
    partitions: int = 8
    workers: int = 1
    ingest_processes: int = 0
    orders: bool = False
    mongo_cache_mb: int = 256
    redis_memory_mb: int = 256
    wal_bytes: int = 1 << 30
    max_events_per_second: int | None = None
    key_events_per_second: int | None = None
    hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    lease_ttl_seconds: float = 10.0
    log_format: Literal["auto", "json", "text"] = "auto"
    status_port: int | None = None
    relay_from: str | None = None
    shops: dict[str, Shop] = msgspec.field(default_factory=lambda: {DEFAULT_SHOP: Shop()})
    failpoints: str = ""
    testing: bool = False

    @property
    def path(self) -> Path:
        """The data directory as a path."""
        return Path(self.data)

    def shop(self, shop: str) -> Shop:
        """The shop's settings; a shop that was never configured has the defaults."""
        return self.shops.get(shop) or Shop()

    def to_json(self) -> str:
        """The whole object, for a child process's environment."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_env(cls) -> Settings:
        """The whole object as a parent process handed it down.

        Raises:
            SetupError: when it is absent or malformed.
        """
        try:
            return msgspec.json.decode(os.environ[ENV_WHOLE], type=cls)
        except (KeyError, msgspec.MsgspecError) as error:
            raise SetupError(f"{ENV_WHOLE} is missing or malformed; start roles with the rushlight command") from error

    @classmethod
    def load(
        cls, toml_path: Path | None = None, environment: Mapping[str, str] | None = None, **flags: Any
    ) -> Settings:
        """Merge file, environment and flags (flags that are None count as not given).

        Args:
            toml_path: an explicit file that must exist; by default ``rushlight.toml`` here, if there is one.
            environment: by default ``os.environ``.

        Raises:
            SetupError: when a value is unknown or out of range; it names the setting.
        """
        merged = _from_toml(toml_path)
        merged.update(_from_environment(os.environ if environment is None else environment))
        merged.update({key: value for key, value in flags.items() if value is not None})
        if isinstance(merged.get("shops"), dict):
            merged["shops"] = {DEFAULT_SHOP: {}} | merged["shops"]
        try:
            settings = msgspec.convert(merged, cls, strict=False)
        except msgspec.ValidationError as error:
            raise SetupError(_in_words(str(error))) from error
        _check(settings)
        return settings


def _from_toml(path: Path | None) -> dict[str, Any]:
    chosen = path or Path("rushlight.toml")
    if path is None and not chosen.exists():
        return {}
    try:
        return tomllib.loads(chosen.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SetupError(f"there is no file {chosen}") from error
    except (OSError, ValueError) as error:  # no TOML, or no UTF-8
        raise SetupError(f"{chosen}: {error}") from error


def _in_words(message: str) -> str:
    what, _, place = message.partition(" - at `$")
    name = place.strip("`.")
    if unknown := UNKNOWN_FIELD.match(what):
        return f"there is no setting {unknown[1]}" + (f" in {name}" if name else "")
    choices = (
        ", ".join(map(str, get_args(get_type_hints(Settings).get(name)))) if what.startswith("Invalid enum") else ""
    )
    return f"setting {name} {in_words(what)}" + (f": it is one of {choices}" if choices else "")


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    names = set(Settings.__struct_fields__) - {"shops"}
    found = {name: environment.get(ENV_PREFIX + name.upper()) for name in names}
    given: dict[str, Any] = {name: value for name, value in found.items() if value}  # set but empty is not given
    for listed in ("modules", "hosts", "trusted_proxies"):
        if listed in given:
            given[listed] = [name.strip() for name in given[listed].split(",") if name.strip()]
    return given


def _check(settings: Settings) -> None:
    ranges = {
        "port": (0, 65534),
        "partitions": (1, 100),
        "workers": (0, 64),
        "ingest_processes": (0, 64),
        "mongo_cache_mb": (64, 1 << 20),
        "redis_memory_mb": (16, 1 << 20),
        "wal_bytes": (1 << 20, 1 << 40),
        "max_events_per_second": (1, 10_000_000),
        "key_events_per_second": (1, 10_000_000),
        "lease_ttl_seconds": (1, 600),
        "status_port": (0, 65535),
    }
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            raise SetupError(f"setting {name} must be from {low} to {high}, not {value}")
    if settings.failpoints and not settings.testing:
        raise SetupError("setting failpoints makes processes die and is only for tests: remove it")
    if not DATABASE_NAME.match(settings.database):
        raise SetupError(
            f"setting database must be 1 to {MAX_DATABASE_NAME} letters, digits, _ and -, not {settings.database!r}"
        )
    for proxy in settings.trusted_proxies:
        try:
            ip_network(proxy, strict=False)
        except ValueError as error:
            raise SetupError(f"setting trusted_proxies: {proxy!r} is no address and no network") from error
    for module in settings.modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise SetupError(f"setting modules must be dotted names of Python modules, not {module!r}")
    for name, shop in settings.shops.items():
        if not SHOP_ID.match(name):
            raise SetupError(f"shop id {name!r} must be lower-case letters, digits and hyphens, at most 63 of them")
        try:
            ZoneInfo(shop.time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise SetupError(f"shop {name}: time_zone {shop.time_zone!r} is not an IANA time zone") from error
