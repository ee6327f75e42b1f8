"""What some tests need of the machine. Where it is missing they are skipped, and fail where CI is set."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
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


MARKS: Mapping[str, Callable[[], object]] = {"browser": chromium, "buildbot": buildbot}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`, let one test process run all that need Buildbot, so that one is started."""
    for item in items:
        if item.get_closest_marker("buildbot"):
            item.add_marker(pytest.mark.xdist_group("buildbot"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for what a test's marks say it needs, before its fixtures do."""
    for mark, find in MARKS.items():
        if item.get_closest_marker(mark):
            find()
