"""What the demo needs before it starts: free ports, a folder with configuration and secrets, programs to run."""

import fcntl
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from playground import world
from playground.buildbot import PROJECT_ROOT
from playground.loopback import is_port_free
from playground.repository import SAMPLE

MADE_ANEW = ("buildbot", "logs", "prometheus", "secrets", "var", "shipmate.yaml")
NEEDS_PROMETHEUS = "# needs Prometheus"
CARD_TEMPLATE = PROJECT_ROOT / "integrations" / "dingtalk" / "card_template.json"


class DemoError(Exception):
    """The demo cannot start or go on; the text is for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the servers listen; each has a variable of `make demo` and of the environment."""

    playground: int = 8800
    bot: int = 3000
    buildbot: int = 8010
    greeter: int = 8020
    prometheus: int = 9090

    def check(self) -> None:
        """Raise DemoError, naming the variable that changes it, for a port that is taken or given twice."""
        chosen = {f"{name.upper()}_PORT": port for name, port in asdict(self).items()}
        if len(set(chosen.values())) < len(chosen):
            raise DemoError("The ports must differ: " + ", ".join(f"{k}={v}" for k, v in chosen.items()))
        for variable, port in chosen.items():
            if not is_port_free(port):
                raise DemoError(
                    f"Port {port} is taken by another program. Choose a free one: make demo {variable}={port + 1}"
                )

    def put_into(self, configuration: str) -> str:
        """Replace the usual ports in `configuration` by these."""
        chosen = {str(usual): port for usual, port in zip(astuple(Ports()), astuple(self), strict=True)}
        usual = "|".join(chosen)
        return re.sub(rf"(?<=127\.0\.0\.1:)({usual})\b", lambda found: str(chosen[found[1]]), configuration)


@dataclass(frozen=True, slots=True)
class Program:
    """One to be started: it is ready when `ready_url` answers, at once where there is none."""

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


def greeter_program(ports: Ports, folder: Path) -> Program:
    """The host that the greeter is deployed to; it answers when something was."""
    command = [sys.executable, "-m", "playground.greeter_host", str(folder), "--port", str(ports.greeter)]
    return Program("greeter", command, "", {})


def prometheus_program(ports: Ports, folder: Path) -> Program:
    """A Prometheus that scrapes the greeter every second."""
    folder.mkdir()
    targets = f"{{targets: ['127.0.0.1:{ports.greeter}']}}"
    jobs = f"scrape_configs: [{{job_name: greeter, scrape_interval: 1s, static_configs: [{targets}]}}]\n"
    (folder / "prometheus.yml").write_text(jobs, "utf-8")
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{ports.prometheus}", "--log.level=warn"]
    return Program("prometheus", command, f"http://127.0.0.1:{ports.prometheus}/-/ready", {})


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
    configuration = sample_configuration(ports, has_prometheus=shutil.which("prometheus") is not None)
    (folder / "shipmate.yaml").write_text(configuration, "utf-8")


def sample_configuration(ports: Ports, *, has_prometheus: bool) -> str:
    """The sample's shipmate.yaml on these ports, without what asks Prometheus where there is none."""
    lines = (SAMPLE / "shipmate.yaml").read_text("utf-8").splitlines(keepends=True)
    kept = (line for line in lines if has_prometheus or not line.rstrip().endswith(NEEDS_PROMETHEUS))
    return ports.put_into("".join(kept))
