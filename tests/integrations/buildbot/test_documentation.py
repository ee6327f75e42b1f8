"""What docs/sources/buildbot.md shows works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from integrations.buildbot.config import Config
from playground.buildbot import environment_python

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sources" / "buildbot.md").read_text(encoding="utf-8")
BASE = """
from buildbot.plugins import steps, util, worker
c = BuildmasterConfig = {"workers": [worker.Worker("w", "p")], "schedulers": [], "www": {"port": 8010}}
c["protocols"] = {"pb": {"port": 9989}}
c["builders"] = [util.BuilderConfig(name="user-service", workernames=["w"], factory=util.BuildFactory())]
"""


def block(language: str) -> str:
    """The page's example in a language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_section_of_the_configuration_is_valid() -> None:
    """Copied from the page, with its secrets filled in, it passes."""
    text = re.sub(r"\$\{\w+\}", "a-long-secret", block("yaml"))
    section = yaml.safe_load(text)["sources"]["buildbot"]
    assert Config.model_validate(section).project_of("shop (release)") == "shop"


@pytest.mark.buildbot
def test_the_lines_for_master_cfg_are_valid(tmp_path: Path) -> None:
    """Buildbot's own check accepts them beside an ordinary configuration."""
    python = environment_python()
    (tmp_path / "master.cfg").write_text(BASE + block("python"), encoding="utf-8")
    done = subprocess.run(
        [str(python.with_name("buildbot")), "checkconfig", "master.cfg"],
        cwd=tmp_path,
        env={**os.environ, "SHIPMATE_TOKEN": "a-long-token", "SHIPMATE_PASSWORD": "a-password"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
