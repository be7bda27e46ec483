"""What the README shows is what happens when it is typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.console import PageError, Service, Step, execute, printed, steps
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.timeout(900)
def test_the_readmes_commands_do_what_it_shows(tmp_path: Path) -> None:
    """Every command of the README's console blocks succeeds, prints what stands below it and leaves nothing running."""
    assert execute(README, tmp_path / "rushlight") >= 2


def test_the_readme_begins_with_the_two_commands() -> None:
    """The first things a newcomer is told to type, after getting the code, are `make demo` and `make test`."""
    commands = [step.command for step in steps(README) if not step.command.startswith(("git clone", "cd "))]
    assert commands[0].startswith("make demo")
    assert any(command.startswith("make test") for command in commands)


def test_commands_and_their_output_are_told_apart() -> None:
    """A block is read as commands with their output; continued lines belong to the command, other blocks to nobody."""
    page = "```console\n$ one \\\n> two\n1 …\n\n$ three\n```\n```sh\n$ four\n```\n"
    assert steps(page) == [Step(2, "one \\\ntwo", ["1 …"]), Step(6, "three", [])]


def test_output_may_differ_only_where_the_page_says_so(tmp_path: Path) -> None:
    """Blanks may be stretched and `…` may be anything; another word, or a failing command, is an error."""
    assert printed(["total  … balanced", "end"], "before\ntotal    12   balanced\n  end\n")
    assert not printed(["total … balanced"], "total 12 open")
    assert execute('```console\n$ A=1; cd /\n$ echo "$A $PWD"\n1 /\n$ echo a   b\na b\n```\n', tmp_path / "right") == 3
    with pytest.raises(PageError, match="line 2: `echo b`"):
        execute("```console\n$ echo b\na\n```\n", tmp_path / "other")
    with pytest.raises(PageError, match="ended with 3"):
        execute("```console\n$ (exit 3)\n```\n", tmp_path / "failing")


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_process_left_behind_is_seen(tmp_path: Path) -> None:
    """A service that ends on Ctrl-C but leaves a child running fails the page."""
    port = free_ports()
    serve = f"{sys.executable} -m http.server --bind 127.0.0.1 {port}"
    service = Service(f"setsid sleep 20 & {serve}", tmp_path, {"PATH": "/usr/bin:/bin"}, port)
    service.wait_for([])
    with pytest.raises(PageError, match=r"left .*sleep 20"):
        service.stop()
