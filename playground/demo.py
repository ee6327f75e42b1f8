"""What `make demo` runs: the playground, a real Buildbot and Shipmate, each as it is used in earnest, on 127.0.0.1.

Everything is made anew under `.demo/`; only the installed environments and pip's cache stay. Ctrl-C ends it all.
"""

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType

from playground.buildbot import (
    PROJECT_ROOT,
    BuildbotError,
    BuildbotPaths,
    RunningBuildbot,
    create,
    environment_python,
)
from playground.children import Child, start_child
from playground.demo_setup import (
    DemoError,
    Ports,
    Program,
    bot_program,
    greeter_program,
    only_demo_in,
    playground_program,
    prepare,
    prometheus_program,
)
from playground.first_deployment import FirstDeployment
from playground.loopback import NotReachable, fetch
from playground.repository import RepositoryError

READY_S = 60.0
STOP_S = 10.0
POLL_S = 0.1
INSTALL_S = 3.0
NO_PROXY = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
FIRST_COMMIT = "Say hello to new people"


def say(text: str) -> None:
    """Print at once, into a pipe too."""
    print(text, flush=True)


class Stopped(Exception):
    """Ctrl-C or SIGTERM while something is still starting."""


@dataclass(slots=True)
class Demo:
    """Starts everything, watches over it, and ends it when something is put into `stop_asked`.

    A signal handler may do that at any moment, while the main thread waits for it or is about to.
    """

    folder: Path
    ports: Ports
    playground: Program
    bot: Program
    others: Sequence[Program]
    buildbot_python: Path
    say: Callable[[str], None] = say
    stop_asked: SimpleQueue[None] = field(default_factory=SimpleQueue)
    install_s: float = INSTALL_S
    slow_s: float = 30.0
    _children: list[Child] = field(default_factory=list)
    _buildbot: RunningBuildbot | None = None
    _buildbot_error: BuildbotError | OSError | None = None

    def run(self) -> None:
        """Run until asked to stop; DemoError if something cannot start or ends by itself. Nothing is left running."""
        builder = threading.Thread(target=self._start_buildbot, name="buildbot")
        builder.start()
        try:
            self._start(self.playground)
            self._start(self.bot)
            for program in self.others:
                self._start(program)
            while builder.is_alive():
                self._pause()
            self._check()
            self._first_build()
            self.say(self.invitation())
            for _ in FirstDeployment(self.playground_url, self._is_greeter_built).steps():
                self._pause()
                self._check()
            while True:
                self._pause()
                self._check()
        except Stopped:
            self.say("\nStopping …")
        finally:
            self.stop_asked.put(None)
            builder.join()
            self._stop()

    def invitation(self) -> str:
        """What to open, and what to try there."""
        return (
            f"\n  Open  http://127.0.0.1:{self.ports.playground}\n\n"
            "  A push has started a build of user-service, and it will fail. Try:\n"
            "    1. Retry on its card in Slack or in DingTalk: the second build passes\n"
            "    2. /ship run slow-service in #ci, then Cancel on the new card\n"
            "    3. @Shipmate 状态 in the DingTalk group\n"
            "    4. When greeter v1 is deployed: /ship deploy greeter v2 to production in #ci, Confirm,\n"
            "       then 批准 as 张敏 in the DingTalk group, and watch its checks bring v1 back\n\n"
            f"  Logs are in {_short(self.folder / 'logs')}. Ctrl-C ends everything."
        )

    def _start(self, program: Program) -> None:
        started = time.monotonic()
        environment = {**os.environ, **NO_PROXY, "PYTHONUNBUFFERED": "1", **program.environment}
        log = self.folder / "logs" / f"{program.name}.log"
        child = start_child(program.name, program.command, log, environment=environment, folder=self.folder)
        self._children.append(child)
        while program.ready_url and not _answers(program.ready_url):
            self._pause()
            self._check()
            if time.monotonic() - started > READY_S:
                raise DemoError(f"{program.name} is not ready after {READY_S:.0f} s:\n{child.tail()}")
        self._say_ready(program.name, started)

    def _start_buildbot(self) -> None:
        started = time.monotonic()
        paths = BuildbotPaths(self.folder / "buildbot")
        try:
            create(
                paths,
                python=self.buildbot_python,
                bot_url=f"http://127.0.0.1:{self.ports.bot}",
                bot_token=(self.folder / "secrets" / "buildbot-token").read_text("utf-8"),
                admin_password=(self.folder / "secrets" / "buildbot-password").read_text("utf-8"),
                www_port=self.ports.buildbot,
                install_seconds=self.install_s,
                slow_seconds=self.slow_s,
                greeter_url=f"http://127.0.0.1:{self.ports.greeter}",
            )
            buildbot = RunningBuildbot(paths, python=self.buildbot_python)
            buildbot.start(READY_S, is_wanted=self.stop_asked.empty)
        except (BuildbotError, OSError) as error:
            self._buildbot_error = error
            return
        self._buildbot = buildbot
        self._say_ready("buildbot", started)

    def _first_build(self) -> None:
        repository = BuildbotPaths(self.folder / "buildbot").repository
        try:
            repository.push(FIRST_COMMIT)
            for version in ("v1", "v2"):
                repository.release(version)
        except RepositoryError as error:
            raise DemoError(str(error)) from error

    def _is_greeter_built(self) -> bool:
        assert self._buildbot is not None  # `_check` saw to that
        built = self._buildbot.read("builders/greeter/builds?results=0&limit=2")["builds"]
        return len(built) == 2

    @property
    def playground_url(self) -> str:
        """Where the chat stand-ins are."""
        return f"http://127.0.0.1:{self.ports.playground}"

    def _pause(self) -> None:
        with suppress(Empty):
            self.stop_asked.get(timeout=POLL_S)
            raise Stopped

    def _check(self) -> None:
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                raise DemoError(f"{child.name} ended by itself with {code}. Its last lines:\n{child.tail()}")
        if self._buildbot_error is not None:
            raise DemoError(f"Buildbot: {self._buildbot_error}")
        if self._buildbot is not None:
            try:
                self._buildbot.check()
            except BuildbotError as error:
                raise DemoError(f"Buildbot: {error}") from error

    def _stop(self) -> None:
        deadline = time.monotonic() + STOP_S
        for child in self._children[1:]:
            child.process.terminate()
        if self._buildbot is not None:
            self._buildbot.stop(STOP_S)
        # The playground goes last: the bot says goodbye to it.
        for child in reversed(self._children):
            child.stop(deadline)

    def _say_ready(self, name: str, started: float) -> None:
        self.say(f"  {name:<11} ready after {time.monotonic() - started:.1f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo until Ctrl-C; 0 then, 1 with a sentence when something is wrong."""
    options = _parser().parse_args(arguments)
    ports = Ports(**{name: getattr(options, f"{name}_port") for name in asdict(Ports())})
    folder: Path = options.folder.resolve()
    try:
        with only_demo_in(folder):
            ports.check()
            if shutil.which("git") is None:
                raise DemoError("git is missing. On Debian and Ubuntu: apt install git")
            buildbot_python = environment_python(folder / "buildbot-env")
            prepare(folder, ports)
            bot = bot_program(ports, folder / "shipmate.yaml")
            others = [greeter_program(ports, BuildbotPaths(folder / "buildbot").greeter)]
            if shutil.which("prometheus") is not None:
                others.append(prometheus_program(ports, folder / "prometheus"))
            demo = Demo(folder, ports, playground_program(ports), bot, others, buildbot_python)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, _asking_to_stop(demo))
            say("Starting Shipmate's demo")
            demo.run()
    except (DemoError, BuildbotError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    say("Everything has ended.")
    return 0


def _asking_to_stop(demo: Demo) -> Callable[[int, FrameType | None], None]:
    def ask(_number: int, _frame: FrameType | None) -> None:
        demo.stop_asked.put(None)

    return ask


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m playground.demo", description=__doc__)
    for name, port in asdict(Ports()).items():
        variable = f"{name.upper()}_PORT"
        parser.add_argument(
            f"--{name}-port",
            type=int,
            default=os.environ.get(variable, str(port)),
            help=f"where {name} listens; {port}, or the environment's {variable}",
        )
    parser.add_argument("--folder", type=Path, default=PROJECT_ROOT / ".demo", help="where everything is made; .demo")
    return parser


def _answers(url: str) -> bool:
    try:
        fetch(url, timeout_s=1.0)
    except NotReachable:
        return False
    return True


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
