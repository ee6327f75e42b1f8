"""`python -m playground`: what it takes, and how it says that it cannot start."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from playground.__main__ import _parser, main

README = (Path(__file__).parents[2] / "playground" / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_flag() -> None:
    """The table of flags is what the command line takes, no more and no less."""
    table = README.partition("| flag |")[2].partition("\n\n")[0]
    told = set(re.findall(r"`(--[\w-]+)", table))
    taken = {option for action in _parser()._actions for option in action.option_strings if option.startswith("--")}
    assert told == taken - {"--help"}


def test_help_says_what_each_flag_does(capsys: pytest.CaptureFixture[str]) -> None:
    """No flag is left to guessing."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "Slack and DingTalk" in capsys.readouterr().out
    assert [action.dest for action in _parser()._actions if not action.help] == []


def test_a_taken_port_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever starts two learns which port is taken, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"playground: cannot listen on 127.0.0.1:{port}: ")
    assert "in use; choose another one with --port" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dingtalk-template", "nowhere.json"], "nowhere.json"),
        (["--event-retries", "soon"], "event-retries"),
        (["--port", "70000"], "port"),
    ],
)
def test_a_wrong_argument_is_said_in_a_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each mistake is named, without a traceback."""
    try:
        code: object = main(["--host", "127.0.0.1", *arguments])
    except SystemExit as ended:
        code = ended.code
    assert code not in (0, None)
    assert words in capsys.readouterr().err.splitlines()[-1]
