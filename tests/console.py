"""Executes the ``console`` blocks of a Markdown page as a reader would type them, and compares what they print.

- ``$ `` begins a command (a line that ends in a backslash goes on in the next); the lines after it are its output, in
  which ``…`` stands for anything and a run of blanks for any other.
- Commands run one after the other in one shell, which keeps its variables, in a folder that looks like this checkout.
- A command that serves (`make demo`, `rushlight up`, `rushlight demo` without ``--exit``) stays up while the following
  ones run, until the next such command or the page's end; then it gets Ctrl-C and must leave no process behind.
- `git clone` and `cd` have been done by whoever reads this; `make test` is what runs it. Those are not run again.
- The page's ports 8000 and 8001 stand for two free ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_ports

ROOT = Path(__file__).resolve().parent.parent
PAGE_PORT = 8000
COMMAND_SECONDS = 180.0
READY_SECONDS = 120.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.05
MAKES_OWN = frozenset({"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARGS"})
DONE_ALREADY = re.compile(r"(git clone|cd)\b")
RUNS_THIS = re.compile(r"make test\b")
SERVES = re.compile(r"make demo\b|rushlight up\b|rushlight demo\b(?!.*--exit)")
INTERRUPTED = (0, 2, 130, -2)  # make ends with 2 when its child did, and by the signal itself when it was met first


class PageError(AssertionError):
    """A command of the page failed, printed something else than the page says, or left a process behind."""


@dataclass
class Step:
    """One command of a page and what the page says that it prints (maybe nothing)."""

    line: int
    command: str
    output: list[str] = field(default_factory=list)


def steps(page: str) -> list[Step]:
    """Reads the commands of all ``console`` blocks of a Markdown text, in order."""
    found: list[Step] = []
    inside, open_command = False, False
    for number, line in enumerate(page.splitlines(), 1):
        if not inside:
            inside = line.strip() == "```console"
            open_command = False
        elif line.strip() == "```":
            inside = False
        elif open_command:
            found[-1].command += "\n" + line.removeprefix("> ")
            open_command = line.endswith("\\")
        elif line.startswith("$ "):
            found.append(Step(number, line.removeprefix("$ ")))
            open_command = line.endswith("\\")
        elif line.strip() and found:
            found[-1].output.append(line)
    return found


def printed(expected: list[str], output: str) -> bool:
    """Says whether the expected lines stand together somewhere in the output."""

    def pattern(line: str) -> str:
        parts = (r"\s+".join(map(re.escape, part.split())) for part in line.split("…"))
        return ".*?".join(parts)

    squeezed = "\n".join(" ".join(line.split()) for line in output.splitlines())
    wanted = r"\s*\n\s*".join(map(pattern, expected))
    return re.search(wanted, squeezed, re.DOTALL) is not None


def on_ports(text: str, port: int) -> str:
    """Moves the page's two ports to ``port`` and the next one."""
    for offset in (0, 1):
        text = re.sub(
            rf"((?:127\.0\.0\.1|localhost):|--port[ =]){PAGE_PORT + offset}\b", rf"\g<1>{port + offset}", text
        )
    return text


class Shell:
    """One bash that keeps variables and folder from command to command."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Runs a command and returns its exit code and what it printed; raises PageError when it takes too long."""
        assert self.process.stdin
        assert self.process.stdout
        mark = uuid.uuid4().hex
        script = f"{{ {command}\n}} </dev/null 2>&1\nprintf '%s %d\\n' {mark} $?\n"
        self.process.stdin.write(script.encode())
        self.process.stdin.flush()
        output, deadline = "", time.monotonic() + COMMAND_SECONDS
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            while (end := re.search(rf"{mark} (\d+)\n", output)) is None:
                chunk = b""
                if ready.select(max(0.0, deadline - time.monotonic())):
                    chunk = os.read(self.process.stdout.fileno(), 65536)
                if not chunk:
                    raise PageError(f"`{command}` did not end, or ended the shell, after:\n{output}")
                output += chunk.decode(errors="replace")
        return int(end[1]), output[: end.start()]

    def close(self) -> None:
        """Ends the shell and whatever a command left running in it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


class Service:
    """A command that serves until Ctrl-C."""

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str], port: int) -> None:
        self.command, self.port = command, port
        self.mark = uuid.uuid4().hex
        self.log = folder / f".service-{self.mark}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=folder,
                env={**environment, "README_SERVICE": self.mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        """Returns what it has printed up to now."""
        return self.log.read_text("utf-8", errors="replace")

    def wait_for(self, expected: list[str]) -> None:
        """Waits until the board answers and the expected lines are printed; raises PageError."""
        deadline = time.monotonic() + READY_SECONDS
        while not (self._answers() and printed(expected, self.output())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise PageError(f"`{self.command}` is not up with {expected}; it printed:\n{self.output()}")
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """Sends Ctrl-C to all of it and waits; raises PageError on a bad end or a process left behind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise PageError(f"`{self.command}` did not end on Ctrl-C; it printed:\n{self.output()}") from None
        left = self._left()
        if code not in INTERRUPTED or left:
            raise PageError(f"`{self.command}` ended with {code} and left {left}; it printed:\n{self.output()}")

    def _left(self) -> list[str]:
        mark, left = f"README_SERVICE={self.mark}".encode(), []
        for process in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else []:
            try:
                if mark in (process / "environ").read_bytes():
                    left.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
        return left


def checkout(folder: Path) -> Path:
    """Makes the folder look like this checkout, but with a data directory of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in ROOT.iterdir():
        if entry.name != "rushlight-data":
            (folder / entry.name).symlink_to(entry)
    return folder


def execute(page: str, folder: Path) -> int:
    """Runs every command of the page in a folder like this checkout; returns how many ran; raises PageError."""
    port = free_ports(2)
    folder = checkout(folder)
    environment = {
        # What this run's own `make` was told is nothing to the page's.
        **{name: value for name, value in os.environ.items() if name not in MAKES_OWN},
        "HOME": str(folder.parent),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "RUSHLIGHT_PORT": str(port),
    }
    shell, service, count = Shell(folder, environment), None, 0
    try:
        for step in steps(page):
            command, expected = on_ports(step.command, port), [on_ports(line, port) for line in step.output]
            if DONE_ALREADY.match(command):
                continue
            count += 1
            if SERVES.match(command):
                if service:
                    service.stop()
                service = Service(command, folder, environment, port)
                service.wait_for(expected)
                continue
            code, output = shell.run(RUNS_THIS.sub("make --dry-run test", command))
            if code or not printed(expected, output):
                raise PageError(f"line {step.line}: `{command}` ended with {code} and printed:\n{output}")
    finally:
        shell.close()
        if service:
            service.stop()
    return count
