"""Makes and runs a real Buildbot, master and one worker, that builds the sample project, for the demo and the tests.

Everything lives under one folder and listens on 127.0.0.1 only. Buildbot has a virtual environment of its own
(`make buildbot`), because its dependencies are no business of the bot's.
"""

import json
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playground.children import Child, start_child
from playground.loopback import NotReachable, fetch, free_port, is_listening
from playground.repository import SAMPLE, RepositoryError, SampleRepository, git_environment

PROJECT_ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = PROJECT_ROOT / ".demo" / "buildbot-env"
ADMIN = "admin"
POLL_S = 0.05
STOP_S = 10.0


class BuildbotError(Exception):
    """Buildbot is not installed, could not be made, or died; the text says which and shows the end of its log."""


@dataclass(frozen=True, slots=True)
class BuildbotPaths:
    """Where the parts of one Buildbot are, below `root`."""

    root: Path

    @property
    def master(self) -> Path:
        """The master's folder, with its database and twistd.log."""
        return self.root / "master"

    @property
    def worker(self) -> Path:
        """The worker's folder, with the checkouts it builds in."""
        return self.root / "worker"

    @property
    def settings(self) -> Path:
        """What master.cfg and the repository's hook read; holds the secrets, mode 0600."""
        return self.master / "settings.json"

    @property
    def profile_cache(self) -> Path:
        """The file whose absence fails one test of user-service, once."""
        return self.root / "state" / "profile-cache.json"

    @property
    def greeter(self) -> Path:
        """What the greeter's host runs from."""
        return self.root / "greeter"

    @property
    def logs(self) -> Path:
        """What both processes print; their own logs are the twistd.log files."""
        return self.root / "logs"

    @property
    def repository(self) -> SampleRepository:
        """The sample project's repository."""
        return SampleRepository(bare=self.root / "sample.git", checkout=self.root / "sample")


@dataclass(frozen=True, slots=True)
class BuildbotSettings:
    """What settings.json holds. `bot_url` without a slash at its end, empty for no webhook; durations in seconds."""

    bot_url: str
    bot_token: str
    www_port: int
    www_url: str
    pb_port: int
    admin_password: str
    worker_password: str
    hook_password: str
    repository: str
    profile_cache: str
    python: str
    install_seconds: float
    slow_seconds: float
    greeter_folder: str
    greeter_url: str


def environment_python(environment: Path = ENVIRONMENT) -> Path:
    """Return the Python that has Buildbot; BuildbotError says how to install it."""
    python = environment / "bin" / "python"
    if not (python.exists() and (environment / "bin" / "buildbot").exists()):
        raise BuildbotError("Buildbot is not installed for the demo and the tests: run `make buildbot`")
    return python


def create(  # noqa: PLR0913 - each one is a setting of the Buildbot to be made
    paths: BuildbotPaths,
    *,
    python: Path,
    bot_url: str = "",
    bot_token: str = "",
    admin_password: str | None = None,
    www_port: int | None = None,
    pb_port: int | None = None,
    install_seconds: float = 0.0,
    slow_seconds: float = 30.0,
    greeter_url: str = "http://127.0.0.1:8020",
) -> BuildbotSettings:
    """Make master, worker and repository anew under `paths.root`, and return the settings with their new secrets.

    `python` is `environment_python()`'s; a port of None is a free one, a password of None a new one; the durations are
    those of user-service's install step and of slow-service as a whole; `greeter_url` is where the greeter answers once
    it is deployed. Raises BuildbotError.
    """
    shutil.rmtree(paths.root, ignore_errors=True)
    paths.root.mkdir(parents=True, mode=0o700)
    paths.logs.mkdir()
    www_port = www_port or free_port()
    settings = BuildbotSettings(
        bot_url=bot_url.rstrip("/"),
        bot_token=bot_token,
        www_port=www_port,
        www_url=f"http://127.0.0.1:{www_port}/",
        pb_port=pb_port or free_port(),
        admin_password=admin_password or secrets.token_urlsafe(18),
        worker_password=secrets.token_urlsafe(18),
        hook_password=secrets.token_urlsafe(18),
        repository=str(paths.repository.bare),
        profile_cache=str(paths.profile_cache),
        python=str(python),
        install_seconds=install_seconds,
        slow_seconds=slow_seconds,
        greeter_folder=str(paths.greeter),
        greeter_url=greeter_url,
    )
    making = _start_making(paths, settings)
    try:
        paths.repository.create()
    except RepositoryError as error:
        raise BuildbotError(str(error)) from error
    finally:
        for child in making:
            child.process.wait()
    for child in making:
        if child.process.returncode:
            raise _ended(child)
    paths.settings.touch(mode=0o600)
    paths.settings.write_text(json.dumps(asdict(settings), indent=2), "utf-8")
    shutil.copy(SAMPLE / "master.cfg", paths.master / "master.cfg")
    paths.repository.install_hook(python, paths.settings)
    return settings


def _start_making(paths: BuildbotPaths, settings: BuildbotSettings) -> list[Child]:
    scripts = Path(settings.python).parent
    worker = [str(paths.worker), f"127.0.0.1:{settings.pb_port}", "sample-worker", settings.worker_password]
    return [
        _start(paths, "create-master", [scripts / "buildbot", "create-master", "--quiet", paths.master]),
        _start(paths, "create-worker", [scripts / "buildbot-worker", "create-worker", "--quiet", *worker]),
    ]


class RunningBuildbot:
    """Master and worker as child processes in the foreground, made before by `create`."""

    def __init__(self, paths: BuildbotPaths, *, python: Path) -> None:
        self.paths = paths
        self.settings = BuildbotSettings(**json.loads(paths.settings.read_text("utf-8")))
        self.url = self.settings.www_url
        self._scripts = python.parent
        self._children: list[Child] = []

    def start(self, timeout_s: float = 60.0, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Start both and return when the worker is attached.

        BuildbotError if that fails, takes too long, or is not wanted any more; nothing runs then.
        """
        deadline = time.monotonic() + timeout_s
        try:
            self._launch("buildbot", self.paths.master)
            # A worker that finds no master waits for seconds before it tries again.
            self._wait(lambda: is_listening(self.settings.pb_port), is_wanted, deadline, "the master does not listen")
            self._launch("buildbot-worker", self.paths.worker)
            self._wait(self._is_worker_attached, is_wanted, deadline, "the worker is not attached")
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout_s: float = STOP_S) -> None:
        """End both with SIGTERM, after `timeout_s` with SIGKILL; the master first, since it ends the steps that run."""
        deadline = time.monotonic() + timeout_s
        for child in self._children:
            child.stop(deadline)
        self._children.clear()

    def check(self) -> None:
        """Raise BuildbotError if one of the two has ended."""
        for child in self._children:
            if child.process.poll() is not None:
                raise _ended(child)

    def read(self, path: str) -> dict[str, Any]:
        """Return the answer of Buildbot's API to `path`, such as `builds?order=-buildid`; NotReachable otherwise."""
        address = f"{self.url}api/v2/{path}"
        try:
            body = fetch(address)
        except NotReachable:  # Buildbot loses an answer's body now and then: github.com/buildbot/buildbot/issues/9065
            body = fetch(address)
        content: dict[str, Any] = json.loads(body)
        return content

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, script: str, folder: Path) -> None:
        command: list[str | Path] = [self._scripts / script, "start", "--nodaemon", folder]
        self._children.append(_start(self.paths, script, command, own_log=folder / "twistd.log"))

    def _wait(
        self, is_reached: Callable[[], bool], is_wanted: Callable[[], bool], deadline: float, complaint: str
    ) -> None:
        while not is_reached():
            self.check()
            if not is_wanted():
                raise BuildbotError("stopped while starting")
            if time.monotonic() > deadline:
                raise BuildbotError(f"{complaint}:\n{self._children[-1].tail()}")
            time.sleep(POLL_S)

    def _is_worker_attached(self) -> bool:
        try:
            workers = self.read("workers")["workers"]
        except NotReachable:
            return False
        return any(worker["connected_to"] for worker in workers)


def _start(paths: BuildbotPaths, name: str, command: Sequence[str | Path], own_log: Path | None = None) -> Child:
    # The warnings are of Buildbot's dependencies and tell its reader nothing.
    environment = git_environment() | {"PYTHONWARNINGS": "ignore"}
    return start_child(name, command, paths.logs / f"{name}.log", environment=environment, own_log=own_log)


def _ended(child: Child) -> BuildbotError:
    return BuildbotError(f"{child.name} ended with {child.process.returncode}:\n{child.tail()}")
