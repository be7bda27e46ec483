"""The command line as people and programs use it, on one instance that runs without a worker at first."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rushlight.local.instance import read

DEADLINE_SECONDS = 60.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a running `rushlight up --workers 0`; what it printed is in ``up.txt`` beside it."""
    directory = tmp_path_factory.mktemp("commands") / "data"
    printed = directory.parent / "up.txt"
    with printed.open("w") as out:
        up = subprocess.Popen(
            [*_rushlight("up", directory), "--port", "0", "--workers", "0"], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        _await(lambda: "Ctrl-C stops everything" in printed.read_text())
        yield directory
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(DEADLINE_SECONDS) == 0


def test_the_printed_curl_sends_an_event_that_a_worker_stores(data: Path) -> None:
    """The key and body that `up` prints are taken; the event waits while no worker runs, and is stored by one."""
    printed = (data.parent / "up.txt").read_text()
    key = re.search(r"Bearer (pk_\S+)'", printed)
    body = re.search(r"-d '(\{.*\})'", printed)
    assert key
    assert body
    assert _post(data, key.group(1), body.group(1)) == {"accepted": 1, "rejected": []}
    _await(lambda: _ledger(data)["total"]["pending"] == 1)  # a log says how it stands once a second
    assert _ledger(data)["balanced"] is True
    worker = subprocess.Popen(_rushlight("worker", data), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(lambda: _ledger(data)["total"]["stored"] == 1)
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(DEADLINE_SECONDS) == 0
    (event,) = [json.loads(line) for line in _run("events", data, "--json").stdout.splitlines()]
    assert (event["eventName"], event["aggregateId"]) == ("view_item", "visitor-1")


def test_events_are_told_for_people_too(data: Path) -> None:
    """Without ``--json`` an event is one line with its name and payload; a filter leaves others out."""
    assert "view_item" in _run("events", data, "--aggregate", "visitor-1").stdout
    assert _run("events", data, "--name", "order_created").stdout == ""


def test_a_recount_agrees(data: Path) -> None:
    """`ledger --verify` ends with 0 and says so."""
    assert "the same" in _run("ledger", data, "--verify").stdout


def test_keys_are_listed_and_revoked(data: Path) -> None:
    """A list has first characters and never a key; what is revoked, by key or by those, is gone, once."""
    north, south = (_keys(data, "create", "--kind", "secret", "--shop", shop).strip() for shop in ("north", "south"))
    listed = _keys(data, "list")
    assert north not in listed
    assert f"{north[:9]}…  secret  shop north  created 20" in listed
    assert [key["shop"] for key in json.loads(_keys(data, "list", "--json"))][-2:] == ["north", "south"]
    assert _keys(data, "revoke", north).startswith("1 key revoked")
    assert _keys(data, "revoke", south[:9]).startswith("1 key revoked")
    assert not {north[:9], south[:9]} & {key["prefix"] for key in json.loads(_keys(data, "list", "--json"))}
    assert _keys(data, "revoke", north, code=1) == "rushlight: there is no such key: see `rushlight keys list`\n"


def test_keys_have_rights_that_are_shown_changed_and_handed_on(data: Path) -> None:
    """Origins, limit and end stand in the list; a rotation gives the new key the rights of the old one."""
    origin, other = "https://shop.example", "https://*.shop.example"
    old = _keys(data, "create", "--kind", "public", "--shop", "west", "--origin", origin, "--limit", "50/s").strip()
    assert "Changed" in _keys(data, "change", f"{old[:9]}…", "--origin", other, "--no-limit")
    new = json.loads(_keys(data, "rotate", old[:9], "--grace", "2h", "--json"))["key"]
    lines = [line for line in _keys(data, "list").splitlines() if " west " in line]
    assert lines[0].startswith(f"{old[:9]}…  public  shop west")
    assert f"origins {other}  expires 20" in lines[0]
    assert lines[1].startswith(f"{new[:9]}…  public  shop west")
    assert lines[1].endswith(f"origins {other}  never used")
    assert _keys(data, "change", old, code=1).startswith("rushlight: say what to change")


def test_a_second_instance_on_the_directory_is_refused(data: Path) -> None:
    """`up` on a directory that is in use says so in one sentence, with exit code 1."""
    second = _run("up", data, "--port", "0", code=1)
    assert second.stderr.startswith("rushlight: ")
    assert len(second.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["up", "--host-that-does-not-exist"], "No such option"),
        (["import", "/does/not/exist.csv"], "does not exist"),
        (["keys", "create", "--kind", "golden"], "golden"),
        (["keys", "create", "--kind", "public", "--limit", "many"], "must be like 100/s"),
        (["keys", "rotate", "pk_1", "--grace", "5"], "must be like 30m, 24h or 7d"),
        (["keys", "change", "pk_1", "--limit", "5", "--no-limit"], "one or the other"),
        (["events", "--shop", "a b"], "'--shop': a shop is lower-case letters, digits and hyphens"),
        (["parked", "retry", "--all", "--shop", ""], "'--shop': a shop is lower-case letters, digits and hyphens"),
        (["import", __file__, "--shop", "Berlin"], "'--shop': a shop is lower-case letters, digits and hyphens"),
    ],
)
def test_wrong_usage_ends_with_two(command: list[str], word: str) -> None:
    """What cannot be understood is named on stderr, with exit code 2 and no traceback."""
    done = subprocess.run([sys.executable, "-m", "rushlight", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named() -> None:
    """A port out of range is an error of one sentence, not a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "rushlight", "up", "--port", "70000"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "rushlight: setting port must be from 0 to 65534, not 70000"


def _rushlight(command: str, data: Path) -> list[str]:
    return [sys.executable, "-m", "rushlight", command, "--data", str(data)]


def _run(command: str, data: Path, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*_rushlight(command, data), *options], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    assert done.returncode == code, done.stderr
    return done


def _keys(data: Path, *words: str, code: int = 0) -> str:
    """What `rushlight keys` prints; on stderr if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "rushlight", "keys", *words, "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def _ledger(data: Path) -> dict[str, Any]:
    ledger: dict[str, Any] = json.loads(_run("ledger", data, "--json").stdout)
    return ledger


def _post(data: Path, key: str, body: str) -> Any:
    instance = read(data)
    assert instance is not None
    address = urlsplit(instance.urls["board"])
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents+json"}
    connection.request("POST", "/events", body, headers)
    answer = connection.getresponse()
    assert answer.status == 202
    told = json.loads(answer.read())
    connection.close()
    return told


def _await(condition: Any) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
