"""What some tests need of the machine. Where it is missing they are skipped, and fail where CI is set."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from playground.buildbot import BuildbotError, environment_python


def lacking(what: str) -> NoReturn:
    """End a test that cannot run here; `what` says how to get what it needs."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def chromium() -> str:
    """The path of the system's Chromium."""
    return shutil.which("chromium") or lacking("needs Chromium: apt install chromium (Debian, Ubuntu)")


def buildbot() -> None:
    """Buildbot in an environment of its own."""
    try:
        environment_python()
    except BuildbotError as missing:
        lacking(str(missing))


DEBIAN_POSTGRES = Path("/usr/lib/postgresql")


def postgres_binaries() -> Path:
    """The folder of PostgreSQL's programs, of the newest version where Debian has several."""
    found = [path.parent for path in sorted(DEBIAN_POSTGRES.glob("*/bin/initdb"), key=_version_of)]
    on_path = shutil.which("initdb")
    folders = [*([Path(on_path).resolve().parent] if on_path else []), *reversed(found)]
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "postgres", "pg_ctl", "pg_isready")):
            return folder
    lacking("needs PostgreSQL: apt install postgresql (Debian, Ubuntu)")


def _version_of(program: Path) -> int:
    version = program.parent.parent.name
    return int(version) if version.isdigit() else 0


def prometheus() -> tuple[Path, Path]:
    """The programs prometheus and promtool."""
    found = [shutil.which(name) for name in ("prometheus", "promtool")]
    if not all(found):
        lacking("needs Prometheus: apt install prometheus (Debian, Ubuntu)")
    server, tool = (Path(path or "") for path in found)
    return server, tool


MARKS: Mapping[str, Callable[[], object]] = {
    "browser": chromium,
    "buildbot": buildbot,
    "postgres": postgres_binaries,
    "prometheus": prometheus,
}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for what a test's marks say it needs, before its fixtures do."""
    for mark, find in MARKS.items():
        if item.get_closest_marker(mark):
            find()
