"""Log lines: their shape, and that no secret gets into one, however it is logged."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from rushlight import logs

CANARY = "c4n4ryWord"
SECRETS = [
    f"pk_{CANARY}0123456789abcdef",
    f"sk_{CANARY}-_0123456789abcdef",
    f"whsec_{CANARY}12345678",
    f"mongodb://admin:{CANARY}@db.example:27017/?replicaSet=rs0",
    f"mongodb+srv://admin:p%40{CANARY}/x@y@db.example/test",
    f"rediss://:{CANARY}@cache.example:6380/0",
    f"Authorization: Bearer {CANARY}12345",
    f"authorization: Basic {CANARY}aaaa==",
    f"(b'authorization', b'Bearer {CANARY}99')",
    f"{{'Authorization': 'Bearer {CANARY}99'}}",
    f'{{"x-write-key":"{CANARY}"}}',
    f"https://shop.example/hook?token={CANARY}&page=1",
    f"password={CANARY}",
    f'{{"password": "{CANARY}"}}',
    f"{CANARY}@customers.example",
    f"{CANARY}%40customers.example",
]


@pytest.fixture(params=["json", "text"])
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What is logged from here on, in either form."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.setup("test", request.param, stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_gets_into_a_line(written: io.StringIO, secret: str) -> None:
    """Not as the message, an argument, an exception, its cause or its traceback, nor through uvicorn's loggers."""
    log = logging.getLogger("rushlight.some")
    log.warning("said %s", secret)
    log.warning("it was %r", {"said": secret})
    logging.getLogger("uvicorn.error").error(secret)
    try:
        try:
            raise ValueError(secret)
        except ValueError as error:
            raise RuntimeError(f"because of {secret!r}") from error
    except RuntimeError:
        log.exception("failed with %s", secret)
    log.warning("here", stack_info=True)
    logging.getLogger("py.warnings").warning("%s", f"old {secret}")
    text = written.getvalue()
    assert CANARY not in text
    assert "failed with" in text
    assert "RuntimeError" in text


def test_what_is_no_secret_stays() -> None:
    """Hosts, paths, origins, ids, worker names and times are what a log is read for."""
    for line in (
        "partition 3 waits for MongoDB: mongodb://db.example:27017 connection refused",
        "worker host/4026/1:77:a1b2c3 owns partition 3 at epoch 12",
        "o:order-1:2 ended as parked",
        "w:0123456789ab:77 POST /events 202 2026-01-02T03:04:05.678+00:00",
        "schema 9 of order_created is newer than this code",
    ):
        assert logs.redacted(line) == line
    assert "db.example:27017" in logs.redacted("mongodb://a:b@db.example:27017/x")


def test_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """One object a line with every field, also of what cannot be printed; what a task bound stays its own."""
    monkeypatch.setenv("RUSHLIGHT_CHILD", "worker-1")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter("worker"))
    log = logging.getLogger("rushlight.of_a_test")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers[:] = [handler]

    async def owns(partition: int) -> None:
        logs.bind(partition=partition)
        await asyncio.sleep(0)
        log.info("two\nlines of %d", partition)

    async def both() -> None:
        await asyncio.gather(owns(1), owns(2))

    asyncio.run(both())
    log.info("%d", "no number")
    log.info("\ud800")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("partition") for line in lines] == [1, 2, None, None]
    assert lines[0].keys() == {"time", "level", "logger", "message", "role", "pid", "child", "partition"}
    assert lines[0]["message"] == "two\nlines of 1"
    assert "cannot be printed" in lines[2]["message"]


def test_the_form_by_where_it_goes() -> None:
    """On a terminal people read text; anywhere else programs read JSON."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        for stream, form in ((Terminal(), logs.TextFormatter), (io.StringIO(), logs.JsonFormatter)):
            logs.setup("test", "auto", stream)
            assert isinstance(root.handlers[0].formatter, form)
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = before
        root.setLevel(level)
