"""Tests that cannot run say so: a skip where somebody develops, a failure where a machine judges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import needs


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with neither Chromium nor Buildbot, PostgreSQL or Prometheus."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(needs, "DEBIAN_POSTGRES", tmp_path)
    monkeypatch.setattr("playground.buildbot.environment_python.__defaults__", (tmp_path,))


@pytest.mark.parametrize(
    ("mark", "remedy"),
    [
        ("browser", "apt install chromium"),
        ("buildbot", "make buildbot"),
        ("postgres", "apt install postgresql"),
        ("prometheus", "apt install prometheus"),
    ],
)
@pytest.mark.usefixtures("bare_machine")
def test_what_is_missing_is_named(mark: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's test is skipped with the words that install what it needs; with CI set it fails with them."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=remedy):
        needs.MARKS[mark]()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=remedy):
        needs.MARKS[mark]()
