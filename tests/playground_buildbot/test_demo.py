"""`make demo`: its ports, its files, and that it ends without a trace. Stand-ins replace the bot and the playground."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from playground.buildbot import ENVIRONMENT, PROJECT_ROOT, environment_python
from playground.demo import Demo, main
from playground.demo_setup import DemoError, Ports, Program, only_demo_in, prepare
from playground.loopback import free_port, is_listening
from tests.buildbot_server import wait_for

STAND_IN = Path(__file__).with_name("stand_in.py")


NAMES = tuple(field.name for field in fields(Ports))


def stand_in(name: str, port: int, kept: Path, *options: str) -> Program:
    """Return a program that stands in for one of ours."""
    command = [sys.executable, str(STAND_IN), str(port), str(kept), *options]
    return Program(name, command, f"http://127.0.0.1:{port}/readyz", {})


def demo_in(folder: Path, *bot_options: str) -> tuple[Demo, list[str]]:
    """Return a demo with stand-ins and quick builds, and the list of what it says."""
    ports = Ports(*(free_port() for _ in NAMES))
    prepare(folder, ports)
    said: list[str] = []
    demo = Demo(
        folder,
        ports,
        stand_in("playground", ports.playground, folder / "calls"),
        stand_in("shipmate", ports.bot, folder / "pushes", *bot_options),
        (),
        environment_python(),
        say=said.append,
        install_s=0,
    )
    return demo, said


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("variable", "option"),
    [
        ("PLAYGROUND_PORT", "--playground-port"),
        ("BOT_PORT", "--bot-port"),
        ("BUILDBOT_PORT", "--buildbot-port"),
        ("GREETER_PORT", "--greeter-port"),
        ("PROMETHEUS_PORT", "--prometheus-port"),
    ],
)
def test_a_taken_port_is_said_with_the_variable_that_changes_it(
    variable: str, option: str, taken_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The person reads which port is taken and what to type instead; nothing was started."""
    ports = {f"--{name}-port": free_port() for name in NAMES}
    ports[option] = taken_port
    arguments = [word for name, port in ports.items() for word in (name, str(port))]
    assert main([*arguments, "--folder", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert f"Port {taken_port} is taken" in printed.err
    assert f"make demo {variable}=" in printed.err
    assert printed.out == ""


def test_one_port_for_two_servers_is_refused() -> None:
    """Three servers need three ports."""
    with pytest.raises(DemoError, match="must differ"):
        Ports(playground=9000, bot=9000).check()


def test_the_ports_reach_the_configuration() -> None:
    """Other ports are put into every address of the configuration, and into nothing else."""
    text = "listen: 127.0.0.1:3000\nurl: http://127.0.0.1:8800/slack/api/\nother: http://127.0.0.1:8010\nid: 3000\n"
    assert Ports(1001, 1002, 1003).put_into(text) == (
        "listen: 127.0.0.1:1002\nurl: http://127.0.0.1:1001/slack/api/\nother: http://127.0.0.1:1003\nid: 3000\n"
    )


def test_a_second_demo_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """A running demo's files are not taken away by a second one."""
    with only_demo_in(tmp_path), pytest.raises(DemoError, match="already running"), only_demo_in(tmp_path):
        pytest.fail("a second demo was let in")


def test_everything_but_the_environments_is_made_anew(tmp_path: Path) -> None:
    """Databases and secrets of an earlier demo go; what was installed and pip's cache stay."""
    for name in ("var", "logs", "buildbot", "pip-cache", "buildbot-env"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").touch()
    prepare(tmp_path, Ports())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["buildbot-env", "pip-cache", "secrets", "shipmate.yaml"]
    secrets = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()}
    assert secrets == {"buildbot-password": 0o600, "buildbot-token": 0o600}


def test_a_missing_buildbot_is_said_with_its_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without Buildbot's environment the demo names the command that installs it."""
    ports = [f"--{name}-port={free_port()}" for name in ("playground", "bot", "buildbot")]
    assert main([*ports, f"--folder={tmp_path}"]) == 1
    assert "make buildbot" in capsys.readouterr().err


@pytest.mark.buildbot
def test_the_first_build_fails_before_the_eyes_of_the_bot(tmp_path: Path) -> None:
    """Once all are ready, a push by Alice is built and fails, and the bot hears of both ends."""
    demo, said = demo_in(tmp_path)
    running = threading.Thread(target=demo.run)
    running.start()
    try:
        wait_for(lambda: len(_told(tmp_path / "pushes", "user-service")) == 2, "two pushes")
    finally:
        demo.stop_asked.put(None)
        running.join()
    started, ended = _told(tmp_path / "pushes", "user-service")
    assert (started["results"], ended["results"]) == (None, 2)
    assert ended["properties"]["owners"][0] == ["Alice <alice@example.com>"]
    assert f"http://127.0.0.1:{demo.ports.playground}" in "\n".join(said)
    for port in (demo.ports.playground, demo.ports.bot, demo.ports.buildbot):
        assert not is_listening(port)


def _told(pushes: Path, builder: str) -> list[dict[str, Any]]:
    """What the bot was told of a builder's builds, in order."""
    lines = pushes.read_text("utf-8").splitlines(keepends=True) if pushes.exists() else []
    builds = [json.loads(line) for line in lines if line.endswith("\n")]
    return [build for build in builds if build["builder"]["name"] == builder]


@pytest.mark.buildbot
def test_a_child_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    """When the bot ends by itself, the demo says so and ends the others."""
    demo, _ = demo_in(tmp_path, "--die")
    with pytest.raises(DemoError, match=r"(?s)shipmate ended by itself with 3\..*out of tea"):
        demo.run()
    for port in (demo.ports.playground, demo.ports.bot, demo.ports.buildbot):
        assert not is_listening(port)


@pytest.mark.buildbot
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["while starting", "while running"])
def test_a_signal_ends_everything(number: signal.Signals, when: str, tmp_path: Path) -> None:
    """Ctrl-C, `kill` and a closed terminal end all processes, with success, whenever they come."""
    (tmp_path / "buildbot-env").symlink_to(ENVIRONMENT)
    ports = [free_port() for _ in NAMES]
    command = [sys.executable, "-c", _driver(tmp_path)]
    command += [f"--{name}-port={port}" for name, port in zip(NAMES, ports, strict=True)]
    command += [f"--folder={tmp_path}"]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        try:
            assert process.stdout is not None
            marker = "Starting" if when == "while starting" else "Ctrl-C"
            for line in process.stdout:
                if marker in line:
                    break
            os.kill(process.pid, number)
            rest = process.stdout.read()
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert rest.endswith("Everything has ended.\n")
    assert not [port for port in ports if is_listening(port)]


def _driver(folder: Path) -> str:
    return f"""
import sys
from pathlib import Path
from playground import demo, demo_setup

def program(name):
    def build(ports, *_):
        port = getattr(ports, name)
        command = [sys.executable, {str(STAND_IN)!r}, str(port), {str(folder / "kept")!r}]
        return demo_setup.Program(name, command, f"http://127.0.0.1:{{port}}/", {{}})
    return build

demo.playground_program = program("playground")
demo.bot_program = program("bot")
sys.exit(demo.main(sys.argv[1:]))
"""
