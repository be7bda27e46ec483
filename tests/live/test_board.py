"""The board's files are served as they were built, under a policy that lets them speak to their own host alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rushlight.live.board import Board, policy

INDEX = "<!doctype html><title>board</title>"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A board as the build leaves it."""
    board = tmp_path / "board"
    (board / "assets").mkdir(parents=True)
    (board / "index.html").write_text(INDEX)
    (board / "assets" / "board-Ab_3-fg1.js").write_text("export {};")
    (board / "assets" / "latin-component.woff2").write_bytes(b"wOF2")
    (board / ".sources").write_text("digest")
    (tmp_path / "secret.txt").write_text("secret")
    return board


async def ask(board: Board, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request's status, headers and body."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": [(b"host", b"127.0.0.1:8000"), *named]}
    await board(scope, receive, send)
    start, body = sent
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"]


async def test_the_index_is_checked_each_time(built: Path) -> None:
    """The page itself carries a tag and is asked for again; an unchanged one is not sent again."""
    board = Board(built)
    status, headers, body = await ask(board, "/")
    assert (status, body.decode()) == (200, INDEX)
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-cache"
    again, unchanged, nothing = await ask(board, "/", if_none_match=headers["etag"])
    assert (again, nothing, unchanged["etag"]) == (304, b"", headers["etag"])
    assert "content-length" not in unchanged


async def test_hashed_names_never_change(built: Path) -> None:
    """Only what the build named by its contents may be kept for ever."""
    board = Board(built)
    _, script, _ = await ask(board, "/assets/board-Ab_3-fg1.js")
    assert (script["content-type"], script["cache-control"]) == (
        "text/javascript; charset=utf-8",
        "public, max-age=31536000, immutable",
    )
    _, font, _ = await ask(board, "/assets/latin-component.woff2")
    assert (font["content-type"], font["cache-control"]) == ("font/woff2", "no-cache")


@pytest.mark.parametrize(
    "path", ["/.sources", "/../secret.txt", "/assets/../../secret.txt", "//etc/passwd", "/assets", "/assets/", "/nope"]
)
async def test_only_the_boards_own_files_are_served(built: Path, path: str) -> None:
    """Nothing outside, nothing hidden, no directories."""
    status, _, body = await ask(Board(built), path)
    assert status == 404
    assert b"secret" not in body


async def test_head_has_the_headers_and_no_body(built: Path) -> None:
    """HEAD says what GET would send."""
    board = Board(built)
    status, headers, body = await ask(board, "/", "HEAD")
    assert (status, headers["content-length"], body) == (200, str(len(INDEX)), b"")


async def test_nothing_is_changed_through_the_board(built: Path) -> None:
    """Other methods are refused, and it is said which are not."""
    status, headers, _ = await ask(Board(built), "/", "POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


async def test_a_board_that_was_not_built_says_so(tmp_path: Path) -> None:
    """The page says what to do, and appears as soon as it has been built."""
    board = Board(tmp_path)
    status, _, body = await ask(board, "/")
    assert status == 503
    assert b"make install" in body
    (tmp_path / "index.html").write_text(INDEX)
    assert (await ask(board, "/"))[0] == 200


async def test_every_answer_is_under_the_policy(built: Path) -> None:
    """Scripts, styles and connections only from the same host, and no frame around it."""
    for path in ("/", "/nope", "/assets/board-Ab_3-fg1.js"):
        _, headers, _ = await ask(Board(built), path)
        assert headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
            "connect-src 'self' ws://127.0.0.1:8000 wss://127.0.0.1:8000; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        assert headers["x-content-type-options"] == "nosniff"


def test_a_host_that_is_none_adds_nothing_to_the_policy() -> None:
    """A header that is not a host name cannot smuggle directives in."""
    assert b"evil" not in policy(b"evil.example; script-src *")
    assert b"connect-src 'self' ws://[::1]:8000 wss://[::1]:8000;" in policy(b"[::1]:8000")
