"""What the demo needs before it starts: free ports, a folder with configuration and secrets, programs to run."""

import fcntl
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playground import world
from playground.buildbot import PROJECT_ROOT
from playground.loopback import is_port_free
from playground.repository import SAMPLE

MADE_ANEW = ("buildbot", "logs", "secrets", "var", "shipmate.yaml")
CARD_TEMPLATE = PROJECT_ROOT / "integrations" / "dingtalk" / "card_template.json"


class DemoError(Exception):
    """The demo cannot start or go on; the text is for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the three servers listen; each has a variable of `make demo` and of the environment."""

    playground: int = 8800
    bot: int = 3000
    buildbot: int = 8010

    def check(self) -> None:
        """Raise DemoError, naming the variable that changes it, for a port that is taken or given twice."""
        chosen = {"PLAYGROUND_PORT": self.playground, "BOT_PORT": self.bot, "BUILDBOT_PORT": self.buildbot}
        if len(set(chosen.values())) < len(chosen):
            raise DemoError("The three ports must differ: " + ", ".join(f"{k}={v}" for k, v in chosen.items()))
        for variable, port in chosen.items():
            if not is_port_free(port):
                raise DemoError(
                    f"Port {port} is taken by another program. Choose a free one: make demo {variable}={port + 1}"
                )

    def put_into(self, configuration: str) -> str:
        """Replace the usual ports in `configuration` by these."""
        chosen = {"8800": self.playground, "3000": self.bot, "8010": self.buildbot}
        return re.sub(r"(?<=127\.0\.0\.1:)(8800|3000|8010)\b", lambda usual: str(chosen[usual[1]]), configuration)


@dataclass(frozen=True, slots=True)
class Program:
    """One of ours to be started: it is ready when `ready_url` answers."""

    name: str
    command: Sequence[str | Path]
    ready_url: str
    environment: Mapping[str, str]


def playground_program(ports: Ports) -> Program:
    """The chat stand-ins and their page."""
    url = f"http://127.0.0.1:{ports.playground}"
    command = [sys.executable, "-m", "playground", "--port", str(ports.playground)]
    command += ["--bot-url", f"http://127.0.0.1:{ports.bot}"]
    command += ["--dingtalk-template", f"{world.DINGTALK_TEMPLATE}={CARD_TEMPLATE}"]
    return Program("playground", command, f"{url}/api/state", {})


def bot_program(ports: Ports, configuration: Path) -> Program:
    """Shipmate, started as everybody starts it."""
    command = [sys.executable, "-m", "bot", "run", "--config", str(configuration)]
    robot = f"http://127.0.0.1:{ports.playground}/dingtalk/oapi/robot/send?access_token={world.DINGTALK_ROBOT_TOKEN}"
    environment = {
        "SLACK_BOT_TOKEN": world.SLACK_BOT_TOKEN,
        "SLACK_APP_TOKEN": world.SLACK_APP_TOKEN,
        "DINGTALK_CLIENT_ID": world.DINGTALK_CLIENT_ID,
        "DINGTALK_CLIENT_SECRET": world.DINGTALK_CLIENT_SECRET,
        "DINGTALK_ROBOT_URL": robot,
        "DINGTALK_ROBOT_SECRET": world.DINGTALK_ROBOT_SECRET,
    }
    return Program("shipmate", command, f"http://127.0.0.1:{ports.bot}/readyz", environment)


@contextmanager
def only_demo_in(folder: Path) -> Iterator[None]:
    """Hold `folder` for this demo; DemoError if another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"A demo is already running from {folder}. End it with Ctrl-C first.") from None
        yield


def prepare(folder: Path, ports: Ports) -> None:
    """Take away what an earlier demo left in `folder`, and write the configuration and its secrets."""
    for name in MADE_ANEW:
        made = folder / name
        if made.is_dir():
            shutil.rmtree(made)
        else:
            made.unlink(missing_ok=True)
    (folder / "secrets").mkdir(mode=0o700)
    for name in ("buildbot-token", "buildbot-password"):
        secret = folder / "secrets" / name
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(24), "utf-8")
    configuration = ports.put_into((SAMPLE / "shipmate.yaml").read_text("utf-8"))
    (folder / "shipmate.yaml").write_text(configuration, "utf-8")
