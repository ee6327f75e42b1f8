"""Making, starting and stopping Buildbot."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.buildbot import BuildbotError, BuildbotPaths, RunningBuildbot, create, environment_python
from playground.loopback import NotReachable, is_listening
from tests.buildbot_server import wait_for


@pytest.fixture
def own_buildbot(tmp_path: Path) -> Iterator[RunningBuildbot]:
    """A made, not yet started Buildbot of this test's own, in a folder with a blank in its name."""
    python = environment_python()
    paths = BuildbotPaths(tmp_path / "a folder")
    create(paths, python=python, install_seconds=1)
    buildbot = RunningBuildbot(paths, python=python)
    yield buildbot
    buildbot.stop()


def processes_below(folder: Path) -> list[str]:
    """Return the command lines of running processes whose current folder is inside `folder` (Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_a_missing_environment_is_said_with_its_remedy(tmp_path: Path) -> None:
    """Without Buildbot's environment the error names the command that installs it."""
    with pytest.raises(BuildbotError, match="make buildbot"):
        environment_python(tmp_path)


@pytest.mark.buildbot
def test_secrets_are_readable_by_the_owner_only(own_buildbot: RunningBuildbot) -> None:
    """The folder is closed to others, and so is the file with the passwords."""
    assert own_buildbot.paths.root.stat().st_mode & 0o077 == 0
    assert own_buildbot.paths.settings.stat().st_mode & 0o077 == 0


@pytest.mark.buildbot
def test_it_starts_with_its_worker_and_ends_without_a_trace(own_buildbot: RunningBuildbot) -> None:
    """Once it has started its worker is attached; a running step is ended with the rest."""
    own_buildbot.start()
    [worker] = own_buildbot.read("workers")["workers"]
    assert worker["connected_to"]
    own_buildbot.paths.repository.push("Greet people")
    wait_for(
        lambda: any("tools.stage" in line for line in processes_below(own_buildbot.paths.worker)), "a running step"
    )
    own_buildbot.stop()
    assert not is_listening(own_buildbot.settings.www_port)
    assert processes_below(own_buildbot.paths.root) == []
    with pytest.raises(NotReachable):
        own_buildbot.read("workers")


@pytest.mark.buildbot
def test_builds_are_kept_over_a_restart(own_buildbot: RunningBuildbot) -> None:
    """Stopped and started again, Buildbot still knows its builds."""
    own_buildbot.start()
    own_buildbot.paths.repository.push("Greet people")
    wait_for(lambda: own_buildbot.read("builds?complete=true")["builds"], "a finished build")
    own_buildbot.stop()
    own_buildbot.start()
    assert [build["number"] for build in own_buildbot.read("builds")["builds"]] == [1]


@pytest.mark.buildbot
def test_a_dead_worker_is_noticed(own_buildbot: RunningBuildbot) -> None:
    """A child that ended is named, with the end of its log."""
    own_buildbot.start()
    [worker] = [pid for pid in _children_of(os.getpid()) if str(own_buildbot.paths.worker) in _command(pid)]
    os.kill(worker, signal.SIGKILL)

    def noticed() -> str:
        try:
            own_buildbot.check()
        except BuildbotError as error:
            return str(error)
        return ""

    assert wait_for(noticed, "the error").startswith("buildbot-worker ended with -9")


@pytest.mark.buildbot
def test_a_broken_configuration_is_shown(own_buildbot: RunningBuildbot) -> None:
    """Where the master cannot start, the error shows the end of its log, and nothing keeps running."""
    (own_buildbot.paths.master / "master.cfg").write_text("raise RuntimeError('no such builder')\n")
    with pytest.raises(BuildbotError, match="no such builder"):
        own_buildbot.start()
    assert processes_below(own_buildbot.paths.root) == []


@pytest.mark.buildbot
def test_a_start_that_nobody_wants_any_more_is_given_up(own_buildbot: RunningBuildbot) -> None:
    """Ctrl-C during the start ends the half-started Buildbot."""
    with pytest.raises(BuildbotError, match="stopped while starting"):
        own_buildbot.start(is_wanted=lambda: False)
    assert processes_below(own_buildbot.paths.root) == []


def _children_of(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for tasks in children for pid in tasks.read_text().split()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
