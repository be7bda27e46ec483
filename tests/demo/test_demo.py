"""The main job, end to end: a sale on real servers, killed in the middle, and right to the cent."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymongo
import pytest

from rushlight.local.instance import read
from tests.faults.world import span

DEADLINE_SECONDS = 200.0
COUNT = 150
EARLY_DOORS = Path(__file__).parents[1] / "faults" / "patches" / "early_doors"


def test_a_sale_ends_balanced_and_equal_to_the_shops_own_orders(tmp_path: Path) -> None:
    """The demo's tally, the figures and the order service's own collection are the same; nothing is pending."""
    data = tmp_path / "sale"
    demo = _demo(data, "--count", str(COUNT), "--seed", "7", "--exit")
    out, err = demo.communicate(timeout=DEADLINE_SECONDS)
    assert demo.returncode == 0, err
    assert f"Answered to shoppers: {COUNT} orders" in out
    assert "Equal." in out
    assert " 0 pending: balanced" in out
    _await_no_survivors(data)


@pytest.mark.timeout(600)
def test_killed_three_times_in_mid_sale_and_right_afterwards(tmp_path: Path) -> None:
    """All processes killed with -9, three times; then the same directory settles to the cent and no orphan is left."""
    data = tmp_path / "sale"
    for round_number in range(3):
        demo = _demo(data, "--seed", str(round_number))
        _await_orders(data, at_least=20)
        _kill_group(demo)
        _await_no_survivors(data)
    verdict = _demo(data, "--count", "30", "--seed", "9", "--exit")
    out, err = verdict.communicate(timeout=DEADLINE_SECONDS)
    assert verdict.returncode == 0, f"{out}\n{err}\n{_logs(data)}"
    _compare_with_the_orders(data)
    _await_no_survivors(data)


def _logs(data: Path) -> str:
    """The end of what each process wrote, for whoever has to find out."""
    files = [path for path in sorted((data / "log").glob("*.log")) if path.stem not in {"mongod", "valkey"}]
    return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in files)


def _demo(data: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rushlight", "demo", "--port", "0", "--data", str(data), *options]
    path = os.pathsep.join(filter(None, [str(EARLY_DOORS), os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rushlight", *command],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _await_orders(data: Path, *, at_least: int) -> None:
    """Wait until the sale in this directory has placed some orders since its start."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (instance := read(data)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pymongo.MongoClient[dict[str, Any]](instance.mongo_url) as client:
        orders = client[instance.database]["orders"]
        before = orders.estimated_document_count()
        while orders.estimated_document_count() < before + at_least:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _kill_group(demo: subprocess.Popen[str]) -> None:
    os.killpg(demo.pid, signal.SIGKILL)
    demo.communicate()


def _survivors(data: Path) -> list[int]:
    """Processes that have this directory in their command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if str(data).encode() in told and state != "Z":
                found.append(int(entry.name))
    return found


def _await_no_survivors(data: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while survivors := _survivors(data):
        assert time.monotonic() < deadline, survivors
        time.sleep(0.1)


def _compare_with_the_orders(data: Path) -> None:
    """Recount the books, sum the order service's own documents and ask the journal's figures for the same."""
    server = subprocess.Popen(
        [sys.executable, "-m", "rushlight", "up", "--port", "0", "--data", str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (instance := read(data)) is None:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        ledger = json.loads(_run("ledger", "--json", "--verify", "--data", str(data)))
        assert (ledger["balanced"], ledger["total"]["pending"]) == (True, 0)
        assert _sums_of_orders(instance.mongo_url, instance.database) == _sums_of_figures(instance.urls["board"])
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=DEADLINE_SECONDS)


def _sums_of_orders(url: str, database: str) -> dict[str, int]:
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        orders = list(client[database]["orders"].find())
    return {
        "orders": len(orders),
        "gross": sum(order["gross"] for order in orders),
        "discounts": sum(order["discounts"] for order in orders),
        "refunds": sum(
            operation["amount"]
            for order in orders
            for operation in order["operations"]
            if operation["kind"] == "refund"
        ),
    }


def _sums_of_figures(board: str) -> dict[str, int]:
    address = urlsplit(board)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    connection.request("GET", f"/api/v1/summary?{span()}")
    usd = json.load(connection.getresponse())["currencies"]["USD"]
    connection.close()
    money = {name: int(re.sub(r"\D", "", usd[name])) for name in ("gross", "discounts", "refunds")}
    return {"orders": usd["orders"], **money}
