"""A disk that is full: nothing is accepted that is not stored, and all goes on by itself when there is room again.

It is SQLite's disk; that of a PostgreSQL server is no process's of ours, and what the server says when it is full is
met in tests/storage/test_store.py.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.faults.proxy import Kind, fault
from tests.faults.scene import POST, Faulty, faulty_scene
from tests.needs import lacking
from tests.scenarios.running import CI, DEV_GROUP, fresh
from tests.waiting import wait_until

SIZE = "6m"
MOUNT = 'mkdir -p var && mount -t tmpfs -o size="$0" tmpfs var && exec "$@"'
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]


def on_a_small_disk(command: list[str]) -> list[str]:
    """The bot's command line, with its database on a file system of a few MiB that only it sees."""
    return [*UNSHARE, "sh", "-c", MOUNT, SIZE, *command]


def with_a_log_that_is_full(command: list[str]) -> list[str]:
    """The bot's command line, with its log on a device that is always full."""
    return ["sh", "-c", 'exec "$@" > /dev/full 2>&1', "sh", *command]


@contextmanager
def full_disk(faulty: Faulty) -> Iterator[None]:
    """Fill up the file system that the database lies on."""
    assert faulty.scene.bot.child is not None
    seen = Path(f"/proc/{faulty.scene.bot.child.process.pid}/root{faulty.scene.bot.folder}/var")
    filler = seen / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    try:
        yield
    finally:
        filler.unlink(missing_ok=True)  # a bot that was stopped meanwhile has taken the file system with it


@contextmanager
def quota(faulty: Faulty) -> Iterator[None]:
    """Let no file of the bot's grow any more: what the system refuses then has another number than a full disk has."""
    assert faulty.scene.bot.child is not None
    pid = faulty.scene.bot.child.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


FILLING = {"disk": (full_disk, on_a_small_disk), "quota": (quota, with_a_log_that_is_full)}


@pytest.mark.parametrize("way", FILLING)
def test_a_full_disk_loses_nothing_that_was_accepted(way: str, tmp_path: Path) -> None:
    """The door answers 503 and when to come again, people are told; with room again the same bot takes everything."""
    fill, wrapped = FILLING[way]
    if way == "disk" and not _can_mount():
        lacking("needs to mount a small file system: unshare (util-linux), and user namespaces that are allowed")
    with faulty_scene(tmp_path, wrapped=wrapped) as faulty:
        scene, project = faulty.scene, fresh("web")
        assert scene.tell(project, 1, "started").status_code == 202
        opened = [scene.card(channel, f"{project} #1")["id"] for channel in (CI, DEV_GROUP)]
        with fill(faulty):
            accepted = {number for number in range(2, 12) if scene.tell(project, number, "started").ok}
            refused = scene.tell(project, 1, "finished", status="success")
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
            assert "could not store" in str(scene.say(CI, f"/ship mute {project}"))
        assert scene.tell(project, 1, "finished", status="success").status_code == 202
        ended = [scene.card(channel, f"{project} #1", "✅")["id"] for channel in (CI, DEV_GROUP)]
        assert ended == opened
        for number in accepted:
            scene.card(CI, f"{project} #{number}")
        scene.ask(CI, f"/ship mute {project}", "🔕")


@pytest.mark.parametrize("way", FILLING)
def test_a_disk_that_is_full_when_a_card_was_posted_costs_moments(way: str, tmp_path: Path) -> None:
    """It is recorded once there is room, and nobody has to ask for it; a bot that is stopped does not wait so long."""
    fill, wrapped = FILLING[way]
    if way == "disk" and not _can_mount():
        lacking("needs to mount a small file system: unshare (util-linux), and user namespaces that are allowed")
    with faulty_scene(tmp_path, wrapped=wrapped) as faulty:
        scene, project, last = faulty.scene, fresh("web"), fresh("web")
        with unrecorded(faulty, project, fill):
            pass
        assert scene.tell(project, 1, "finished", status="success").status_code == 202
        scene.card(CI, f"{project} #1", "✅")
        assert len(faulty.posts(project)) == 1
        assert not scene.calls("conversations.history")  # as who takes over at the end of a lease would have done
        with unrecorded(faulty, last, fill):
            scene.bot.stop()


@contextmanager
def unrecorded(faulty: Faulty, project: str, fill: Callable[[Faulty], AbstractContextManager[None]]) -> Iterator[None]:
    """Let the disk be full when Slack has posted a build's card, before that is recorded."""
    held = fault(Kind.HOLD_ANSWER, POST, project, times=1)
    faulty.chat.breaks(held)
    assert faulty.scene.tell(project, 1, "started").status_code == 202
    wait_until(lambda: faulty.posts(project), "the card to be posted")
    with fill(faulty):
        faulty.heal()
        wait_until(lambda: _waiting(faulty) > 0, "its record to be refused")
        yield


def _waiting(faulty: Faulty) -> float:
    """How much waits to be recorded, as the bot tells its operator."""
    told = requests.get(f"{faulty.scene.bot.url}/metrics", timeout=30).text
    return float(told.partition("\nshipmate_unrecorded ")[2].partition("\n")[0])


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return subprocess.run(tried, check=False, capture_output=True, timeout=30).returncode == 0
