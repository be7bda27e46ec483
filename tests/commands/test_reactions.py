"""`rushlight reactions`: what a person sees and does about a reaction that runs in a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pymongo
import pytest

from rushlight import Line, OrderCreated, Outbox
from rushlight.settings import Settings
from tests.conftest import Launch

DEADLINE_SECONDS = 60.0
MODULE = """
from pathlib import Path

from rushlight import OrderCreated, subscribe

FOLDER = Path({folder!r})


@subscribe(OrderCreated, name="welcome-mail", start="first", attempts=1)
async def send_mail(event: OrderCreated) -> None:
    if (FOLDER / f"ill-{{event.order_id}}").exists():
        raise OSError("no mail server")
    with (FOLDER / "sent").open("a") as sent:
        sent.write(event.order_id + "\\n")
"""


class Desk:
    """A running worker with a module of the shop's own, the shop's orders, and the command line."""

    def __init__(self, settings: Settings, folder: Path, database: Any) -> None:
        self.settings = settings
        self.folder = folder
        self._database = database

    def place(self, order_id: str, *, ill: bool = False, shop: str = "default") -> None:
        """Place an order, whose mail cannot be sent if it is ill."""
        if ill:
            (self.folder / f"ill-{order_id}").touch()
        created = OrderCreated(
            order_id=order_id, currency="EUR", lines=[Line(product_id="mug", quantity=1, amount=5)], gross=5, total=5
        )
        self._database.orders.insert_one(
            Outbox.attach({"_id": order_id if shop == "default" else f"{shop}/{order_id}"}, created, shop=shop)
        )

    def sent(self) -> list[str]:
        """The orders whose mails were sent."""
        file = self.folder / "sent"
        return file.read_text().split() if file.exists() else []

    def run(self, *command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run ``rushlight reactions …``."""
        done = subprocess.run(
            [sys.executable, "-m", "rushlight", "reactions", *command, "--data", self.settings.data],
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done

    def held(self, state: str) -> int:
        """How many aggregates are held in this state."""
        count: int = self._database["reactions.held"].count_documents({"state": state})
        return count

    def workers(self) -> int:
        """How many processes run a part of the reaction."""
        return len(self._database.reactions.distinct("owner", {"name": "welcome-mail", "owner": {"$ne": None}}))

    def told(self) -> dict[str, Any]:
        """What ``list --json`` says of the one reaction."""
        answer = json.loads(self.run("list", "welcome-mail", "--json").stdout)
        (reaction,) = answer["reactions"]
        return {**reaction, "held": answer["held"]}


@pytest.fixture
def desk(settings: Settings, launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Everything is up."""
    (tmp_path / "shop_of_a_test.py").write_text(MODULE.format(folder=str(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    chosen = msgspec.structs.replace(settings, modules=("shop_of_a_test",), lease_ttl_seconds=2.0)
    launch(chosen, "worker").ready()
    with pymongo.MongoClient[dict[str, Any]](settings.mongo_url) as client:
        ready = Desk(chosen, tmp_path, client[settings.database])
        _await(lambda: ready.workers() == 1)
        yield ready


def test_parked_retried_dropped_replayed(desk: Desk) -> None:
    """The whole story of a mail that fails, then of one that is given up, then of all mails again."""
    desk.place("A-1")
    desk.place("A-2", ill=True)
    _await(lambda: desk.sent() == ["A-1"] and desk.held("parked") == 1)
    words = desk.run("list").stdout
    assert all(word in words for word in ("welcome-mail", "parked", "A-2", "order_created", "no mail server"))
    (entry,) = desk.told()["held"]
    assert (entry["aggregateId"], entry["attempts"], entry["waiting"]) == ("A-2", 1, 1)

    (desk.folder / "ill-A-2").unlink()
    assert desk.run("retry", "welcome-mail", "A-2").stdout.startswith("1 held aggregate of welcome-mail is")
    _await(lambda: desk.sent() == ["A-1", "A-2"])

    desk.place("A-3", ill=True)
    _await(lambda: desk.held("parked") == 1)
    assert "1 event" in desk.run("drop", "welcome-mail", "--reason", "a test order").stdout
    _await(lambda: desk.held("parked") + desk.held("retrying") == 0)
    assert "holds nothing" in desk.run("drop", "welcome-mail", "--reason", "again", code=1).stderr

    (desk.folder / "ill-A-3").unlink()
    assert "3 places" in desk.run("replay", "welcome-mail", "--from-start").stdout
    _await(lambda: sorted(desk.sent()[2:]) == ["A-1", "A-2", "A-3"])
    assert "0 places" in desk.run("replay", "welcome-mail", "--from", "2100-01-01").stdout
    assert desk.told()["workers"] == 1


def test_an_id_that_two_shops_have(desk: Desk) -> None:
    """It is retried or dropped in the shop that is named, and in none when none is; a list says whose it is."""
    for shop in ("default", "north"):
        desk.place("A-1", ill=True, shop=shop)
    _await(lambda: desk.held("parked") == 2)
    assert " A-1 of shop north " in desk.run("list").stdout
    for command in (("retry", "welcome-mail", "A-1"), ("drop", "welcome-mail", "A-1", "--reason", "x")):
        assert "A-1 is held in the shops default, north: say in which with --shop" in desk.run(*command, code=1).stderr
    assert "holds nothing" in desk.run("retry", "welcome-mail", "--shop", "south", code=1).stderr
    assert "1 event" in desk.run("drop", "welcome-mail", "A-1", "--shop", "north", "--reason", "x").stdout
    _await(lambda: [entry["shop"] for entry in desk.told()["held"]] == ["default"])
    (desk.folder / "ill-A-1").unlink()
    assert "1 held aggregate" in desk.run("retry", "welcome-mail", "A-1", "--shop", "default").stdout
    _await(lambda: desk.sent() == ["A-1"])


def test_what_makes_no_sense_is_said(desk: Desk) -> None:
    """An unknown name, a replay from nowhere or from two places, a module without the subscription: one sentence."""
    for code, command, word in (
        (1, ("list", "goodbye-mail"), "goodbye-mail"),
        (1, ("retry", "goodbye-mail"), "goodbye-mail"),
        (2, ("replay", "welcome-mail"), "--from-start"),
        (2, ("replay", "welcome-mail", "--from-start", "--from", "2026-01-01"), "one of the two"),
        (2, ("drop", "welcome-mail", "--reason", " "), "--reason"),
        (1, ("run", "--module", "not_there"), "not_there"),
        (1, ("run", "goodbye-mail", "--module", "shop_of_a_test"), "goodbye-mail"),
        (1, ("run", "--module", "json"), "--module"),
    ):
        done = desk.run(*command, code=code)
        assert word in done.stderr
        assert "Traceback" not in done.stderr


def test_in_a_process_of_its_own(desk: Desk) -> None:
    """`reactions run` takes its share beside the worker, whose modules it knows, and gives it back on Ctrl-C."""
    command = [sys.executable, "-m", "rushlight", "reactions", "run"]
    with (desk.folder / "run.txt").open("w") as out:
        running = subprocess.Popen([*command, "--data", desk.settings.data], stdout=out, stderr=subprocess.STDOUT)
    try:
        _await(lambda: desk.workers() == 2)
        for number in range(8):
            desk.place(f"B-{number}")
        _await(lambda: len(desk.sent()) == 8)
    finally:
        running.send_signal(signal.SIGINT)
        assert running.wait(DEADLINE_SECONDS) == 0
    assert "Reacting: welcome-mail" in (desk.folder / "run.txt").read_text()
    _await(lambda: desk.workers() == 1)


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
