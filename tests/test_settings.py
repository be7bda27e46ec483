"""Settings: the file, then the environment, then the flags; a wrong one is named in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rushlight.errors import SetupError
from rushlight.settings import ENV_WHOLE, Settings, Shop


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """A file that sets some."""
    file = tmp_path / "rushlight.toml"
    file.write_text('port = 1000\nworkers = 2\ndata = "from-file"\n[shops.berlin]\ntime_zone = "Europe/Berlin"\n')
    return file


def test_flags_before_environment_before_file(toml: Path) -> None:
    """Each is overruled by the next; what nobody sets has its default; flags that are None are not given."""
    environment = {"RUSHLIGHT_WORKERS": "3", "RUSHLIGHT_DATA": "from-environment", "RUSHLIGHT_ORDERS": "true"}
    settings = Settings.load(toml, environment, data="from-flags", workers=None)
    assert (settings.port, settings.workers, settings.data, settings.orders) == (1000, 3, "from-flags", True)
    assert settings.path == Path("from-flags")
    assert settings.partitions == 8


def test_the_file_of_this_directory(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``rushlight.toml`` here is read without being named; without one there are only defaults."""
    monkeypatch.chdir(toml.parent)
    assert Settings.load(environment={}).port == 1000
    toml.unlink()
    assert Settings.load(environment={}) == Settings()


def test_the_default_shop_always_exists(toml: Path) -> None:
    """Configuring other shops does not take it away; a shop nobody configured has the defaults."""
    settings = Settings.load(toml, {})
    assert settings.shops == {"default": Shop(), "berlin": Shop(time_zone="Europe/Berlin")}
    assert settings.shop("berlin").time_zone == "Europe/Berlin"
    assert settings.shop("elsewhere") == Shop()


def test_set_but_empty_is_not_given() -> None:
    """Compose files pass on variables that are empty."""
    assert Settings.load(environment={"RUSHLIGHT_REDIS_URL": "", "RUSHLIGHT_PORT": ""}) == Settings()


def test_modules_from_everywhere(tmp_path: Path) -> None:
    """A list in the file, names between commas in the environment, repeated flags; an empty variable is not given."""
    file = tmp_path / "mine.toml"
    file.write_text('modules = ["shop.mail"]\n')
    assert Settings.load(file, {}).modules == ("shop.mail",)
    assert Settings.load(file, {"RUSHLIGHT_MODULES": "one, two.three,"}).modules == ("one", "two.three")
    assert Settings.load(file, {"RUSHLIGHT_MODULES": "one"}, modules=("flag",)).modules == ("flag",)
    proxy = {"RUSHLIGHT_HOSTS": "a.example, b.example", "RUSHLIGHT_TRUSTED_PROXIES": "10.0.0.0/8"}
    assert Settings.load(file, proxy).hosts == ("a.example", "b.example")
    assert Settings.load(file, proxy).trusted_proxies == ("10.0.0.0/8",)
    assert Settings.load(file, {"RUSHLIGHT_MODULES": ""}, modules=None).modules == ("shop.mail",)


def test_other_variables_are_let_be() -> None:
    """Only ``RUSHLIGHT_`` and a setting's name count, and the hand-over to children is no setting."""
    environment = {"MY_RUSHLIGHT_PORT": "1", "RUSHLIGHT_SETTINGS": "{}", "RUSHLIGHT_COLOUR": "red", "PORT": "1"}
    assert Settings.load(environment=environment) == Settings()


@pytest.mark.parametrize(
    ("environment", "flags", "word"),
    [
        ({"RUSHLIGHT_PORT": "many"}, {}, "port"),
        ({"RUSHLIGHT_PORT": "65535"}, {}, "port"),
        ({"RUSHLIGHT_ORDERS": "perhaps"}, {}, "orders"),
        ({"RUSHLIGHT_LEASE_TTL_SECONDS": "nan"}, {}, "lease_ttl_seconds"),
        ({}, {"partitions": 0}, "partitions"),
        ({}, {"partitions": 101}, "partitions"),
        ({}, {"workers": -1}, "workers"),
        ({}, {"wal_bytes": 1}, "wal_bytes"),
        ({}, {"mongo_cache_mb": 1}, "mongo_cache_mb"),
        ({}, {"redis_memory_mb": 0}, "redis_memory_mb"),
        ({}, {"colour": "red"}, "colour"),
        ({}, {"database": "a.b"}, "database"),
        ({}, {"database": ""}, "database"),
        ({}, {"database": "x" * 64}, "database"),
        ({}, {"modules": ["my-shop"]}, "my-shop"),
        ({}, {"modules": ["shop..mail"]}, "shop..mail"),
        ({"RUSHLIGHT_MODULES": "shop/mail.py"}, {}, "shop/mail.py"),
        ({}, {"shops": {"Berlin": {}}}, "Berlin"),
        ({}, {"shops": {"a/b": {}}}, "a/b"),
        ({}, {"shops": {"berlin": {"time_zone": "Mars/Base"}}}, "Mars/Base"),
        ({"RUSHLIGHT_TRUSTED_PROXIES": "10.0.0.0/8, proxy.example"}, {}, "proxy.example"),
        ({}, {"shops": {"berlin": {"time_zone": ""}}}, "time_zone"),
        ({}, {"shops": {"berlin": {"time_zone": "../etc"}}}, "../etc"),
        ({}, {"shops": {"berlin": {"color": 1}}}, "color"),
        ({}, {"shops": {"berlin": 1}}, "shops"),
        ({}, {"shops": []}, "shops"),
    ],
)
def test_wrong_settings(environment: dict[str, str], flags: dict[str, Any], word: str) -> None:
    """The setting that is wrong is named."""
    with pytest.raises(SetupError) as refused:
        Settings.load(environment=environment, **flags)
    assert word in str(refused.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"workers": "x"}, "setting workers must be a whole number"),
        ({"status_port": "x"}, "setting status_port must be a whole number"),
        ({"lease_ttl_seconds": "long"}, "setting lease_ttl_seconds must be a number"),
        ({"orders": "perhaps"}, "setting orders must be true or false"),
        ({"host": 5}, "setting host must be text"),
        ({"hosts": "shop.example"}, "setting hosts must be a list"),
        ({"hosts": [1]}, "setting hosts[0] must be text"),
        ({"shops": {"berlin": 1}}, "setting shops[...] must be a table of names and values"),
        ({"log_format": "xml"}, "setting log_format cannot be 'xml': it is one of auto, json, text"),
        ({"colour": "red"}, "there is no setting colour"),
        ({"shops": {"berlin": {"colour": "red"}}}, "there is no setting colour in shops[...]"),
    ],
)
def test_a_persons_words(given: dict[str, Any], said: str) -> None:
    """What a setting must be is said without the names of types."""
    with pytest.raises(SetupError) as refused:
        Settings.load(environment={}, **given)
    assert str(refused.value) == said


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe", b"[[shops]]\n"])
def test_a_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    """No TOML, no UTF-8, another shape: one sentence each."""
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(SetupError):
        Settings.load(file, {})
    with pytest.raises(SetupError, match=r"there is no file .*absent"):
        Settings.load(tmp_path / "absent.toml", {})


def test_handed_down_whole(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process gets the very same object; a missing or broken hand-over is said."""
    settings = Settings.load(toml, {}, redis_url="redis://127.0.0.1:1")
    monkeypatch.setenv(ENV_WHOLE, settings.to_json())
    assert Settings.from_env() == settings
    for broken in ("", "{", '{"colour": 1}'):
        monkeypatch.setenv(ENV_WHOLE, broken)
        with pytest.raises(SetupError, match=ENV_WHOLE):
            Settings.from_env()
    monkeypatch.delenv(ENV_WHOLE)
    with pytest.raises(SetupError, match=ENV_WHOLE):
        Settings.from_env()
